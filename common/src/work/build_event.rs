//! The events of a build that others are told of, such as receivers of webhooks.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a build has come to. In this order: a build never has an earlier one after a later one, and at most one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// It was accepted.
    Queued,
    /// Its project is fetched and its atoms are found.
    Preparing,
    /// Its commit and its atoms are known.
    Prepared,
    /// A first slave was chosen.
    Building,
    /// A first atom has failed for good: the build can not succeed any more.
    Failing,
    /// All its atoms have a result, or so many failed that the rest is not run.
    Finished,
    /// It could not be run, or not to its end.
    Error,
    /// A user canceled it.
    Canceled,
}

impl BuildEvent {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Preparing,
        Self::Prepared,
        Self::Building,
        Self::Failing,
        Self::Finished,
        Self::Error,
        Self::Canceled,
    ];

    /// Its name in settings and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Building => "building",
            Self::Failing => "failing",
            Self::Finished => "finished",
            Self::Error => "error",
            Self::Canceled => "canceled",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::Preparing | Self::Prepared | Self::Building | Self::Failing => {
                false
            }
            Self::Finished | Self::Error | Self::Canceled => true,
        }
    }
}

impl fmt::Display for BuildEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is the name of no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event of a build has this name")]
pub struct UnknownEvent;

impl FromStr for BuildEvent {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let mut all = Self::ALL.into_iter();
        all.find(|event| event.name() == text).ok_or(UnknownEvent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_name_wherever_it_is_written() {
        assert!(BuildEvent::ALL.is_sorted());
        for event in BuildEvent::ALL {
            assert_eq!(event.name().parse(), Ok(event));
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(json, format!("\"{event}\""));
        }
        assert_eq!("Finished".parse::<BuildEvent>(), Err(UnknownEvent));
    }

    #[test]
    fn only_the_last_ones_are_ends() {
        let ends = BuildEvent::ALL.map(BuildEvent::is_end);
        let first = ends.iter().position(|is_end| *is_end);
        assert_eq!(first, Some(5));
        assert!(ends[5..].iter().all(|is_end| *is_end));
    }
}
