//! Owns the slave's [`Work`]: takes commands one at a time and has their effects carried out.

use crate::data_directory::{DataDirectory, make_private};
use crate::delivery::Deliveries;
use crate::event_log::SubjobEvents;
use crate::executors::{BROKE_OFF, Consoles, Executors};
use crate::reports::Reports;
use crate::result_archive::{self, Taker};
use crate::result_note::ResultNote;
use crate::setup::Setup;
use crate::subjob_executor::{Limits, Means};
use crate::work::{
    Answer, AtomEnd, Command, DeliveryOutcome, Effect, HandOut, Refusal, SetupOutcome, Work,
};
use clusterrunner_common::api::{AtomReport, ExecutorView, SlaveState, StateReportBody};
use clusterrunner_common::disk_space::DiskSpace;
use clusterrunner_common::event_log::EventLog;
use clusterrunner_common::ids::{AtomId, BuildId, SessionId};
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// How many commands may wait; each is handled in microseconds.
const INBOX: usize = 256;

struct Message {
    command: Command,
    answer: oneshot::Sender<Result<Answer, Refusal>>,
}

/// The only way to the work.
#[derive(Clone, Debug)]
pub(crate) struct WorkHandle {
    inbox: mpsc::Sender<Message>,
    view: watch::Receiver<WorkView>,
}

/// What can be seen of the work from outside.
#[derive(Clone, Debug)]
pub(crate) struct WorkView {
    pub(crate) executors: Vec<ExecutorView>,
    pub(crate) current_build: Option<BuildId>,
    pub(crate) is_stopping: bool,
}

impl WorkView {
    fn of(work: &Work) -> Self {
        Self {
            executors: work.executors(),
            current_build: work.current_build(),
            is_stopping: work.is_stopping(),
        }
    }
}

impl WorkHandle {
    /// Gives a command and waits until it is followed.
    pub(crate) async fn send(&self, command: Command) -> Result<Answer, Refusal> {
        let (answer, answered) = oneshot::channel();
        // If nobody takes it, or answers, the process is at its end.
        if self.inbox.send(Message { command, answer }).await.is_err() {
            return Err(Refusal::Ending);
        }
        answered.await.unwrap_or(Err(Refusal::Ending))
    }

    /// The work as it stands.
    pub(crate) fn view(&self) -> WorkView {
        self.view.borrow().clone()
    }
}

/// What the effects need.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) setup: Setup,
    pub(crate) deliveries: Deliveries,
    pub(crate) reports: Reports,
    pub(crate) events: EventLog,
    pub(crate) session: SessionId,
    pub(crate) limits: Limits,
    pub(crate) space: DiskSpace,
    pub(crate) consoles: Arc<Consoles>,
}

/// How a build's effects are told to stop.
#[derive(Debug, Default)]
struct BuildStops {
    all: CancellationToken,
    hurry: CancellationToken,
    /// For the event log.
    job_name: String,
    hand_outs: HashMap<HandOut, CancellationToken>,
}

impl BuildStops {
    fn hand_out(&mut self, hand_out: HandOut) -> CancellationToken {
        let all = &self.all;
        let stop = self.hand_outs.entry(hand_out);
        stop.or_insert_with(|| all.child_token()).clone()
    }
}

/// Runs until the work is over.
pub(crate) struct Coordinator {
    work: Work,
    surroundings: Arc<Surroundings>,
    inbox: mpsc::Receiver<Message>,
    view: watch::Sender<WorkView>,
    effects: JoinSet<Command>,
    executors: Executors,
    stops: HashMap<BuildId, BuildStops>,
}

