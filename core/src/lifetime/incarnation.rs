//! The incarnation of the journal, and how the master detects that its journal lost events: a restored backup, a
//! repair, a new disk.
//!
//! Slaves and `results/` still name ids and attempts that the lost events gave. When the master sees one, a new
//! incarnation begins: hand-outs are void, and new numbers are higher than any that was named.

use super::testimony::Testimony;
use crate::command::{Opening, StoredResults};
use crate::event::{Fact, FarmFact, IncarnationCause, Loss, SlaveFact};
use crate::refusal::Refusal;
use crate::slaves::keys::OfferedKey;
use crate::{Cluster, MAX_HAND_OUTS};
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_common::work::MasterMark;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many lives of the master are remembered. A slave that was away for longer is told to drop what it
/// has, as if the journal were older than it.
const MAX_LIVES: usize = 1000;

/// What a journal knows of itself. It is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// None where nothing was ever begun, or only before there were incarnations.
    incarnation: Option<Incarnation>,
    /// How many events there were.
    position: u64,
    /// The lives of the master's process, the latest last.
    lives: VecDeque<Life>,
}

/// A life of the master's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Life {
    session: SessionId,
    /// How many events there were before it began: the life before it ends there.
    after: u64,
}

/// The highest numbers that a slave or the stored results have named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) build: BuildId,
    pub(crate) attempt: Attempt,
    pub(crate) slave: SlaveId,
}

/// What the words of a slave that connects say about this journal.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Whether the slave has worked for this very incarnation.
    pub(crate) is_ours: bool,
    /// Why the journal is older than what the slave has seen, if it is.
    pub(crate) is_older: Option<String>,
    pub(crate) named: Named,
}

impl Named {
    pub(crate) const NOTHING: Self = Self {
        build: BuildId(0),
        attempt: Attempt(0),
        slave: SlaveId(0),
    };

    fn add(&mut self, build: BuildId, attempt: Attempt, slave: SlaveId) {
        self.build = self.build.max(build);
        self.attempt = self.attempt.max(attempt);
        self.slave = self.slave.max(slave);
    }
}

impl Lineage {
    /// The incarnation that hand-outs are made under.
    #[must_use]
    pub fn incarnation(&self) -> Option<&Incarnation> {
        self.incarnation.as_ref()
    }

    /// How many events there were.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn count_event(&mut self) {
        self.position += 1;
    }

    pub(crate) fn begin_life(&mut self, session: &SessionId, after: u64) {
        self.lives.push_back(Life {
            session: session.clone(),
            after,
        });
        if self.lives.len() > MAX_LIVES {
            self.lives.pop_front();
        }
    }

    pub(crate) fn begin(&mut self, incarnation: &Incarnation) {
        self.incarnation = Some(incarnation.clone());
    }

    fn mark(&self) -> Option<MasterMark> {
        Some(MasterMark {
            incarnation: self.incarnation.clone()?,
            session_id: self.lives.back()?.session.clone(),
            position: self.position,
            // The core knows no key.
            proof: None,
        })
    }

    /// Why this journal lacks events that a slave has seen in this incarnation, if it does.
    fn misses(&self, mark: &MasterMark) -> Option<String> {
        let mut lives = self.lives.iter();
        let life = lives.rposition(|life| life.session == mark.session_id);
        let Some(life) = life else {
            return Some(format!("the journal knows no life {}", mark.session_id));
        };
        let end = match self.lives.get(life + 1) {
            Some(next) => next.after,
            None => self.position,
        };
        (mark.position > end).then(|| {
            format!(
                "that life of the master has {end} events in the journal, and there were {}",
                mark.position
            )
        })
    }
}

impl Cluster {
    /// What the journal knows of itself.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// This moment; `None` before the first start.
    #[must_use]
    pub fn mark(&self) -> Option<MasterMark> {
        self.lineage.mark()
    }

    /// Whether what a slave brings was handed out under this incarnation.
    ///
    /// # Errors
    /// It was not, or says nothing of that.
    pub fn check_incarnation(&self, given: Option<&Incarnation>) -> Result<(), Refusal> {
        let current = self.lineage.incarnation();
        if given == current {
            return Ok(());
        }
        let name = |incarnation: Option<&Incarnation>| {
            incarnation.map_or_else(|| "none".to_owned(), Incarnation::to_string)
        };
        Err(Refusal::OtherIncarnation {
            current: name(current),
            given: name(given),
        })
    }

    /// The master has started.
    pub(crate) fn start(&self, opening: &Opening) -> Vec<Fact> {
        let cause = match &self.lineage.incarnation {
            None => Some(IncarnationCause::NewJournal),
            Some(_) => {
                let missing = self.is_behind(&opening.stored);
                missing.map(IncarnationCause::EventsMissing)
            }
        };
        let named = self.named_in(&opening.stored);
        let mut facts = match cause {
            Some(cause) => self.begin_incarnation(&opening.fresh, cause, named),
            // Only then is it asked what is under way.
            None => self.unsure_legacy_slaves(),
        };
        facts.push(Fact::Farm(FarmFact::MasterStarted {
            life: opening.life.clone(),
            after: self.lineage.position,
        }));
        facts
    }

