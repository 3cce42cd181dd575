//! Carries out what `instances` decides: brings templates, starts keepers and speaks with them, tells the master where
//! instances stand and what they print.

mod checks;
mod content;
mod keepers;
mod logs;
mod reports;

use crate::containers::Availability;
use crate::instances::{Act, Gone, Instances, Placement, Wanted};
use crate::keeper::{KeeperOrder, Rules, Said, container_name};
use crate::templates::{InUse, Templates};
use checks::check;
use clusterrunner_common::api::instances::{InstanceOrder, InstancesOrder, OrderedPurpose};
use clusterrunner_common::ids::InstanceId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::templates::{Form, TemplateContent};
use clusterrunner_common::work::{MasterMark, ReportedState};
use content::Content;
use keepers::Kept;
pub(crate) use keepers::Places;
use logs::Logs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why another slave is to run an instance.
const NO_ROOM: &str = "its slave has no room for it";

/// The instances of this slave. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor(Arc<Shared>);

/// What instances are run with.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) templates: Arc<Templates>,
    pub(crate) places: Places,
    pub(crate) rules: Rules,
    pub(crate) max_instances: u32,
    pub(crate) containers: Availability,
}

#[derive(Debug)]
struct Shared {
    means: Means,
    state: Mutex<State>,
    /// Changes when there is something to report.
    news: watch::Sender<u64>,
    logs: Logs,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    instances: Instances,
    /// The orders of those that are wanted.
    orders: BTreeMap<InstanceId, Arc<InstanceOrder>>,
    /// Canceled to end one.
    ends: BTreeMap<Placement, CancellationToken>,
    /// Which moment of the master the last order was of.
    last: Option<MasterMark>,
    /// Templates that are fetched for later.
    preloading: BTreeSet<String>,
    /// Nothing is started any more.
    is_ending: bool,
}

