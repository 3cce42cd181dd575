//! Owns the slave's [`Work`]. The caller of a command takes the turn and starts its effects itself; a turn
//! waits for nothing.

use crate::containers::BuildContainers;
use crate::data_directory::{DataDirectory, remove_all};
use crate::deliver::delivery::Deliveries;
use crate::deliver::lanes::Lanes;
use crate::deliver::outbox::Outbox;
use crate::deliver::parcel::Finished;
use crate::deliver::reports::Reports;
use crate::isolation::Isolator;
use crate::run::consoles::Consoles;
use crate::run::event_log::SubjobEvents;
use crate::run::executors::Executors;
use crate::run::subjob_executor::{Limits, Means};
use crate::setup::Setup;
use crate::work::{
    Answer, AtomConsole, AtomEnd, BROKE_OFF, BuildReport, Command, Effect, ExecutorNow, HandOut,
    HuntEnd, HuntOrder, Refusal, RunOrder, SetupOrder, SetupOutcome, Work,
};
use clusterrunner_common::api::{ExecutorView, SlaveState, StateReportBody};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{BuildId, Incarnation, SessionId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::logs::event_log::EventLog;
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The only way to the work from outside.
#[derive(Clone)]
pub(crate) struct WorkHandle(Arc<Coordinator>);

impl fmt::Debug for WorkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkHandle").finish_non_exhaustive()
    }
}

/// The work as others see it.
#[derive(Clone, Debug)]
pub(crate) struct WorkView {
    pub(crate) executors: Vec<ExecutorView>,
    pub(crate) current_build: Option<BuildId>,
    pub(crate) is_stopping: bool,
}

/// The parts that effects use.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) setup: Setup,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) events: EventLog,
    pub(crate) session: SessionId,
    pub(crate) limits: Limits,
    pub(crate) space: DiskSpace,
    /// Cancelled when the process is to end.
    pub(crate) ending: CancellationToken,
    pub(crate) consoles: Arc<Consoles>,
    pub(crate) containers: Arc<BuildContainers>,
    pub(crate) isolator: Arc<Isolator>,
}

/// Tokens that stop a build's effects.
#[derive(Debug, Default)]
struct BuildStops {
    all: CancellationToken,
    hurry: CancellationToken,
    /// For the event log.
    job_name: String,
    /// The incarnation of the master that ordered it.
    incarnation: Option<Incarnation>,
    hand_outs: HashMap<HandOut, CancellationToken>,
}

impl BuildStops {
    fn hand_out(&mut self, hand_out: HandOut) -> CancellationToken {
        let all = &self.all;
        let stop = self.hand_outs.entry(hand_out);
        stop.or_insert_with(|| all.child_token()).clone()
    }
}

/// The work, and the parts that its effects use.
struct Coordinator {
    turns: Mutex<Turns>,
    surroundings: Arc<Surroundings>,
    executors: Executors,
    outbox: Arc<Outbox>,
    /// All that was begun and has not ended.
    tasks: TaskTracker,
    runtime: Handle,
    /// Cancelled once the work is over.
    is_over: CancellationToken,
}

/// The state that one turn at a time may change.
struct Turns {
    work: Work,
    stops: HashMap<BuildId, BuildStops>,
    /// Who waits for the ends of hunts.
    hunters: HashMap<HandOut, oneshot::Sender<HuntEnd>>,
}

/// A hunt that somebody waits for. It ends with this.
pub(crate) struct RunningHunt {
    work: WorkHandle,
    hunt: HandOut,
    end: oneshot::Receiver<HuntEnd>,
}

impl RunningHunt {
    /// How it ends. May be dropped and called again.
    pub(crate) async fn end(&mut self) -> HuntEnd {
        (&mut self.end).await.unwrap_or(HuntEnd::Dropped)
    }
}

impl Drop for RunningHunt {
    fn drop(&mut self) {
        // Also at its end, when it changes nothing.
        self.work.0.report(Command::EndHunt(self.hunt));
    }
}

