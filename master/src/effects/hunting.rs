//! Carries hunts out ([`clusterrunner_core::hunting`]): looks when something happened, calls slaves, and brings what they found to
//! the cluster. A hunt is one call, whose answer comes at its end. So a hunt whose caller goes is over, and no answer counts
//! twice.

mod call;

use self::call::{Call, Outcome};
use super::history::job_of;
use crate::coordinator::{ClusterHandle, CommandFailure, Gone};
use crate::journal::{Histories, HistoryJob, Kind, What};
use crate::read::feed::{Facts, Feed, News, Reader};
use crate::read::tested::value_in;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::hunted::{Hunted, HuntedRun};
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use clusterrunner_core::history::Trials;
use clusterrunner_core::hunting::{Hunt, HuntId, Hunts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it looks though nothing happened: slaves that took no hunt may take one again.
const LOOK: Duration = Duration::from_secs(1);

/// How often it looks at most: a look takes a turn of the coordinator.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it tells the cluster what was found: each report is a write to the journal.
const REPORT: Duration = Duration::from_secs(1);

/// Hunts for flakes.
#[derive(Debug)]
pub(crate) struct Hunter {
    /// The cluster.
    pub cluster: ClusterHandle,
    /// Calls slaves.
    pub caller: Caller,
    /// What is known of atoms.
    pub histories: Histories,
    /// The life of this master.
    pub life: SessionId,
    /// Whether builds are hunted whose job does not say.
    pub by_default: bool,
}

/// What is under way.
struct Hunting {
    hunter: Hunter,
    hunts: Hunts,
    /// Builds that are hunted when they come to their end.
    builds: BTreeSet<BuildId>,
    calls: JoinSet<(HuntId, Outcome)>,
    begun: BTreeMap<HuntId, Begun>,
    learning: JoinSet<Option<Learned>>,
    /// What the cluster is to be told.
    found: BTreeMap<BuildId, Vec<HuntedRun>>,
    /// Whether anything happened since it looked.
    is_changed: bool,
    looked: Instant,
}

/// How many atoms of a build a look takes along, of whose past is asked.
const AT_ONCE: usize = 2_000;

/// A build of whose atoms it is not known yet which are to be hunted.
struct Unknown {
    build: BuildId,
    job: Option<HistoryJob>,
    quotes_atoms: bool,
    hunted: Hunted,
}

/// The same, with what is known of them.
type Learned = (BuildId, Hunted, Vec<OfAtom>);

type OfAtom = (SubjobId, Arc<Subjob>, Trials);

struct Begun {
    at: Instant,
    call: AbortHandle,
}

impl Hunter {
    /// Hunts until `stop`.
    pub(crate) async fn run(self, feed: Feed, stop: CancellationToken) {
        let reader = feed.reader_after(feed.latest());
        let hunting = Hunting {
            hunts: Hunts::new(self.by_default),
            hunter: self,
            builds: BTreeSet::new(),
            calls: JoinSet::new(),
            begun: BTreeMap::new(),
            learning: JoinSet::new(),
            found: BTreeMap::new(),
            is_changed: true,
            looked: Instant::now(),
        };
        tokio::select! {
            () = stop.cancelled() => {}
            // The other way to end: the master goes down.
            _ = hunting.run(reader) => {}
        }
    }
}

impl Hunting {
    async fn run(mut self, mut reader: Reader) -> Result<(), Gone> {
        let (mut look, mut report) = (interval(PAUSE), interval(REPORT));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin().await?;
        loop {
            tokio::select! {
                news = reader.next() => match news {
                    Some(news) => self.note(news).await?,
                    None => return Ok(()),
                },
                Some(ended) = self.calls.join_next() => self.end(ended.ok()),
                Some(learned) = self.learning.join_next() => {
                    // One that broke off leaves its build alone.
                    if let Ok(Some((build, hunted, atoms))) = learned {
                        self.hunts.learn(build, &hunted, atoms);
                    }
                }
                _ = look.tick(), if self.has_work() => {
                    if self.is_changed || self.looked.elapsed() >= LOOK {
                        self.look().await?;
                    }
                    continue;
                }
                _ = report.tick(), if !self.found.is_empty() => {
                    self.report().await?;
                    continue;
                }
            }
            self.is_changed = true;
            while let Some(news) = reader.ready() {
                self.note(news).await?;
            }
            while let Some(ended) = self.calls.try_join_next() {
                self.end(ended.ok());
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.builds.is_empty() || self.hunts.are_on()
    }

    /// Finds the builds that there are already.
    async fn begin(&mut self) -> Result<(), Gone> {
        let hunts = self.hunts.clone();
        let find = move |cluster: &Cluster| {
            let builds = cluster.builds();
            let builds = builds.filter(|build| build.wants_slaves() || build.hunted.goes_on);
            let hunted = builds.filter(|build| hunts.are_for(build));
            hunted.map(|build| build.id).collect()
        };
        self.builds = self.hunter.cluster.read(find).await?;
        Ok(())
    }

    async fn note(&mut self, news: News) -> Result<(), Gone> {
        match news {
            News::Facts(facts) => self.note_facts(&facts),
            News::Missed { .. } => self.begin().await?,
        }
        Ok(())
    }

    fn note_facts(&mut self, facts: &Facts) {
        for (_, Event { fact, .. }) in facts.iter() {
            match fact {
                Fact::Build(build, BuildFact::Prepared { plan, .. })
                    if plan.hunt_flakes.unwrap_or(self.hunter.by_default) =>
                {
                    self.builds.insert(*build);
                }
                Fact::Build(build, BuildFact::Retired) => {
                    self.builds.remove(build);
                }
                _ => {}
            }
        }
    }

    fn end(&mut self, ended: Option<(HuntId, Outcome)>) {
        // One that was broken off is noted already.
        let Some((id, outcome)) = ended else { return };
        let Some(begun) = self.begun.remove(&id) else {
            return;
        };
        match outcome {
            Outcome::Ended(end) => {
                let now = Timestamp::now();
                let found = self.hunts.ended(id, end, elapsed_ms(&begun), now);
                if let Some((build, run)) = found {
                    self.found.entry(build).or_default().push(run);
                }
            }
            Outcome::Refused { is_unable } => {
                self.hunts.refused(id, is_unable, Timestamp::now());
            }
        }
    }

    /// Tells the cluster what was found. What ends meanwhile goes with the next report.
    async fn report(&mut self) -> Result<(), Gone> {
        for (build, runs) in std::mem::take(&mut self.found) {
            self.tell(Command::ReportHunted { build, runs }).await?;
        }
        Ok(())
    }

    async fn tell(&self, command: Command) -> Result<(), Gone> {
        match self.hunter.cluster.command(command).await {
            Ok(_) => Ok(()),
            Err(CommandFailure::Refused(refusal)) => {
                tracing::debug!(%refusal, "a report of the hunts was refused");
                Ok(())
            }
            Err(CommandFailure::Gone(gone)) => Err(gone),
        }
    }

    async fn look(&mut self) -> Result<(), Gone> {
        (self.is_changed, self.looked) = (false, Instant::now());
        let mut hunts = std::mem::take(&mut self.hunts);
        let look = move |cluster: &Cluster| {
            let look = hunts.look(cluster, Timestamp::now());
            let begun = look.begun.into_iter();
            let calls: Vec<_> = begun
                .map(|(id, hunt)| (id, Call::of(cluster, &hunt)))
                .collect();
            let unknown = look.unknown.iter();
            let unknown: Vec<Unknown> = unknown
                .filter_map(|id| cluster.build(*id).map(Unknown::of))
                .collect();
            (hunts, calls, look.ended, look.goes_on, unknown)
        };
        let (hunts, calls, ended, going_on, unknown) = self.hunter.cluster.read(look).await?;
        self.hunts = hunts;
        // Slaves may put a build away as soon as nothing is to be found, and then nothing more of it counts.
        if going_on.iter().any(|(_, goes_on)| !goes_on) {
            self.report().await?;
        }
        for (build, goes_on) in going_on {
            self.tell(Command::ReportHunting { build, goes_on }).await?;
        }
        for (id, hunt) in ended {
            self.break_off(id, &hunt);
        }
        for build in unknown {
            let (cluster, histories) = (&self.hunter.cluster, &self.hunter.histories);
            let learned = build.learn(cluster.clone(), histories.clone());
            self.learning.spawn(learned);
        }
        for (id, call) in calls {
            let Some(call) = call else {
                self.hunts.refused(id, false, Timestamp::now());
                continue;
            };
            let (caller, life) = (self.hunter.caller.clone(), self.hunter.life.clone());
            let mark = self.hunter.cluster.mark(call.incarnation.clone(), life);
            let call = async move { (id, call.make(&caller, mark).await) };
            let call = self.calls.spawn(call);
            let at = Instant::now();
            self.begun.insert(id, Begun { at, call });
        }
        Ok(())
    }

    /// The slave ends what nobody waits for.
    fn break_off(&mut self, id: HuntId, hunt: &Hunt) {
        if let Some(begun) = self.begun.remove(&id) {
            begun.call.abort();
            let run = HuntedRun {
                subjob: hunt.subjob,
                trial: None,
                ms: elapsed_ms(&begun),
            };
            self.found.entry(hunt.build).or_default().push(run);
        }
    }
}

fn elapsed_ms(begun: &Begun) -> u64 {
    u64::try_from(begun.at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Unknown {
    fn of(build: &Build) -> Self {
        Self {
            build: build.id,
            job: job_of(build),
            quotes_atoms: build.quotes_atoms(),
            hunted: build.hunted.clone(),
        }
    }

    /// Asks for the past of its atoms: there may be very many, so that several looks take them along. None if it broke off.
    async fn learn(self, cluster: ClusterHandle, histories: Histories) -> Option<Learned> {
        let (id, quotes_atoms) = (self.build, self.quotes_atoms);
        let mut known = Vec::new();
        let job = self.job.map(Arc::new);
        let mut first = 0;
        while let Some(job) = &job {
            let look = move |cluster: &Cluster| some_atoms(cluster, id, first);
            let part = cluster.read(look).await.ok()?;
            if part.is_empty() {
                break;
            }
            first += part.len();
            let (histories, job) = (histories.clone(), Arc::clone(job));
            let of_part = move || trials_of(&histories, &job, quotes_atoms, part);
            let Some(of_part) = tokio::task::spawn_blocking(of_part).await.ok()? else {
                tracing::warn!(build.id = id.0, "no flakes are hunted in a build");
                return Some((id, self.hunted, Vec::new()));
            };
            known.extend(of_part);
        }
        Some((id, self.hunted, known))
    }
}

/// Some subjobs of a build, from a number on; none where it is gone.
fn some_atoms(cluster: &Cluster, id: BuildId, first: usize) -> Vec<(SubjobId, Arc<Subjob>)> {
    let build = cluster.build(id).into_iter();
    let subjobs = build.flat_map(|build| build.subjobs.iter().enumerate());
    let subjobs = subjobs.skip(first).take(AT_ONCE);
    let subjobs = subjobs.filter_map(|(index, subjob)| {
        Some((SubjobId(u32::try_from(index).ok()?), Arc::clone(subjob)))
    });
    subjobs.collect()
}

/// What is known of atoms of a job; none where that can not be read. Blocks.
fn trials_of(
    histories: &Histories,
    job: &HistoryJob,
    quotes_atoms: bool,
    subjobs: Vec<(SubjobId, Arc<Subjob>)>,
) -> Option<Vec<OfAtom>> {
    let mut known = Vec::new();
    for (id, subjob) in subjobs {
        let Some(atom) = subjob.atoms.iter().next() else {
            continue;
        };
        let what = What {
            kind: Kind::Atom,
            name: value_in(quotes_atoms, atom).into_owned(),
            class: None,
            atom: Arc::from(&**atom),
        };
        match histories.trials(job, &what) {
            Ok(trials) => known.push((id, subjob, trials)),
            Err(error) => {
                tracing::warn!(%error, "what is known of atoms can not be read");
                return None;
            }
        }
    }
    Some(known)
}
