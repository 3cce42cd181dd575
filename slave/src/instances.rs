//! What of the ordered instances is to be started and ended here, and where each stands. Pure: who owns this carries out
//! what it asks for and tells it what came of that.
//!
//! Orders are the full set, so nothing here counts on having seen the one before. Between two placements of one
//! instance there is never a moment in which both run: the new one starts when nothing is left of the old one.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::work::ReportedState;
use std::collections::BTreeMap;

/// How often an instance whose keeper was killed is begun again from nothing.
const MOST_LOSSES: u32 = 3;

/// An instance as it was placed on this slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Placement {
    pub(crate) id: InstanceId,
    pub(crate) generation: Generation,
}

/// What is ordered of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) generation: Generation,
    /// It is never begun a second time.
    pub(crate) is_run: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Begin it. Its end is told by [`Instances::is_gone`].
    Start(Placement),
    /// End it, in whichever state it is. That is told in the same way.
    End(Placement),
}

/// Why nothing runs of an instance any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was told to end.
    Ended,
    /// It is of no use to begin it again.
    Failed(String),
    /// A run came to its end.
    Exited { code: i32, printed: u64 },
    /// What kept it was killed.
    Lost(String),
    /// It was not begun: there is no room for it.
    NoRoom(String),
}

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) generation: Generation,
    pub(crate) standing: ReportedState,
    /// How often its process was started again.
    pub(crate) restarts: u32,
    /// Whether it was told to end, and has not yet.
    is_ending: bool,
    /// How often its keeper was killed.
    losses: u32,
}

impl Instance {
    fn new(generation: Generation) -> Self {
        Self {
            generation,
            standing: ReportedState::Starting,
            restarts: 0,
            is_ending: false,
            losses: 0,
        }
    }

    fn placement(&self, id: InstanceId) -> Placement {
        Placement {
            id,
            generation: self.generation,
        }
    }
}

/// The instances of one slave.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    /// What was ordered last; none before the first order of this life, when all that is found goes on.
    wanted: Option<BTreeMap<InstanceId, Wanted>>,
    here: BTreeMap<InstanceId, Instance>,
}

impl Instances {
    /// Takes an order: all that is to run.
    pub(crate) fn order(&mut self, wanted: BTreeMap<InstanceId, Wanted>) -> Vec<Act> {
        self.wanted = Some(wanted);
        self.acts()
    }

    /// Takes note of an instance that an earlier life of the slave started, and that runs still.
    pub(crate) fn adopt(&mut self, placement: Placement) {
        let instance = Instance::new(placement.generation);
        self.here.insert(placement.id, instance);
    }

    /// Takes note of a run that an earlier life of the slave started and that is over: whatever is ordered, it is not
    /// begun again.
    pub(crate) fn recall(&mut self, placement: Placement, standing: ReportedState) {
        let mut instance = Instance::new(placement.generation);
        instance.standing = standing;
        self.here.insert(placement.id, instance);
    }

    /// Takes note of where an instance stands. Says whether that is news.
    pub(crate) fn stands(
        &mut self,
        placement: Placement,
        standing: ReportedState,
        restarts: u32,
    ) -> bool {
        let Some(instance) = self.running(placement) else {
            return false;
        };
        let is_news = instance.standing != standing || instance.restarts != restarts;
        // What has come to its end is told by `is_gone`, when nothing is left of it.
        if standing.is_over() || !is_news {
            return false;
        }
        instance.standing = standing;
        instance.restarts = restarts;
        true
    }

