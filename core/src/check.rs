//! What must hold in every state. Tests ask after every event.

use super::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::subjob::Subjob;
use crate::builds::unstarted::QueuePlace;
use crate::scheduling::shares;
use crate::slaves::doubts::is_in_doubt;
use crate::slaves::quarantine::is_quarantined;
use crate::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::ids::{BuildId, ProjectId, SlaveId};
use std::collections::{BTreeMap, BTreeSet};

/// A broken invariant: a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistency(String);

pub(super) fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Inconsistency> {
    if holds {
        Ok(())
    } else {
        Err(Inconsistency(what()))
    }
}

impl Cluster {
    /// Checks that no subjob is lost or held twice, no executor does two things, no limit is
    /// passed, and that what is derived fits what it is derived from.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), Inconsistency> {
        for build in self.builds.values() {
            self.check_child(build)?;
            self.check_build(build)?;
        }
        self.check_slaves()?;
        self.check_keys()?;
        self.check_ended()?;
        self.check_instances()?;
        self.check_apps()?;
        self.check_derived()
    }

    fn check_build(&self, build: &Build) -> Result<(), Inconsistency> {
        let id = build.id;
        must(!build.is_over() || build.status().0.is_final(), || {
            format!("build {id} is over and has no final status")
        })?;
        let was_held = |subjob| build.held_at_end.contains_key(subjob);
        must(build.cut_off.keys().all(was_held), || {
            format!("build {id}: a subjob was cut off that nobody had")
        })?;
        if let BuildState::Building(progress) = &build.state {
            // By their number: there may be very many.
            let mut seen = vec![false; build.subjobs.len()];
            for subjob in progress
                .unstarted
                .iter()
                .chain(progress.set_aside.iter().copied())
                .chain(progress.again.iter())
                .chain(progress.running.keys().copied())
                .chain(progress.kept.keys().copied())
            {
                let held = seen.get_mut(subjob.0 as usize);
                let is_first = held.is_some_and(|held| !std::mem::replace(held, true));
                must(is_first, || {
                    format!("build {id} holds subjob {subjob} twice, or has no such subjob")
                })?;
            }
            let place = |subjob| Some(QueuePlace::of(subjob, build.subjob(subjob)?));
            let is_ordered =
                progress.unstarted.is_ordered_by(place) && progress.again.is_ordered_by(place);
            must(is_ordered, || {
                format!("build {id}: what waits is out of order")
            })?;
            for ((subjob, state), is_held) in build.numbered_subjobs().zip(seen) {
                must(state.result.is_some() != is_held, || {
                    format!("build {id}: subjob {subjob} is lost, or waits though it is finished")
                })?;
            }
            for (subjob, (slave, attempt)) in &progress.running {
                let alone = |s: &Slave| s.running.len() == 1;
                let is_suspect = build.subjob(*subjob).is_some_and(Subjob::is_suspect);
                must(!is_suspect || self.slave(*slave).is_some_and(alone), || {
                    format!("build {id}: suspect subjob {subjob} does not run alone")
                })?;
                let holder = self.slave(*slave);
                must(
                    holder.is_some_and(|s| s.running.contains(&(id, *subjob))),
                    || format!("build {id}: slave {slave} does not know of subjob {subjob}"),
                )?;
                let current = build.last_attempt(*subjob);
                must(current == Some(*attempt), || {
                    format!(
                        "build {id}: subjob {subjob} runs as attempt {attempt}, not {current:?}"
                    )
                })?;
            }
            for (subjob, (slave, attempt)) in &progress.kept {
                let holder = self.slave(*slave);
                must(
                    holder.is_some_and(|s| s.delivering.contains(&(id, *subjob))),
                    || {
                        format!(
                            "build {id}: slave {slave} does not know that it has subjob {subjob}"
                        )
                    },
                )?;
                let current = build.last_attempt(*subjob);
                must(current == Some(*attempt), || {
                    format!(
                        "build {id}: attempt {attempt} of subjob {subjob} is kept, not {current:?}"
                    )
                })?;
            }
            must(progress.running.len() <= build.max_executors(), || {
                format!("build {id} has more executors than it may")
            })?;
        }
        if build.is_parent() || build.state == BuildState::Split {
            return self.check_parent(build);
        }
        self.check_results(build)
    }

    /// The results that a build counts, and that none lacks where it has ended.
    fn check_results(&self, build: &Build) -> Result<(), Inconsistency> {
        let id = build.id;
        let outcomes = build
            .subjobs
            .iter()
            .filter_map(|subjob| subjob.result.as_ref());
        let completed: usize = outcomes.map(|(_, outcomes)| outcomes.len()).sum();
        must(completed as u64 == build.atoms_completed, || {
            format!(
                "build {id} counts {} results, has {completed}",
                build.atoms_completed
            )
        })?;
        check_attempts(build)?;
        let atoms: usize = build.subjobs.iter().map(|subjob| subjob.atoms.len()).sum();
        let results = build
            .subjobs
            .iter()
            .filter(|subjob| subjob.result.is_some());
        must(
            atoms as u64 == build.num_atoms && results.count() == build.num_finished,
            || format!("build {id} counts its atoms or subjobs wrongly"),
        )?;
        let finished = matches!(build.state, BuildState::Archiving | BuildState::Finished);
        let parent = build.parent().and_then(|parent| self.builds.get(&parent));
        must(
            !finished
                || build.atoms_completed == build.num_atoms
                || build.may_be_cut_short(parent.map(|parent| &**parent)),
            || format!("build {id} ended without all results"),
        )
    }

    fn check_slaves(&self) -> Result<(), Inconsistency> {
        let mut addresses = BTreeSet::new();
        for slave in self.slaves.values() {
            let id = slave.id;
            if slave.is_alive() {
                must(addresses.insert(&slave.url), || {
                    format!("two living slaves have the address {}", slave.url)
                })?;
            } else {
                let holds_nothing = slave.running.is_empty()
                    && slave.delivering.is_empty()
                    && slave.builds.is_empty();
                must(holds_nothing, || {
                    format!("slave {id} is not alive and still holds work")
                })?;
            }
            must(
                slave.quarantine.is_none() || slave.running.is_empty(),
                || format!("slave {id} is quarantined and still runs something"),
            )?;
            must(
                !slave.is_legacy || slave.running.len() <= slave.num_executors as usize,
                || format!("slave {id} is of the original and has more subjobs than executors"),
            )?;
            let mut per_build: BTreeMap<BuildId, usize> = BTreeMap::new();
            for (build, subjob) in &slave.running {
                *per_build.entry(*build).or_default() += 1;
                let running = self.build(*build).and_then(Build::progress);
                let holder = running.and_then(|p| p.running.get(subjob));
                must(holder.is_some_and(|(holder, _)| *holder == id), || {
                    format!("slave {id} runs subjob {subjob} of build {build}, which knows nothing")
                })?;
                let place = slave.builds.get(build);
                let is_ready = match place {
                    Some(BuildOnSlave::Ready) => true,
                    Some(BuildOnSlave::SettingUp { .. }) => !slave.is_legacy,
                    Some(BuildOnSlave::TearingDown) | None => false,
                };
                must(is_ready, || {
                    format!("slave {id} runs build {build} without having set it up")
                })?;
            }
            for (build, subjob) in &slave.delivering {
                let kept = self.build(*build).and_then(Build::progress);
                let holder = kept.and_then(|p| p.kept.get(subjob));
                must(holder.is_some_and(|(holder, _)| *holder == id), || {
                    format!(
                        "slave {id} delivers subjob {subjob} of build {build}, which knows nothing"
                    )
                })?;
            }
            for (build, running) in per_build {
                let limit = self.build(build).map_or(0, Build::max_executors_per_slave);
                must(running <= limit, || {
                    format!("slave {id} runs too much of build {build}")
                })?;
            }
        }
        Ok(())
    }

    fn check_ended(&self) -> Result<(), Inconsistency> {
        for id in self.ended.keys() {
            must(
                !self.builds.contains_key(id) && id.0 <= self.last_build,
                || format!("build {id} is archived and is not"),
            )?;
        }
        for id in self.to_be_cleared() {
            must(self.is_forgotten(*id), || {
                format!("build {id} is forgotten and is not")
            })?;
        }
        for slave in self.slaves.values() {
            for build in slave.builds.keys() {
                must(self.builds.contains_key(build), || {
                    format!("slave {} has build {build}, which is not there", slave.id)
                })?;
            }
        }
        Ok(())
    }

    fn check_derived(&self) -> Result<(), Inconsistency> {
        let those = |wanted: fn(&Build) -> bool| -> BTreeSet<BuildId> {
            self.builds
                .values()
                .filter(|b| wanted(b))
                .map(|b| b.id)
                .collect()
        };
        let mut queued: BTreeMap<ProjectId, BTreeSet<BuildId>> = BTreeMap::new();
        for id in those(|b| b.state == BuildState::Queued) {
            let project = self.builds[&id].project;
            queued.entry(project).or_default().insert(id);
        }
        must(self.queued == queued, || "queued".to_owned())?;
        must(self.ripe == self.derived_ripe(), || "ripe".to_owned())?;
        let failed_enough = self.derived_failed_enough();
        must(self.failed_enough == failed_enough, || {
            "failed_enough".to_owned()
        })?;
        must(self.working == those(Build::wants_slaves), || {
            "working".to_owned()
        })?;
        let preparing: BTreeSet<BuildId> = self.preparing.values().copied().collect();
        must(
            preparing == those(|b| b.state == BuildState::Preparing),
            || "preparing".to_owned(),
        )?;
        let deadly = those(|b| {
            let is_waiting = matches!(b.state, BuildState::Queued | BuildState::Preparing);
            is_waiting && b.preparations.deaths > 0
        });
        must(self.deadly == deadly, || "deadly".to_owned())?;
        must(self.deletions == self.derived_deletions(), || {
            "deletions".to_owned()
        })?;
        must(self.are_details_right(), || "details".to_owned())?;
        must(self.are_bookmarks_right(), || "bookmarks".to_owned())?;
        must(self.are_projects_right(), || "projects".to_owned())?;
        self.check_shares()?;
        let shutting_down = self.slaves.values();
        let shutting_down = shutting_down.filter(|s| s.presence == Presence::ShuttingDown);
        let shutting_down: BTreeSet<SlaveId> = shutting_down.map(|slave| slave.id).collect();
        must(self.shutting_down == shutting_down, || {
            "slaves that are to end".to_owned()
        })?;
        let withdrawing = self.slaves.values().filter(|slave| slave.withdraws());
        let withdrawing: BTreeSet<SlaveId> = withdrawing.map(|slave| slave.id).collect();
        must(self.withdrawing == withdrawing, || {
            "slaves that are to clear their builds away".to_owned()
        })?;
        let slaves_that = |wanted: fn(&Slave) -> bool| -> BTreeSet<SlaveId> {
            let slaves = self.slaves.values().filter(|slave| wanted(slave));
            slaves.map(|slave| slave.id).collect()
        };
        must(self.quarantined == slaves_that(is_quarantined), || {
            "quarantined slaves".to_owned()
        })?;
        must(self.doubted == slaves_that(is_in_doubt), || {
            "slaves in doubt".to_owned()
        })?;
        let reserved = self.slaves.values();
        let reserved = reserved.filter_map(|slave| Some((slave.reserved_for?, slave.id)));
        must(self.reserved == reserved.collect(), || {
            "slaves that are kept for suspects".to_owned()
        })?;
        let suspicious = those(|build| build.waiting_suspect().is_some());
        must(self.suspicious == suspicious, || {
            "builds with suspects".to_owned()
        })?;
        let is_kept_out = |slave: &Slave| slave.is_drained == self.drained.contains(&slave.url);
        let mut alive = self.slaves.values().filter(|slave| slave.is_alive());
        must(alive.all(is_kept_out), || "drained slaves".to_owned())?;
        let mut leftover = BTreeSet::new();
        for slave in self.slaves.values() {
            for (build, place) in &slave.builds {
                let works = self.working.contains(build);
                if !works && *place != BuildOnSlave::TearingDown {
                    leftover.insert((slave.id, *build));
                }
            }
        }
        must(self.leftover == leftover, || {
            "builds to be torn down".to_owned()
        })
    }

    /// What is kept for scheduling, made anew.
    fn check_shares(&self) -> Result<(), Inconsistency> {
        let free = self.slaves.values().filter(|slave| slave.num_free() > 0);
        must(self.roomy == free.map(Slave::room).collect(), || {
            "slaves with free executors".to_owned()
        })?;
        let size = shares::farm_size(self.slaves.values());
        must((self.num_executors, self.num_legacy) == size, || {
            "the size of the farm".to_owned()
        })?;
        let line = self.derived_line();
        must(self.line == line, || {
            format!("builds in line: {:?}, not {line:?}", self.line)
        })?;
        must(self.troubled == self.derived_troubled(), || {
            "builds without set-ups".to_owned()
        })?;
        for (id, load) in self.derived_loads() {
            let is = self.slave(id).map(|slave| &slave.load);
            must(is.is_some_and(|is| *is == load && is.is_fair()), || {
                format!("slave {id} has {is:?}, not {load:?}")
            })?;
        }
        for (id, standing) in self.derived_standings() {
            let is = self.build(id).map(|build| &build.standing);
            must(is == Some(&standing), || {
                format!("build {id} stands {is:?}, not {standing:?}")
            })?;
        }
        Ok(())
    }
}

