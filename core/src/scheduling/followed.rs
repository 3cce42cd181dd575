//! Hand-outs that go to a slave together, since it may run many of them in one process: it begins with what comes first.

use crate::effect::{Effect, SlaveCall};
use std::collections::BTreeSet;

/// Notes of each hand-out that may share a process whether another of its build follows to the same slave among these
/// effects.
pub fn note_followed(effects: &mut [Effect]) {
    let mut later = BTreeSet::new();
    for effect in effects.iter_mut().rev() {
        if let Effect::Call { slave, build, call } = effect
            && let SlaveCall::Start {
                batch: Some(_),
                is_followed,
                ..
            } = call
        {
            *is_followed = !later.insert((*slave, *build));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
    use clusterrunner_common::work::BatchTerms;

    #[test]
    fn the_last_of_each_slave_and_build_is_followed_by_none() {
        let start = |(slave, build, shares): (u64, u64, bool)| Effect::Call {
            slave: SlaveId(slave),
            build: BuildId(build),
            call: SlaveCall::Start {
                subjob: SubjobId(0),
                attempt: Attempt(1),
                atoms: Vec::new(),
                command: "run".into(),
                timeout_s: None,
                batch: shares.then(BatchTerms::default),
                is_followed: false,
            },
        };
        let orders = [
            (1, 1, true),
            (2, 1, true),
            (1, 1, true),
            (1, 2, false),
            (1, 2, false),
            (1, 1, true),
        ];
        let mut effects = orders.map(start);
        note_followed(&mut effects);
        let followed = effects.iter().map(|effect| match effect {
            Effect::Call {
                call: SlaveCall::Start { is_followed, .. },
                ..
            } => *is_followed,
            other => panic!("{other:?}"),
        });
        let expected = [true, false, true, false, false, false];
        assert_eq!(followed.collect::<Vec<_>>(), expected);
    }
}