impl WorkHandle {
    /// The work of a slave that has nothing to do. To be called in a runtime, which carries its
    /// effects out.
    ///
    /// # Errors
    /// When its executors can not be started.
    pub(crate) fn new(num_executors: u32, surroundings: Arc<Surroundings>) -> io::Result<Self> {
        let (tasks, runtime) = (TaskTracker::new(), Handle::current());
        // The parts that report to it are its own: they must not keep it alive.
        let listener: Arc<OnceLock<Weak<Coordinator>>> = Arc::default();
        let tell = {
            let listener = Arc::clone(&listener);
            move |command| {
                if let Some(coordinator) = listener.get().and_then(Weak::upgrade) {
                    coordinator.report(command);
                }
            }
        };
        let means = Means {
            data: Arc::clone(&surroundings.data),
            space: surroundings.space.clone(),
            limits: surroundings.limits,
            consoles: Arc::clone(&surroundings.consoles),
            containers: Arc::clone(&surroundings.containers),
            isolator: Arc::clone(&surroundings.isolator),
        };
        let ended = {
            let tell = tell.clone();
            move |hand_out, outcome, took| {
                tell(Command::RunEnded {
                    hand_out,
                    outcome,
                    took,
                });
            }
        };
        let executors = Executors::start(num_executors, &means, ended)?;
        let outbox = Outbox {
            data: Arc::clone(&surroundings.data),
            deliveries: Arc::clone(&surroundings.deliveries),
            session: surroundings.session.clone(),
            ending: surroundings.ending.clone(),
            tell: Box::new(tell),
            tasks: tasks.clone(),
            runtime: runtime.clone(),
            lanes: Mutex::new(Lanes::default()),
            is_idle: watch::Sender::new(true),
        };
        let coordinator = Arc::new(Coordinator {
            turns: Mutex::new(Turns {
                work: Work::new(num_executors),
                stops: HashMap::new(),
                hunters: HashMap::new(),
            }),
            surroundings,
            executors,
            outbox: Arc::new(outbox),
            tasks,
            runtime,
            is_over: CancellationToken::new(),
        });
        listener.get_or_init(|| Arc::downgrade(&coordinator));
        Ok(Self(coordinator))
    }

    /// Gives a command and has it followed.
    pub(crate) fn send(&self, command: Command) -> Result<Answer, Refusal> {
        self.0.turn(command)
    }

    /// Begins a hunt, if an executor is idle.
    pub(crate) fn hunt(&self, order: HuntOrder) -> Result<RunningHunt, Refusal> {
        let build = order.build;
        let (teller, end) = oneshot::channel();
        let mut turns = self.0.lock();
        let answer = self.0.turn_in(&mut turns, Command::Hunt(order))?;
        let Answer::Hunting(hunt) = answer else {
            return Err(Refusal::NoRoomToHunt { build });
        };
        // Its end takes a turn, too, and so comes later.
        turns.hunters.insert(hunt, teller);
        drop(turns);
        let work = self.clone();
        Ok(RunningHunt { work, hunt, end })
    }

    /// The work as it stands.
    pub(crate) fn view(&self) -> WorkView {
        let turns = self.0.lock();
        WorkView {
            executors: turns.work.executors().into_iter().map(shown).collect(),
            current_build: turns.work.current_build(),
            is_stopping: turns.work.is_stopping(),
        }
    }

    /// Whether a build is being set up.
    pub(crate) fn is_setting_up(&self, build: BuildId) -> bool {
        self.0.lock().work.is_setting_up(build)
    }

