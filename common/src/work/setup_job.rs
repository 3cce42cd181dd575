//! What a slave needs of a job.

use crate::job::isolation::IsolationWish;
use crate::job::reports::Patterns;
use crate::job::setup_cache::SetupCache;
use crate::templates::NamedTemplate;
use crate::work::Worker;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The parts of a job that a slave needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupJob {
    /// Its name.
    pub name: String,
    /// Joined command, run once before the first subjob.
    #[serde(default)]
    pub setup_build: Option<String>,
    /// Joined command, run once at the end.
    #[serde(default)]
    pub teardown_build: Option<String>,
    /// How long `setup_build` may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_timeout_s: Option<u64>,
    /// How long `teardown_build` may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown_timeout_s: Option<u64>,
    /// How many of its subjobs a slave runs at a time, however many it was handed out; absent for no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executors: Option<NonZeroU32>,
    /// Which builds it shares the slave's executors with by weight: those of the same priority.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// How large its share of the slave's executors is beside those; absent for 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
    /// The image of the containers that its commands run in; absent for no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The templates that the build takes, by the words that name them: its image, or what its template is based on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<NamedTemplate>,
    /// Which files that atoms leave are reports of tests; absent for those of the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<Patterns>,
    /// Joined command that runs many atoms in one process; absent where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_command: Option<String>,
    /// What of its set-up is kept for later builds; absent for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<SetupCache>,
    /// Whether `setup_build` is left out where what is kept of it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setup_once: bool,
    /// What runs one atom after the other; absent where each atom has a process of its own.
    #[serde(
        default,
        deserialize_with = "Worker::known",
        skip_serializing_if = "Option::is_none"
    )]
    pub worker: Option<Worker>,
    /// How far its commands are to be kept apart from their machine.
    #[serde(default, skip_serializing_if = "IsolationWish::is_empty")]
    pub isolation: IsolationWish,
}

/// Begins the image of a job that wishes isolation. Slaves that know nothing of isolation would not see the wish: they find
/// no such image, and fail the set-up.
const ISOLATED: &str = "(this slave must be upgraded to isolate commands) ";

impl SetupJob {
    /// As it is told to slaves: where it wishes isolation, one that can not read the wish refuses it.
    #[must_use]
    pub fn told(mut self) -> Self {
        if !self.isolation.is_empty() {
            let image = self.image.unwrap_or_default();
            self.image = Some(format!("{ISOLATED}{image}"));
        }
        self
    }

    /// What was told, as it was meant.
    #[must_use]
    pub fn understood(mut self) -> Self {
        let image = self.image.as_deref();
        if let Some(image) = image.and_then(|image| image.strip_prefix(ISOLATED)) {
            self.image = (!image.is_empty()).then(|| image.to_owned());
        }
        self
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_usual(priority: &i32) -> bool {
    *priority == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::isolation::IsolationLevel;

    #[test]
    fn only_slaves_that_isolate_understand_jobs_that_wish_it() {
        let plain: SetupJob = serde_json::from_str(r#"{"name": "unit"}"#).unwrap();
        assert_eq!(plain.clone().told(), plain);
        for image in [None, Some("alpine".to_owned())] {
            let mut wishing = plain.clone();
            wishing.isolation.level = Some(IsolationLevel::User);
            wishing.image = image;
            let told = wishing.clone().told();
            assert!(told.image.as_ref().unwrap().starts_with(ISOLATED));
            assert_eq!(told.understood(), wishing);
        }
    }
}