    /// What slaves have is void from now on, and no number is given again that is named.
    pub(crate) fn begin_incarnation(
        &self,
        fresh: &Incarnation,
        cause: IncarnationCause,
        named: Named,
    ) -> Vec<Fact> {
        let lost = self.called_slaves().map(|slave| {
            Fact::Slave(
                slave.id,
                SlaveFact::Lost {
                    reason: Loss::Trouble(format!(
                        "a new incarnation of the master began: {cause}"
                    )),
                },
            )
        });
        let begun = Fact::Farm(FarmFact::IncarnationBegun {
            incarnation: fresh.clone(),
            build: named.build,
            attempt: named.attempt,
            slave: named.slave,
            cause: cause.clone(),
        });
        lost.chain([begun]).collect()
    }

    fn named_in(&self, stored: &StoredResults) -> Named {
        let mut named = Named::NOTHING;
        named.build = stored.last_build;
        let keys = stored.of_open_builds.values().flatten();
        named.attempt = keys
            .map(|(_, attempt)| *attempt)
            .max()
            .unwrap_or(Attempt(0));
        named
    }

    /// Why stored results show that the journal lost events, if they do: the journal records builds and hand-outs
    /// before any result is stored.
    fn is_behind(&self, stored: &StoredResults) -> Option<String> {
        if stored.last_build.0 > self.last_build {
            return Some(format!(
                "there are results of build {}, but the journal knows builds only up to {}",
                stored.last_build, self.last_build
            ));
        }
        let open = stored.of_open_builds.iter();
        let open = open.filter_map(|(id, keys)| Some((self.build(*id)?, keys)));
        let mut keys = open.flat_map(|(build, keys)| keys.iter().map(move |key| (build, key)));
        let (build, (subjob, attempt)) = keys.find(|(build, (subjob, attempt))| {
            let last = build.last_attempt(*subjob);
            !build.is_over() && last.is_none_or(|last| *attempt > last)
        })?;
        Some(format!(
            "there is a result of attempt {attempt} of subjob {subjob} of build {}, and the journal knows no \
             such hand-out",
            build.id
        ))
    }

    /// What the words of a slave that connects mean. Those of one that shows no more than a key or a join token count as far
    /// as they are proved: it speaks for itself, and a new incarnation is about all. The ids alone that it names count
    /// when it joins.
    pub(crate) fn judge_seen(&self, key: Option<OfferedKey>, seen: &[Testimony]) -> Judgement {
        let is_believed = !key.is_some_and(OfferedKey::is_without_secret);
        let joins = key.is_none_or(|key| key.joins.is_some());
        let mut judgement = Judgement {
            // Before the first start there is nothing to be told apart.
            is_ours: self.lineage.incarnation.is_none(),
            is_older: None,
            named: Named::NOTHING,
        };
        for Testimony { seen, is_proved } in seen {
            let counts = *is_proved || is_believed;
            if counts || joins {
                judgement.named.add(seen.build, seen.attempt, seen.slave);
            }
            if Some(&seen.last.incarnation) == self.lineage.incarnation.as_ref() {
                judgement.is_ours = true;
                let missed = self.lineage.misses(&seen.last).filter(|_| counts);
                judgement.is_older = judgement.is_older.or(missed);
            }
        }
        judgement
    }

    /// The fact that ids up to these are taken, where they are not yet.
    pub(crate) fn reserving(&self, named: Named) -> Option<Fact> {
        let is_new = named.build.0 > self.last_build || named.slave.0 > self.last_slave;
        is_new.then_some(Fact::Farm(FarmFact::IdsReserved {
            build: named.build,
            slave: named.slave,
        }))
    }

    pub(crate) fn reserve(&mut self, build: BuildId, slave: SlaveId) {
        self.last_build = self.last_build.max(build.0);
        self.last_slave = self.last_slave.max(slave.0);
    }

    /// The slaves are lost by now. What they could not set up they may be asked for again.
    pub(crate) fn enter_incarnation(&mut self, incarnation: &Incarnation, named: Named) {
        let is_first = self.lineage.incarnation.is_none();
        self.lineage.begin(incarnation);
        self.reserve(named.build, named.slave);
        // A subjob is handed out at most so often in one incarnation.
        let jump = if is_first { 0 } else { MAX_HAND_OUTS };
        for build in self.builds.values_mut().filter(|build| !build.is_over()) {
            let build = Arc::make_mut(build);
            let from = build.attempts_from.saturating_add(jump);
            build.attempts_from = from.max(named.attempt.0);
            build.setup_failures.clear();
        }
        let working: Vec<BuildId> = self.working.iter().copied().collect();
        for build in working {
            self.settle(build);
        }
    }
}
