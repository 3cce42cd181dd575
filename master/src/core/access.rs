//! What a caller may do, for all APIs. Pure.

/// Who asks, as the API has proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A holder of the farm's secret: a user, an operator, or a slave of ours.
    Secret(SecretProof),
    /// A holder of the token for reads.
    ReadToken,
    /// A slave of the original, on one of the routes where its weaker proof is accepted.
    Slave,
    /// Anyone who reaches the port.
    Nobody,
}

/// How a caller has shown that it holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretProof {
    /// A signature of this very request, good once.
    BoundSignature,
    /// A digest of the body alone: a stranger that sees the request can send it again.
    BodyDigest,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Builds and what belongs to them.
    Builds,
    /// Slaves: what they report, and what they are told to do.
    Slaves,
}

/// What a caller may do; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// See it.
    Read,
    /// Submit a build, or report as a slave.
    Use,
    /// Change or end it.
    Own,
    /// Everything.
    Admin,
}

/// What a caller may do to a subject. `reads_are_open`: everyone who reaches the port may read.
#[must_use]
pub fn access(caller: Caller, subject: Subject, reads_are_open: bool) -> Access {
    let of_strangers = if reads_are_open {
        Access::Read
    } else {
        Access::None
    };
    match (caller, subject) {
        (Caller::Secret(SecretProof::BoundSignature), _) => Access::Admin,
        (Caller::Secret(SecretProof::BodyDigest), _) => Access::Own,
        (Caller::ReadToken, _) => Access::Read,
        (Caller::Slave, Subject::Slaves) => Access::Use,
        (Caller::Slave, Subject::Builds) | (Caller::Nobody, _) => of_strangers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_access() {
        use SecretProof::{BodyDigest, BoundSignature};
        for (caller, builds, slaves) in [
            (Caller::Secret(BoundSignature), Access::Admin, Access::Admin),
            (Caller::Secret(BodyDigest), Access::Own, Access::Own),
            (Caller::ReadToken, Access::Read, Access::Read),
            (Caller::Slave, Access::None, Access::Use),
            (Caller::Nobody, Access::None, Access::None),
        ] {
            for (subject, closed) in [(Subject::Builds, builds), (Subject::Slaves, slaves)] {
                assert_eq!(access(caller, subject, false), closed, "{caller:?}");
                let open = closed.max(Access::Read);
                assert_eq!(access(caller, subject, true), open, "{caller:?}");
            }
        }
    }
}
