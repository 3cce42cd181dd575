//! Which running atoms are slow.

use clusterrunner_common::api::AtomView;

/// An atom is slow once it has run for so many times as long as it usually takes.
const TIMES_AS_LONG: f64 = 2.0;

/// From when on an atom is slow, in seconds. No atom is slow before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow(pub(crate) u32);

impl Slow {
    /// For how long an atom runs before it is slow, in seconds.
    pub(crate) fn limit(self, atom: &AtomView) -> f64 {
        let usual = atom.expected_time.unwrap_or(0.0);
        f64::from(self.0).max(TIMES_AS_LONG * usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_atom_is_slow_after_twice_its_usual_time_and_not_before_the_limit() {
        let atom = |usual: Option<f64>| -> AtomView {
            serde_json::from_value(json!({
                "command_string": "", "expected_time": usual, "actual_time": null, "exit_code": null,
                "state": "IN_PROGRESS", "id": 0, "subjob_id": 0,
            }))
            .unwrap()
        };
        for (usual, expected) in [(None, 60.0), (Some(10.0), 60.0), (Some(45.0), 90.0)] {
            let limit = Slow(60).limit(&atom(usual));
            assert!((limit - expected).abs() < 1e-9, "{usual:?}: {limit}");
        }
    }
}
