//! How the journal stores a subjob: with its mishaps among its fields.

use super::Subjob;
use crate::builds::few::Few;
use crate::builds::mishaps::{FailedAttempt, Mishaps, NONE};
use crate::builds::outcome::AtomOutcome;
use clusterrunner_common::ids::{Attempt, ExecutorIndex, SlaveId};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;

/// What is stored of a subjob, to be read.
#[derive(Deserialize)]
pub(crate) struct Stored {
    atoms: Few<Box<str>>,
    #[serde(default)]
    atoms_expected_ms: Few<u64>,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    slave: Option<SlaveId>,
    #[serde(default)]
    last_return: Option<String>,
    #[serde(default)]
    last_loss: Option<String>,
    #[serde(default)]
    slaves_lost: u32,
    #[serde(default)]
    wasted: u32,
    #[serde(default)]
    unusable_from: BTreeSet<SlaveId>,
    #[serde(default)]
    doubted_from: Option<SlaveId>,
    #[serde(default)]
    executor: Option<ExecutorIndex>,
    #[serde(default)]
    failed: Vec<FailedAttempt>,
    #[serde(default)]
    outlived_master: bool,
    #[serde(default)]
    result: Option<(Attempt, Few<AtomOutcome>)>,
}

/// The same, to be written. Very often, so what is not known yet is left out.
#[derive(Serialize)]
struct Written<'a> {
    atoms: &'a [Box<str>],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    atoms_expected_ms: &'a [u64],
    #[serde(skip_serializing_if = "is_zero")]
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    slave: Option<SlaveId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor: Option<ExecutorIndex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_return: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_loss: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    slaves_lost: u32,
    #[serde(skip_serializing_if = "is_zero")]
    wasted: u32,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unusable_from: &'a BTreeSet<SlaveId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubted_from: Option<SlaveId>,
    #[serde(skip_serializing_if = "<[FailedAttempt]>::is_empty")]
    failed: &'a [FailedAttempt],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outlived_master: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: &'a Option<(Attempt, Few<AtomOutcome>)>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<Stored> for Subjob {
    fn from(stored: Stored) -> Self {
        let mishaps = Mishaps {
            last_return: stored.last_return,
            last_loss: stored.last_loss,
            slaves_lost: stored.slaves_lost,
            wasted: stored.wasted,
            unusable_from: stored.unusable_from,
            doubted_from: stored.doubted_from,
            failed: stored.failed,
            outlived_master: stored.outlived_master,
        };
        Self {
            atoms: stored.atoms,
            atoms_expected_ms: stored.atoms_expected_ms,
            attempts: stored.attempts,
            slave: stored.slave,
            executor: stored.executor,
            mishaps: (mishaps != NONE).then(|| Box::new(mishaps)),
            result: stored.result,
        }
    }
}

impl Serialize for Subjob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mishaps = self.mishaps();
        let written = Written {
            atoms: &self.atoms,
            atoms_expected_ms: &self.atoms_expected_ms,
            attempts: self.attempts,
            slave: self.slave,
            executor: self.executor,
            last_return: mishaps.last_return.as_deref(),
            last_loss: mishaps.last_loss.as_deref(),
            slaves_lost: mishaps.slaves_lost,
            wasted: mishaps.wasted,
            unusable_from: &mishaps.unusable_from,
            doubted_from: mishaps.doubted_from,
            failed: &mishaps.failed,
            outlived_master: mishaps.outlived_master,
            result: &self.result,
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stored_among_the_fields_of_its_subjob() {
        let mut subjob = Subjob::new(["a".into()].into_iter().collect(), Few::none());
        let text = |subjob: &Subjob| serde_json::to_string(subjob).unwrap();
        assert_eq!(text(&subjob), r#"{"atoms":["a"]}"#);
        subjob.mishaps_mut().wasted = 2;
        subjob.mishaps_mut().outlived_master = true;
        let expected = r#"{"atoms":["a"],"wasted":2,"outlived_master":true}"#;
        assert_eq!(text(&subjob), expected);
        assert_eq!(serde_json::from_str::<Subjob>(expected).unwrap(), subjob);
        let all = concat!(
            r#"{"atoms":["a","b"],"atoms_expected_ms":[3,4],"attempts":2,"slave":7,"executor":3,"last_return":"r","#,
            r#""last_loss":"l","slaves_lost":1,"wasted":2,"unusable_from":[5],"doubted_from":6,"#,
            r#""failed":[{"attempt":1,"slave":8,"executor":2,"outcomes":[{"exit_code":1,"duration_ms":3}]},"#,
            r#"{"attempt":2,"slave":9,"outcomes":[{"exit_code":-9,"duration_ms":4}]}],"outlived_master":true,"#,
            r#""result":[2,[{"exit_code":0,"duration_ms":1,"started_at":9},{"exit_code":1,"duration_ms":2}]]}"#,
        );
        assert_eq!(text(&serde_json::from_str(all).unwrap()), all);
    }
}