    /// Results that are on their way.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.0.outbox)
    }

    /// Waits for the process to be told to end, and then until everything is ended and cleaned up.
    pub(crate) async fn run(&self) {
        self.0.surroundings.ending.cancelled().await;
        self.0.report(Command::Stop);
        self.0.is_over.cancelled().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Coordinator {
    fn lock(&self) -> MutexGuard<'_, Turns> {
        lock(&self.turns)
    }

    /// A turn for a command that is never refused.
    fn report(self: &Arc<Self>, command: Command) {
        if let Err(refusal) = self.turn(command) {
            tracing::error!(%refusal, "the end of an effect was refused");
        }
    }

    /// One turn. Its effects begin under the lock, so that they do in the order in which they were
    /// decided; none of them blocks.
    fn turn(self: &Arc<Self>, command: Command) -> Result<Answer, Refusal> {
        self.turn_in(&mut self.lock(), command)
    }

    fn turn_in(self: &Arc<Self>, turns: &mut Turns, command: Command) -> Result<Answer, Refusal> {
        match &command {
            Command::CleanUpEnded { build, .. } => {
                turns.stops.remove(build);
                self.surroundings.consoles.forget(*build);
            }
            Command::DeliveriesEnded(ends) => {
                for (hand_out, _) in ends {
                    if let Some(stops) = turns.stops.get_mut(&hand_out.build) {
                        stops.hand_outs.remove(hand_out);
                    }
                }
            }
            _ => {}
        }
        let (answer, effects) = turns.work.handle(command)?;
        self.outbox.note_idle(turns.work.has_free_executor());
        for effect in effects {
            self.carry_out(turns, effect);
        }
        if turns.work.is_over() {
            self.is_over.cancel();
        }
        Ok(answer)
    }

    /// Has something done that ends in a command; should it panic, in `otherwise`.
    fn spawn(
        self: &Arc<Self>,
        otherwise: Command,
        effect: impl Future<Output = Command> + Send + 'static,
    ) {
        let coordinator = Arc::clone(self);
        let effect = AssertUnwindSafe(effect).catch_unwind();
        let ending = async move {
            let ended = effect.await.unwrap_or_else(|_| {
                tracing::error!(?otherwise, "a part of the slave panicked");
                otherwise
            });
            coordinator.report(ended);
        };
        self.tasks.spawn_on(ending, &self.runtime);
    }

    fn carry_out(self: &Arc<Self>, turns: &mut Turns, effect: Effect) {
        let around = &self.surroundings;
        let stops = &mut turns.stops;
        match effect {
            Effect::SetUp(order) => {
                let stops = stops.entry(order.build).or_default();
                self.set_up(order, stops, false);
            }
            Effect::SetUpAgain(order) => {
                let stops = stops.entry(order.build).or_default();
                self.set_up(order, stops, true);
            }
            Effect::Run(order) => {
                let stops = stops.entry(order.hand_out.build).or_default();
                self.run_subjob(order, stops);
            }
            Effect::Deliver {
                hand_out,
                executor,
                atoms,
            } => {
                let stops = stops.entry(hand_out.build).or_default();
                let finished = Finished {
                    hand_out,
                    executor,
                    atoms,
                    incarnation: stops.incarnation.clone(),
                    stop: stops.hand_out(hand_out),
                };
                self.outbox.put(finished, &stops.all);
            }
            Effect::HuntEnded {
                hand_out,
                end,
                atoms,
            } => {
                if let Some(stops) = stops.get_mut(&hand_out.build) {
                    stops.hand_outs.remove(&hand_out);
                }
                // Whoever asked may have left.
                let hunter = turns.hunters.remove(&hand_out);
                hunter.map(|hunter| hunter.send(end).ok());
                if atoms.iter().any(has_left_files) {
                    self.tasks
                        .spawn_blocking_on(move || remove_files(&atoms), &self.runtime);
                }
            }
            Effect::CleanUp { build, project } => {
                self.outbox.forget(build);
                self.executors.end_workers(build);
                let hurry = stops.entry(build).or_default().hurry.clone();
                let ended = move |trouble| Command::CleanUpEnded { build, trouble };
                let around = Arc::clone(around);
                self.spawn(ended(Some(BROKE_OFF.to_owned())), async move {
                    let trouble = around.setup.clean_up(build, project, &hurry).await;
                    tracing::info!(build.id = %build, "the build is torn down");
                    ended(trouble)
                });
            }
            Effect::Cancel(hand_out) => {
                let stops = stops.entry(hand_out.build).or_default();
                stops.hand_out(hand_out).cancel();
            }
            Effect::CancelBuild(build) => {
                let stops = stops.entry(build).or_default();
                stops.all.cancel();
                self.outbox.cancel(build, &stops.all);
            }
            Effect::Hurry(build) => stops.entry(build).or_default().hurry.cancel(),
            Effect::Report(build, report) => self.tell_master(build, report),
            Effect::ForgetReports => around.reports.forget(),
        }
    }

    fn set_up(self: &Arc<Self>, order: Box<SetupOrder>, stops: &mut BuildStops, is_again: bool) {
        let build = order.build;
        stops.incarnation.clone_from(&order.incarnation);
        stops.job_name = order.job.job_name().unwrap_or_default().to_owned();
        let stop = stops.all.clone();
        let failed = SetupOutcome::Failed {
            reason: BROKE_OFF.to_owned(),
            left: None,
        };
        let ended = move |outcome| Command::SetupEnded { build, outcome };
        let around = Arc::clone(&self.surroundings);
        self.spawn(ended(failed), async move {
            if is_again {
                tracing::warn!(build.id = %build, "the project's directory is gone: setting the build up again");
                around.setup.make_room(build).await;
            } else {
                tracing::info!(build.id = %build, "setting a build up");
            }
            let outcome = around.setup.set_up(*order, &stop).await;
            let is_failed = matches!(outcome, SetupOutcome::Failed { .. });
            if is_failed && around.setup.has_lost_its_place().await {
                // The build is not to blame, and other slaves can do it: the master hears only that this slave ends.
                stop.cancelled().await;
            }
            ended(outcome)
        });
    }

    fn run_subjob(&self, order: RunOrder, stops: &mut BuildStops) {
        let stop = match &order.batch {
            None => stops.hand_out(order.hand_out),
            // That one of its hand-outs is not wanted any more does not stop the others.
            Some(_) => stops.all.child_token(),
        };
        let events = self.surroundings.events.clone();
        let events = SubjobEvents::new(events, &order, stops.job_name.clone());
        self.executors.run(order, stop, events);
    }

    fn tell_master(self: &Arc<Self>, build: BuildId, report: BuildReport) {
        if let BuildReport::SetupFailed { reason } = &report {
            let reason = reason.clone();
            // The log may block, and this is under the lock.
            let tell = async move {
                tracing::warn!(build.id = %build, reason, "this slave can not work on a build");
            };
            self.tasks.spawn_on(tell, &self.runtime);
        }
        let (state, reason) = match report {
            BuildReport::SetUp => (SlaveState::SetupComplete, None),
            BuildReport::SetupFailed { reason } => (SlaveState::SetupFailed, Some(reason)),
            BuildReport::TornDown { trouble } => (SlaveState::Idle, trouble),
        };
        let report = StateReportBody {
            state,
            build_id: Some(build),
            session_id: Some(self.surroundings.session.clone()),
            reason,
        };
        self.surroundings.reports.put(build, report);
    }
}

fn has_left_files(atom: &AtomEnd) -> bool {
    atom.artifacts.is_some() || matches!(atom.console, AtomConsole::File(_))
}

/// Removes what atoms left whose results nobody wants. What stays goes with the build.
fn remove_files(atoms: &[AtomEnd]) {
    for atom in atoms {
        let console = match &atom.console {
            AtomConsole::File(path) => Some(path),
            AtomConsole::Memory(_) => None,
        };
        for path in console.into_iter().chain(&atom.artifacts) {
            if let Err(error) = remove_all(path) {
                tracing::debug!(path = %path.display(), %error, "what a hunt left stays until its build ends");
            }
        }
    }
}

/// An executor in the words of the API.
fn shown(now: ExecutorNow) -> ExecutorView {
    ExecutorView {
        id: now.executor,
        current_build: now.running.map(|hand_out| hand_out.build),
        current_subjob: now.running.map(|hand_out| hand_out.subjob),
    }
}
