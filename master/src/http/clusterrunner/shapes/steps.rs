//! The steps of builds as this API shows them. Pure.

use crate::store::results::{ATOMIZERS, FETCH, StoredStep};
use clusterrunner_common::api::{StepEnd, StepKind, StepState, StepView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::{Build, BuildState};
use clusterrunner_core::slaves::slave::{BuildOnSlave, Slave};
use std::collections::BTreeMap;

/// The number of what a slave does for a build. That of the atomizers, which the master runs, is
/// [`ATOMIZERS`].
pub(in crate::http::clusterrunner) fn of_slave(kind: StepKind, SlaveId(slave): SlaveId) -> u64 {
    let last = slave.saturating_mul(2);
    match kind {
        StepKind::Fetch | StepKind::Atomizer | StepKind::Setup => last.saturating_sub(1),
        StepKind::Teardown => last,
    }
}

/// A step that has ended.
pub(in crate::http::clusterrunner) fn stored_step((id, step): (u64, StoredStep)) -> StepView {
    let StoredStep { kind, slave, end } = step;
    let StepEnd {
        exit_code,
        trouble,
        began_at_ms,
        ended_at_ms,
        output_bytes,
    } = end;
    let (slave_id, slave_url) = slave.unzip();
    StepView {
        id,
        kind,
        slave_id,
        slave_url,
        state: match exit_code {
            Some(0) => StepState::Completed,
            Some(_) | None => StepState::Failed,
        },
        exit_code,
        trouble,
        began_at: Some(began_at_ms.as_unix_seconds()),
        ended_at: Some(ended_at_ms.as_unix_seconds()),
        output_bytes: Some(output_bytes),
    }
}

/// What is fetched for a build and what slaves do for it, now. That the fetch has ended only its own record says.
pub(in crate::http::clusterrunner) fn steps_under_way(
    cluster: &Cluster,
    build: &Build,
) -> Vec<StepView> {
    let Some(plan) = &build.plan else {
        let is_fetching = build.state == BuildState::Preparing && build.request.fetches();
        return is_fetching.then(|| fetch(build)).into_iter().collect();
    };
    let alive = cluster.slaves().filter(|slave| slave.is_alive());
    let under_way = alive.filter_map(|slave| match slave.builds.get(&build.id)? {
        BuildOnSlave::SettingUp { since, .. } if plan.setup_build.is_some() => {
            Some(under_way(StepKind::Setup, slave, *since))
        }
        BuildOnSlave::TearingDown if plan.teardown_build.is_some() => {
            Some(under_way(StepKind::Teardown, slave, None))
        }
        BuildOnSlave::SettingUp { .. } | BuildOnSlave::Ready | BuildOnSlave::TearingDown => None,
    });
    under_way.collect()
}

/// The fetch of a build, while it is under way.
fn fetch(build: &Build) -> StepView {
    let began_at = build.timestamps.preparing;
    on_master(FETCH, StepKind::Fetch, began_at)
}

/// The atomizers of a build, while they run.
pub(in crate::http::clusterrunner) fn atomizers() -> StepView {
    on_master(ATOMIZERS, StepKind::Atomizer, None)
}

fn on_master(id: u64, kind: StepKind, began_at: Option<Timestamp>) -> StepView {
    StepView {
        id,
        kind,
        slave_id: None,
        slave_url: None,
        state: StepState::InProgress,
        exit_code: None,
        trouble: None,
        began_at: began_at.map(Timestamp::as_unix_seconds),
        ended_at: None,
        output_bytes: None,
    }
}

fn under_way(kind: StepKind, slave: &Slave, since: Option<Timestamp>) -> StepView {
    StepView {
        id: of_slave(kind, slave.id),
        kind,
        slave_id: Some(slave.id),
        slave_url: Some(slave.url.clone()),
        state: StepState::InProgress,
        exit_code: None,
        trouble: None,
        began_at: since.map(Timestamp::as_unix_seconds),
        ended_at: None,
        output_bytes: None,
    }
}

/// All steps of a build, by their begin. One that has ended counts as such before its slave has said that the whole
/// set-up has; one that is done once more is under way again.
pub(in crate::http::clusterrunner) fn merged(
    ended: Vec<StepView>,
    under_way: Vec<StepView>,
) -> Vec<StepView> {
    let mut steps: BTreeMap<u64, StepView> =
        ended.into_iter().map(|step| (step.id, step)).collect();
    for step in under_way {
        let known = steps.get(&step.id).and_then(|known| known.ended_at);
        if known.is_none_or(|ended_at| step.began_at.is_some_and(|began_at| began_at > ended_at)) {
            steps.insert(step.id, step);
        }
    }
    let mut steps: Vec<StepView> = steps.into_values().collect();
    let began = |step: &StepView| step.began_at.unwrap_or(f64::INFINITY);
    steps.sort_by(|one, other| began(one).total_cmp(&began(other)));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: u64, began_at: u64, ended_at: u64) -> StepView {
        let step = StoredStep {
            kind: StepKind::Setup,
            slave: Some((SlaveId(id), "h:1".to_owned())),
            end: StepEnd {
                exit_code: Some(0),
                trouble: None,
                began_at_ms: Timestamp(began_at),
                ended_at_ms: Timestamp(ended_at),
                output_bytes: 5,
            },
        };
        stored_step((id, step))
    }

    fn again(id: u64, began_at: Option<u64>) -> StepView {
        StepView {
            state: StepState::InProgress,
            began_at: began_at.map(|at| Timestamp(at).as_unix_seconds()),
            ended_at: None,
            ..ended(id, 0, 0)
        }
    }

    #[test]
    fn each_step_of_a_slave_has_a_number_of_its_own() {
        let numbers = [1, 2].map(|slave| {
            let of = |kind| of_slave(kind, SlaveId(slave));
            [of(StepKind::Setup), of(StepKind::Teardown)]
        });
        assert_eq!(numbers, [[1, 2], [3, 4]]);
    }

    #[test]
    fn a_step_is_under_way_until_its_end_is_known_and_when_it_is_done_again() {
        let ended = vec![ended(1, 10, 20), ended(3, 5, 30), ended(2, 40, 50)];
        let under_way = vec![
            again(1, Some(9)),
            again(3, Some(31)),
            again(2, None),
            again(5, None),
        ];
        let found = merged(ended, under_way);
        let found: Vec<_> = found.iter().map(|step| (step.id, step.state)).collect();
        let expected = [
            (1, StepState::Completed),
            (3, StepState::InProgress),
            (2, StepState::Completed),
            (5, StepState::InProgress),
        ];
        assert_eq!(found, expected);
    }
}