impl Coordinator {
    /// A coordinator and the way to it.
    ///
    /// # Errors
    /// When its executors can not be started.
    pub(crate) fn new(
        num_executors: u32,
        surroundings: Arc<Surroundings>,
    ) -> io::Result<(Self, WorkHandle)> {
        let work = Work::new(num_executors);
        let (inbox_sender, inbox) = mpsc::channel(INBOX);
        let means = Means {
            data: Arc::clone(&surroundings.data),
            space: surroundings.space.clone(),
            limits: surroundings.limits,
            consoles: Arc::clone(&surroundings.consoles),
        };
        let ends = inbox_sender.clone();
        let executors = Executors::start(num_executors, &means, move |hand_out, outcome| {
            let (answer, _) = oneshot::channel();
            let command = Command::RunEnded { hand_out, outcome };
            // If nobody takes it the process is at its end.
            ends.blocking_send(Message { command, answer }).ok();
        })?;
        let (view, viewer) = watch::channel(WorkView::of(&work));
        let coordinator = Self {
            work,
            surroundings,
            inbox,
            view,
            effects: JoinSet::new(),
            executors,
            stops: HashMap::new(),
        };
        let handle = WorkHandle {
            inbox: inbox_sender,
            view: viewer,
        };
        Ok((coordinator, handle))
    }

