//! Where the outputs of a build's subjobs are.

use super::{ConsoleFailure, Consoles, SlaveAddress, cut_off};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;

/// How many subjobs are looked up at a time.
const PAGE: usize = 64;

/// What is seen of a build from a subjob on.
#[derive(Debug)]
pub(super) struct Seen {
    /// The first subjobs, as far as nothing about them will change.
    pub(super) settled: Vec<Settled>,
    /// What is behind them.
    pub(super) then: Then,
    /// Whether slaves set the build up by a command.
    pub(super) has_setup: bool,
}

/// A subjob whose output is on the master, or nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub(super) num_atoms: u32,
    /// The hand-out whose output it is.
    pub(super) attempt: Option<Attempt>,
}

/// What is behind the subjobs that are settled.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// More subjobs.
    More,
    /// A subjob that a slave has.
    OnSlave(OnSlave),
    /// A subjob that waits for a slave.
    Waits,
    /// It is not known which subjobs there will be.
    NotKnown,
    /// Nothing, and nothing will come.
    End,
}

/// A subjob that a slave has.
#[derive(Clone, Debug)]
pub(super) struct OnSlave {
    pub(super) slave: SlaveAddress,
    pub(super) attempt: Attempt,
    pub(super) num_atoms: u32,
    /// Whether the build is over: what the slave has of it is on its way to the master.
    pub(super) is_over: bool,
}

impl Consoles {
    /// What is seen of a build from this subjob on.
    pub(super) async fn see(&self, build: BuildId, from: SubjobId) -> Result<Seen, ConsoleFailure> {
        let from = from.0 as usize;
        let live = self.builds.live(build, move |cluster, build| {
            Ok::<_, ConsoleFailure>(Seen::of(cluster, build, from))
        });
        if let Some(seen) = live.await? {
            return Ok(seen);
        }
        let page = move |length: usize| from.min(length)..(from + PAGE).min(length);
        let found = self.builds.archived_subjobs(build, page).await?;
        let (archived, subjobs) = found;
        let settled = subjobs.iter();
        let settled = settled.map(|(id, subjob)| Settled::of(&archived.build, *id, subjob));
        let then = match from + PAGE < archived.num_subjobs as usize {
            true => Then::More,
            false => Then::End,
        };
        Ok(Seen {
            settled: settled.collect(),
            then,
            // No slave has anything of it any more.
            has_setup: false,
        })
    }
}

impl Seen {
    fn of(cluster: &Cluster, build: &Build, from: usize) -> Self {
        let mut settled = Vec::new();
        let then = loop {
            let at = from + settled.len();
            if settled.len() == PAGE {
                break Then::More;
            }
            let id = SubjobId(u32::try_from(at).unwrap_or(u32::MAX));
            let Some(subjob) = build.subjob(id) else {
                // Behind the last one nothing comes but the end of the build.
                break match build.is_over() {
                    true => Then::End,
                    false => Then::NotKnown,
                };
            };
            let known = Settled::of(build, id, subjob);
            if known.attempt.is_some() {
                settled.push(known);
                continue;
            }
            let held = build
                .progress()
                .map_or(&build.held_at_end, |progress| &progress.running)
                .get(&id);
            let on_slave = held.and_then(|(slave, attempt)| {
                Some(OnSlave {
                    slave: SlaveAddress::of(cluster.slave(*slave)?),
                    attempt: *attempt,
                    num_atoms: known.num_atoms,
                    is_over: build.is_over(),
                })
            });
            match on_slave {
                Some(on_slave) => break Then::OnSlave(on_slave),
                None if build.is_over() => settled.push(known),
                None => break Then::Waits,
            }
        };
        let plan = build.plan.as_ref();
        Self {
            settled,
            then,
            has_setup: plan.is_some_and(|plan| plan.setup_build.is_some()),
        }
    }
}

impl Settled {
    fn of(build: &Build, id: SubjobId, subjob: &Subjob) -> Self {
        let counted = subjob.result.as_ref().map(|(attempt, _)| *attempt);
        let attempt = match build.is_over() {
            true => build.shown_attempt(id, subjob),
            false => counted.or(cut_off(build, id)),
        };
        Self {
            num_atoms: u32::try_from(subjob.atoms.len()).unwrap_or(u32::MAX),
            attempt,
        }
    }
}
