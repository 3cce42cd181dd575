//! The identities of everything on a farm, each its own type so that none is taken for another.

mod public_key;

pub use public_key::{NoPublicKey, PublicKey};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! numbered {
    ($($(#[$doc:meta])* $name:ident($number:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

numbered! {
    /// A build: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    BuildId(u64);
    /// A project: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    ProjectId(u64);
    /// A user: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    UserId(u64);
    /// A named token of a user: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    TokenId(u64);
    /// A template: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    TemplateId(u64);
    /// An instance: 1, 2, 3 ... over the whole life of a master's data directory, never used twice.
    InstanceId(u64);
    /// The number of a placement of one instance on a slave, from 1. Only the latest counts.
    Generation(u32);
    /// A subjob inside its build, from 0.
    SubjobId(u32);
    /// An atom inside its subjob, from 0.
    AtomId(u32);
    /// A slave's registration with the master: 1, 2, 3 ..., a new one for each registration.
    SlaveId(u64);
    /// One slot of a slave, from 0.
    ExecutorIndex(u32);
    /// The number of a hand-out of one subjob, from 1. Only the latest counts.
    Attempt(u32);
}

impl Attempt {
    /// The number of the first hand-out.
    pub const FIRST: Self = Self(1);

    /// The number of the hand-out after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The number of the placement after this one; of the first where this is the default.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// One life of a process: a random text made at its start. A peer that finds another one than it
/// remembers knows that the process was started again and has forgotten everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub String);

impl SessionId {
    /// A version 4 UUID in its text form, as the original uses, from 16 random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digits = hex::encode(bytes);
        Self(format!(
            "{}-{}-{}-{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..]
        ))
    }
}

/// One incarnation of a master's journal: what was handed out under another one means nothing under this
/// one, whatever the numbers say. A random text, made when the journal is made, when it is repaired, and
/// when it turns out to be older than what slaves or stored results have seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl Incarnation {
    /// 32 hexadecimal digits from 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_has_the_form_of_a_version_4_uuid() {
        assert_eq!(
            SessionId::from_random([0xff; 16]).0,
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn an_id_is_a_bare_number_on_the_wire() {
        assert_eq!(serde_json::to_string(&BuildId(7)).unwrap(), "7");
        assert_eq!("7".parse::<SubjobId>().unwrap(), SubjobId(7));
        assert!("-1".parse::<BuildId>().is_err());
    }
}