/// Each atom counts once, however often it was run, and is not run more often than its job allows.
fn check_attempts(build: &Build) -> Result<(), Inconsistency> {
    let id = build.id;
    let flaky = build.subjobs.iter().filter(|subjob| subjob.is_flaky());
    must(flaky.count() as u64 == build.atoms_flaky, || {
        format!("build {id} counts its flaky atoms wrongly")
    })?;
    let failing = build.subjobs.iter().map(|subjob| match &subjob.result {
        Some(_) if build.fails_as_flaky(subjob) => subjob.atoms.len(),
        Some((_, outcomes)) => outcomes.iter().filter(|o| o.exit_code != 0).count(),
        None => 0,
    });
    must(failing.sum::<usize>() as u64 == build.atoms_failed, || {
        format!("build {id} counts its failed atoms wrongly")
    })?;
    for (subjob, state) in build.numbered_subjobs() {
        let failed = state.failed_attempts();
        let numbers = failed.iter().map(|failed| failed.attempt);
        let last = state.result.as_ref().map(|(attempt, _)| *attempt);
        must(
            numbers.chain(last).is_sorted_by(|one, next| one < next),
            || format!("build {id}: an attempt of subjob {subjob} counts twice"),
        )?;
        must(failed.len() <= build.retries() as usize, || {
            format!("build {id}: subjob {subjob} was run again too often")
        })?;
    }
    Ok(())
}
