//! A cluster made of what a forecast knows: the facts that lead to where the farm stands, taken in by the same
//! [`Cluster::apply`] as those of the journal. A lot is a subjob of it with one atom; its id is the lot's place.

use super::scene::{BuildThere, Scene, SetupProgress, SlaveThere};
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::actor::Actor;
use crate::builds::plan::Plan;
use crate::event::{BuildFact, Event, Fact, SlaveFact};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, ProjectId, SessionId, SlaveId, SubjobId};

/// The life of every slave of a copy.
pub(super) fn session() -> SessionId {
    SessionId(String::new())
}

/// The cluster of a scene, at rest but for what follows next.
pub(super) fn cluster_of(scene: &Scene) -> Cluster {
    let mut copy = Copy {
        cluster: Cluster::default(),
        now: scene.now,
    };
    for (id, slave) in &scene.slaves {
        copy.connect(*id, slave);
    }
    for (id, build) in &scene.builds {
        copy.prepare(*id, build);
        for (slave, there) in &scene.slaves {
            if let Some(place) = there.places.get(id) {
                copy.set_up(*slave, *id, *place, build.setup_ms);
            }
        }
        for (subjob, lot) in (0..).map(SubjobId).zip(&build.lots) {
            let slave = lot.held.map(|(slave, _)| slave);
            if let Some(slave) = slave.filter(|slave| scene.slaves.contains_key(slave)) {
                let attempt = Attempt::FIRST;
                copy.of_build(
                    *id,
                    BuildFact::SubjobHandedOut {
                        slave,
                        subjob,
                        attempt,
                    },
                );
            }
        }
    }
    // What they have they keep.
    let kept_out = scene.slaves.iter().filter(|(_, slave)| !slave.takes_work);
    for (id, _) in kept_out {
        copy.take(Fact::Slave(*id, SlaveFact::DrainRequested));
    }
    copy.cluster
}

struct Copy {
    cluster: Cluster,
    now: Timestamp,
}

impl Copy {
    fn take(&mut self, fact: Fact) {
        self.take_at(self.now, fact);
    }

    fn take_at(&mut self, at: Timestamp, fact: Fact) {
        let by = Actor::Master;
        self.cluster.apply(&Event { at, by, fact });
    }

    fn of_build(&mut self, id: BuildId, fact: BuildFact) {
        self.take(Fact::Build(id, fact));
    }

    fn connect(&mut self, id: SlaveId, slave: &SlaveThere) {
        let connected = SlaveFact::Connected {
            url: format!("{id}"),
            session: session(),
            num_executors: slave.num_executors,
            is_legacy: slave.is_legacy,
            labels: slave.labels.clone(),
            key: None,
        };
        self.take(Fact::Slave(id, connected));
        if let Some(hosting) = slave.hosting {
            self.take(Fact::Slave(id, SlaveFact::Hosts(hosting)));
        }
    }

    /// Each build has a project of its own: none waits until another one is prepared.
    fn prepare(&mut self, id: BuildId, build: &BuildThere) {
        let queued = BuildFact::Queued {
            project: ProjectId(id.0),
            owner: Owner::ClusterRunner,
            started_by: None,
            request: Box::new(build.request.clone()),
        };
        self.of_build(id, queued);
        let attempt = Attempt::FIRST;
        self.of_build(id, BuildFact::PreparationStarted { attempt });
        let expected_ms: Option<Vec<u64>> = build.lots.iter().map(|lot| lot.expected_ms).collect();
        let plan = Plan {
            expected_ms: expected_ms.unwrap_or_default(),
            ..build.plan.clone()
        };
        let prepared = BuildFact::Prepared {
            plan: Box::new(plan),
            subjobs: vec![vec![String::new()]; build.lots.len()],
        };
        self.of_build(id, prepared);
    }

    /// A set-up that is over took as long as those of the build do, so that the scheduler weighs others as it does live.
    fn set_up(
        &mut self,
        slave: SlaveId,
        build: BuildId,
        place: SetupProgress,
        setup_ms: Option<u64>,
    ) {
        let began = match place {
            SetupProgress::SettingUp { since } => since.unwrap_or(self.now),
            SetupProgress::Ready => Timestamp(self.now.0.saturating_sub(setup_ms.unwrap_or(0))),
        };
        let start_index = 0;
        let requested = BuildFact::SetupRequested { slave, start_index };
        self.take_at(began, Fact::Build(build, requested));
        if let SetupProgress::Ready = place {
            self.of_build(build, BuildFact::SetupCompleted { slave });
        }
    }
}