impl Supervisor {
    pub(crate) fn new(means: Means) -> Self {
        Self(Arc::new(Shared {
            means,
            state: Mutex::default(),
            news: watch::Sender::new(0),
            logs: Logs::default(),
            tasks: TaskTracker::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Takes over what an earlier life of the slave started, and removes what has died since. To be called before the
    /// slave connects.
    pub(crate) async fn adopt(&self) {
        let mut ended = self.0.means.places.noted_runs();
        for left in self.0.means.places.left().await {
            let placement = left.placement;
            let directory = self.0.means.places.directory(placement);
            self.0.logs.begin(placement, directory);
            match left.keeper {
                Some(kept) => {
                    ended.remove(&placement);
                    tracing::info!(
                        instance.id = %placement.id,
                        generation = placement.generation.0,
                        "goes on with an instance that was started before this slave"
                    );
                    let end = CancellationToken::new();
                    // An image that was pulled has no digest here.
                    let digest = &kept.first.digest;
                    let held = (!digest.is_empty()).then(|| self.0.means.templates.hold(digest));
                    let mut state = self.lock();
                    state.instances.adopt(placement);
                    state.ends.insert(placement, end.clone());
                    drop(state);
                    self.heard(placement, &kept.first);
                    let supervisor = self.clone();
                    self.0.tasks.spawn(async move {
                        let gone = supervisor.follow(placement, kept, &end, held).await;
                        supervisor.is_gone(placement, gone);
                    });
                }
                None => {
                    self.clear(placement).await;
                    self.0.logs.is_over(placement);
                }
            }
        }
        let mut state = self.lock();
        for (placement, last) in ended {
            let last = last.filter(|last| *last != ReportedState::Ended);
            let last = last.unwrap_or_else(|| ReportedState::Failed {
                reason: "it was ended while its slave was not there".to_owned(),
            });
            state.instances.recall(placement, last);
        }
    }

    /// Takes an order of the master. One that is older than the last is dropped.
    pub(crate) fn order(&self, order: InstancesOrder) {
        let mut state = self.lock();
        if state.is_ending {
            return;
        }
        if let (Some(last), Some(this)) = (&state.last, &order.master)
            && last.incarnation == this.incarnation
            && last.position > this.position
        {
            tracing::debug!("dropped an order of instances that is older than the last");
            return;
        }
        state.last = order.master;
        let wanted = order.instances.iter().map(|instance| {
            let wanted = Wanted {
                generation: instance.generation,
                is_run: instance.purpose == OrderedPurpose::Run,
            };
            (instance.id, wanted)
        });
        let wanted: BTreeMap<InstanceId, Wanted> = wanted.collect();
        let orders = order.instances.into_iter();
        state.orders = orders
            .map(|instance| (instance.id, Arc::new(instance)))
            .collect();
        let acts = state.instances.order(wanted);
        self.carry_out(&mut state, acts);
        for snapshot in order.preloads {
            self.preload(&mut state, snapshot);
        }
        drop(state);
        self.has_news();
    }

    fn preload(&self, state: &mut State, snapshot: TemplateContent) {
        if !state.preloading.insert(snapshot.digest.clone()) {
            return;
        }
        let supervisor = self.clone();
        self.0.tasks.spawn(async move {
            let stop = supervisor.0.logs.ending();
            let got = supervisor.0.means.templates.get(&snapshot, &stop).await;
            if let Err(error) = got {
                let snapshot = &snapshot.digest;
                tracing::warn!(snapshot, %error, "could not fetch a template ahead");
            }
            supervisor.lock().preloading.remove(&snapshot.digest);
            supervisor.has_news();
        });
    }

    fn carry_out(&self, state: &mut State, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::End(placement) => {
                    if let Some(end) = state.ends.get(&placement) {
                        end.cancel();
                    }
                }
                Act::Start(placement) => {
                    let Some(order) = state.orders.get(&placement.id).cloned() else {
                        continue;
                    };
                    let end = CancellationToken::new();
                    state.ends.insert(placement, end.clone());
                    let supervisor = self.clone();
                    self.0.tasks.spawn(async move {
                        let gone = supervisor.keep(placement, &order, &end).await;
                        supervisor.is_gone(placement, gone);
                    });
                }
            }
        }
    }

    /// Keeps an instance from its order to its end.
    async fn keep(
        &self,
        placement: Placement,
        order: &InstanceOrder,
        end: &CancellationToken,
    ) -> Gone {
        tracing::info!(
            instance.id = %placement.id,
            generation = placement.generation.0,
            template = order.template,
            "starting an instance"
        );
        if let Err(reason) = check(order) {
            return Gone::Failed(reason);
        }
        let means = &self.0.means;
        let what = match self.fetch(order, end).await {
            Ok(what) => what,
            Err(gone) => return gone,
        };
        if end.is_cancelled() {
            return Gone::Ended;
        }
        let mut note = None;
        if order.purpose == OrderedPurpose::Run {
            match means.places.note_run(placement) {
                Ok(path) => note = Some(path),
                Err(error) => return Gone::Failed(format!("could not note its start: {error}")),
            }
        }
        let Content {
            held,
            template,
            container,
        } = what;
        let keeper = KeeperOrder {
            instance: order.clone(),
            directory: means.places.directory(placement),
            template,
            container,
            restarts: self.lock().instances.restarts(placement.id),
            note,
            mark: means.places.mark(placement),
            rules: means.rules.clone(),
        };
        match means.places.start(placement, &keeper).await {
            Ok(kept) => {
                self.0.logs.begin(placement, keeper.directory);
                self.follow(placement, kept, end, held).await
            }
            Err(error) => {
                tracing::warn!(instance.id = %placement.id, %error, "could not start a keeper");
                self.clear(placement).await;
                let reason = format!("the process that keeps it could not be started: {error}");
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        Gone::NoRoom(format!("{NO_ROOM}: {reason}"))
                    }
                    _ => Gone::Lost(reason),
                }
            }
        }
    }

