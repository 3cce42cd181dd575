//! How much of a daemon strangers may have, as its operator sets it.

/// What the listening ports of a daemon take on together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServingLimits {
    /// How many connections at a time; `None` for what the descriptors of the process allow.
    pub connections: Option<usize>,
    /// How many of one address; `None` for three quarters of all.
    pub connections_of_address: Option<usize>,
    /// How many requests without proof from one address each second; `None` for no bound.
    pub unproved_requests: Option<u64>,
}