    /// Follows commands until `stop`, then until everything is ended and cleaned up.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !self.work.is_over() {
            tokio::select! {
                () = stop.cancelled(), if !self.work.is_stopping() => self.turn(Command::Stop, None),
                Some(message) = self.inbox.recv() => self.turn(message.command, Some(message.answer)),
                Some(ended) = self.effects.join_next() => match ended {
                    Ok(command) => self.turn(command, None),
                    // They catch their panics, and nobody aborts them.
                    Err(error) => tracing::error!(%error, "an effect got lost"),
                },
            }
        }
    }

    fn turn(
        &mut self,
        command: Command,
        answer_to: Option<oneshot::Sender<Result<Answer, Refusal>>>,
    ) {
        match &command {
            Command::CleanUpEnded { build, .. } => {
                tracing::info!(build.id = %build, "the build is torn down");
                self.stops.remove(build);
                self.surroundings.consoles.forget(*build);
            }
            Command::DeliveryEnded { hand_out, .. } => {
                if let Some(stops) = self.stops.get_mut(&hand_out.build) {
                    stops.hand_outs.remove(hand_out);
                }
            }
            _ => {}
        }
        let handled = self.work.handle(command);
        self.view.send_replace(WorkView::of(&self.work));
        let answer = handled.map(|(answer, effects)| {
            for effect in effects {
                self.carry_out(effect);
            }
            answer
        });
        if let Some(answer_to) = answer_to {
            // Whoever asked may have gone; what was asked for happens all the same.
            answer_to.send(answer).ok();
        }
    }

    /// Has something done that ends in a command; should it panic, in `otherwise`.
    fn spawn(
        &mut self,
        otherwise: Command,
        effect: impl Future<Output = Command> + Send + 'static,
    ) {
        let effect = AssertUnwindSafe(effect).catch_unwind();
        self.effects.spawn(async move {
            effect.await.unwrap_or_else(|_| {
                tracing::error!(?otherwise, "a part of the slave panicked");
                otherwise
            })
        });
    }

    fn carry_out(&mut self, effect: Effect) {
        let around = Arc::clone(&self.surroundings);
        match effect {
            Effect::SetUp(order) => {
                let build = order.build;
                tracing::info!(build.id = %build, "setting a build up");
                let stops = self.stops.entry(build).or_default();
                stops.job_name = order.job.job_name().unwrap_or_default().to_owned();
                let stop = stops.all.clone();
                let failed = SetupOutcome::Failed {
                    reason: BROKE_OFF.to_owned(),
                    left: None,
                };
                let ended = move |outcome| Command::SetupEnded { build, outcome };
                self.spawn(ended(failed), async move {
                    ended(around.setup.set_up(*order, &stop).await)
                });
            }
            Effect::Run(order) => {
                let hand_out = order.hand_out;
                let HandOut {
                    build,
                    subjob,
                    attempt,
                } = hand_out;
                let executor = order.executor;
                tracing::debug!(build.id = %build, subjob.id = %subjob, %attempt, %executor, "running a subjob");
                let stop = self.stop_of(hand_out);
                let job_name = self.stops.get(&build).map(|stops| stops.job_name.clone());
                let events =
                    SubjobEvents::new(around.events.clone(), &order, job_name.unwrap_or_default());
                self.executors.run(order, stop, events);
            }
            Effect::Pack { hand_out, atoms } => {
                let reports = atoms
                    .iter()
                    .zip((0..).map(AtomId))
                    .filter_map(|(atom, id)| {
                        let limit = atom.timed_out?;
                        Some(AtomReport {
                            id,
                            timed_out_after_s: Some(limit.as_secs()),
                        })
                    });
                let session = around.session.clone();
                let note = ResultNote::new(hand_out, session, reports.collect());
                let stop = self.stop_of(hand_out);
                let ended = move |trouble| Command::PackEnded { hand_out, trouble };
                self.spawn(ended(Some(BROKE_OFF.to_owned())), async move {
                    ended(pack(around, note, atoms, stop).await.err())
                });
            }
            Effect::Deliver { hand_out, executor } => {
                let stop = self.stop_of(hand_out);
                let ended = move |outcome| Command::DeliveryEnded { hand_out, outcome };
                let failed = DeliveryOutcome::Rejected(BROKE_OFF.to_owned());
                self.spawn(ended(failed), async move {
                    let deliveries = &around.deliveries;
                    ended(
                        deliveries
                            .deliver(&around.data, hand_out, executor, &stop)
                            .await,
                    )
                });
            }
            Effect::CleanUp { build, project } => {
                let hurry = self.stops.entry(build).or_default().hurry.clone();
                let ended = move |trouble| Command::CleanUpEnded { build, trouble };
                self.spawn(ended(Some(BROKE_OFF.to_owned())), async move {
                    ended(around.setup.clean_up(build, project, &hurry).await)
                });
            }
            Effect::Cancel(hand_out) => self.stop_of(hand_out).cancel(),
            Effect::CancelBuild(build) => self.stops.entry(build).or_default().all.cancel(),
            Effect::Hurry(build) => self.stops.entry(build).or_default().hurry.cancel(),
            Effect::Report {
                build,
                state,
                reason,
            } => self.report(build, state, reason),
            Effect::ForgetReports => around.reports.forget(),
        }
    }

    fn stop_of(&mut self, hand_out: HandOut) -> CancellationToken {
        let stops = self.stops.entry(hand_out.build).or_default();
        stops.hand_out(hand_out)
    }

    fn report(&self, build: BuildId, state: SlaveState, reason: Option<String>) {
        match &reason {
            Some(reason) if state == SlaveState::SetupFailed => {
                tracing::warn!(build.id = %build, reason, "this slave can not work on a build")
            }
            _ => tracing::debug!(build.id = %build, ?state, "reporting to the master"),
        }
        let report = StateReportBody {
            state,
            build_id: Some(build),
            session_id: Some(self.surroundings.session.clone()),
            reason,
        };
        self.surroundings.reports.put(build, report);
    }
}

async fn pack(
    around: Arc<Surroundings>,
    note: ResultNote,
    atoms: Vec<AtomEnd>,
    stop: CancellationToken,
) -> Result<(), String> {
    let taker = match around.deliveries.api.dialect.is_original() {
        true => Taker::Original,
        false => Taker::Ours,
    };
    let packed = spawn_blocking(move || {
        let (data, hand_out) = (&around.data, note.hand_out());
        make_private(&data.results(hand_out.build)).map_err(|error| error.to_string())?;
        result_archive::pack(data, &note, &atoms, taker, &stop).map_err(|error| error.to_string())
    });
    let packed = packed.await.map_err(io::Error::other);
    packed
        .map_err(|error| error.to_string())
        .and_then(|packed| packed)
}