    /// Listens to a keeper until it is gone, and lets it know that this slave is there.
    async fn follow(
        &self,
        placement: Placement,
        mut kept: Kept,
        end: &CancellationToken,
        held: Option<InUse>,
    ) -> Gone {
        let mut last = kept.first.state.clone();
        let (mut is_told, pause) = (false, self.0.means.rules.alone_for / 6);
        // Whatever the keeper says meanwhile: one whose instance prints all the time says something all the time.
        let mut greets_at = Instant::now() + pause;
        loop {
            tokio::select! {
                said = kept.lines.recv() => match said {
                    Some(said) => {
                        self.heard(placement, &said);
                        last = said.state;
                    }
                    None => break,
                },
                () = end.cancelled(), if !is_told => {
                    is_told = true;
                    kept.end().await;
                }
                () = tokio::time::sleep_until(greets_at) => {
                    greets_at = Instant::now() + pause;
                    kept.is_here().await;
                    if let Some(held) = &held {
                        self.lead(placement, held);
                    }
                }
            }
        }
        match last {
            // All of it has ended, says the keeper.
            ReportedState::Ended
            | ReportedState::Failed { .. }
            | ReportedState::Exited { .. }
            | ReportedState::NoRoom { .. } => {
                self.0.means.places.clear(placement).await;
            }
            ReportedState::Starting | ReportedState::Up { .. } | ReportedState::Crashed { .. } => {
                self.clear(placement).await;
            }
        }
        self.0.logs.is_over(placement);
        match last {
            ReportedState::Ended => Gone::Ended,
            ReportedState::Failed { reason } => Gone::Failed(reason),
            ReportedState::Exited { code, printed } => Gone::Exited { code, printed },
            ReportedState::NoRoom { reason } => Gone::NoRoom(reason),
            ReportedState::Starting | ReportedState::Up { .. } | ReportedState::Crashed { .. } => {
                Gone::Lost("the process that kept it was killed".to_owned())
            }
        }
    }

    /// Ends and removes all of an instance but what it printed, its container with it.
    async fn clear(&self, placement: Placement) {
        let means = &self.0.means;
        if let Some(runtime) = means.containers.known() {
            let name = container_name(&means.places.mark(placement));
            let removed = tokio::task::spawn_blocking(move || runtime.remove(&name)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(instance.id = %placement.id, %error, "could not remove the container of an instance");
            }
        }
        means.places.clear(placement).await;
    }

    /// Another slave on this machine may have removed the link to the template together with its own copy.
    fn lead(&self, placement: Placement, held: &InUse) {
        let order = self.lock().orders.get(&placement.id).cloned();
        let Some(order) = order.filter(|order| order.generation == placement.generation) else {
            return;
        };
        if let Some(description) = order.description()
            && description.form == Form::Workspace
            && let Err(error) = held.lead(description.root.as_deref())
        {
            tracing::warn!(instance.id = %placement.id, %error, "the template of an instance is not in its place");
        }
    }

    fn heard(&self, placement: Placement, said: &Said) {
        self.0.logs.has_printed(placement, said.printed);
        let standing = said.state.clone();
        let mut state = self.lock();
        if state.instances.stands(placement, standing, said.restarts) {
            drop(state);
            tracing::debug!(instance.id = %placement.id, state = ?said.state, "an instance changed");
            self.has_news();
        }
    }

    fn is_gone(&self, placement: Placement, gone: Gone) {
        match &gone {
            Gone::Ended | Gone::Exited { .. } => {
                tracing::info!(instance.id = %placement.id, "an instance has ended");
            }
            Gone::Failed(reason) | Gone::Lost(reason) | Gone::NoRoom(reason) => {
                tracing::warn!(instance.id = %placement.id, reason, "an instance does not run");
            }
        }
        let mut state = self.lock();
        state.ends.remove(&placement);
        let acts = state.instances.is_gone(placement, gone);
        self.carry_out(&mut state, acts);
        drop(state);
        self.has_news();
    }

    fn has_news(&self) {
        self.0.news.send_modify(|count| *count += 1);
    }

    /// Ends all instances, and returns when nothing of them is left.
    pub(crate) async fn end(&self) {
        {
            let mut state = self.lock();
            state.is_ending = true;
            let acts = state.instances.end_all();
            self.carry_out(&mut state, acts);
        }
        self.has_news();
        let mut news = self.0.news.subscribe();
        while !self.lock().instances.is_at_rest() {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for what is left to do at the end of the slave.
    pub(crate) async fn rest(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.means.templates.rest().await;
    }
}
