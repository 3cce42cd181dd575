//! What there is in a cluster, as far as it is asked for.

/// Kinds of things of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Job,
    Pod,
    Secret,
    Event,
}

impl Kind {
    /// How several are called, in addresses too.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Event => "events",
        }
    }

    /// The beginning of their addresses.
    pub(super) fn root(self) -> &'static str {
        match self {
            Self::Job => "apis/batch/v1",
            Self::Pod | Self::Secret | Self::Event => "api/v1",
        }
    }

    fn one(self) -> &'static str {
        match self {
            Self::Job => "a job",
            Self::Pod => "a pod",
            Self::Secret => "a secret",
            Self::Event => "an event",
        }
    }

    /// What is being done when one is made.
    pub(super) fn creating(self) -> String {
        format!("create {}", self.one())
    }

    /// What is being done when they are listed.
    pub(super) fn listing(self) -> String {
        format!("list {}", self.plural())
    }
}

/// Which ones are listed.
#[derive(Clone, Debug)]
pub(super) enum Selector {
    /// Those with this label.
    Label(String),
    /// Those with these fields.
    Fields(String),
}