    /// Takes note that nothing runs of an instance any more.
    pub(crate) fn is_gone(&mut self, placement: Placement, gone: Gone) -> Vec<Act> {
        let wanted = self.wanted.as_ref().and_then(|all| all.get(&placement.id));
        let is_run = wanted.is_some_and(|wanted| wanted.is_run);
        let Some(instance) = self.running(placement) else {
            return Vec::new();
        };
        let was_told = std::mem::replace(&mut instance.is_ending, false);
        instance.standing = match gone {
            _ if was_told => ReportedState::Ended,
            Gone::Ended => ReportedState::Ended,
            Gone::Failed(reason) => ReportedState::Failed { reason },
            Gone::NoRoom(reason) => ReportedState::NoRoom { reason },
            Gone::Exited { code, printed } => ReportedState::Exited { code, printed },
            Gone::Lost(reason) if is_run => ReportedState::Failed { reason },
            Gone::Lost(reason) => {
                instance.losses += 1;
                match instance.losses > MOST_LOSSES {
                    true => ReportedState::Failed { reason },
                    false => ReportedState::Ended,
                }
            }
        };
        self.acts()
    }

    /// The slave is to end: so is all that it runs.
    pub(crate) fn end_all(&mut self) -> Vec<Act> {
        self.order(BTreeMap::new())
    }

    /// All that is here, in whichever state.
    pub(crate) fn all(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.here.iter().map(|(id, instance)| (*id, instance))
    }

    /// How often an instance was started again.
    pub(crate) fn restarts(&self, id: InstanceId) -> u32 {
        self.here.get(&id).map_or(0, |instance| instance.restarts)
    }

    /// Whether nothing runs.
    pub(crate) fn is_at_rest(&self) -> bool {
        let mut all = self.here.values();
        all.all(|instance| instance.standing.is_over())
    }

    /// The master knows that these are over: those of them that are not wanted are forgotten. Returns which.
    pub(crate) fn was_told(&mut self, over: &[Placement]) -> Vec<Placement> {
        // Before the first order nobody knows what is wanted.
        let Some(wanted) = &self.wanted else {
            return Vec::new();
        };
        let mut forgotten = Vec::new();
        self.here.retain(|id, instance| {
            let placement = instance.placement(*id);
            let wanted = wanted.get(id);
            let is_wanted = wanted.is_some_and(|wanted| wanted.generation == instance.generation);
            let is_told = over.contains(&placement);
            let is_kept = is_wanted || !is_told || !instance.standing.is_over();
            if !is_kept {
                forgotten.push(placement);
            }
            is_kept
        });
        forgotten
    }

    /// Those that are over.
    pub(crate) fn over(&self) -> Vec<Placement> {
        let over = self
            .all()
            .filter(|(_, instance)| instance.standing.is_over());
        over.map(|(id, instance)| instance.placement(id)).collect()
    }

    /// An instance of which something runs, under this very placement.
    fn running(&mut self, placement: Placement) -> Option<&mut Instance> {
        let instance = self.here.get_mut(&placement.id)?;
        let is_it = instance.generation == placement.generation && !instance.standing.is_over();
        is_it.then_some(instance)
    }

    /// What lies between what is wanted and what is here, and is not under way yet.
    fn acts(&mut self) -> Vec<Act> {
        let Some(wanted) = &self.wanted else {
            return Vec::new();
        };
        let mut acts = Vec::new();
        for (id, instance) in &mut self.here {
            let wanted = wanted.get(id);
            let is_wanted = wanted.is_some_and(|wanted| wanted.generation == instance.generation);
            if !is_wanted && !instance.standing.is_over() && !instance.is_ending {
                instance.is_ending = true;
                acts.push(Act::End(instance.placement(*id)));
            }
        }
        for (&id, &Wanted { generation, is_run }) in wanted {
            let placement = Placement { id, generation };
            match self.here.get_mut(&id) {
                // What was given up stays so until it is placed anew.
                Some(here) if here.generation == generation => {
                    if here.standing == ReportedState::Ended && is_run {
                        let reason = "it was ended before it came to its end".to_owned();
                        here.standing = ReportedState::Failed { reason };
                    } else if here.standing == ReportedState::Ended {
                        here.standing = ReportedState::Starting;
                        // What is told of it from now on is newer than what was told before.
                        here.restarts += 1;
                        acts.push(Act::Start(placement));
                    }
                }
                Some(here) if !here.standing.is_over() => {}
                Some(_) | None => {
                    self.here.insert(id, Instance::new(generation));
                    acts.push(Act::Start(placement));
                }
            }
        }
        acts
    }
}
