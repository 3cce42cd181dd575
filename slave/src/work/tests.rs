//! What each command means, in short scenarios.

mod batches;
mod ending;
mod hunts;
mod renewal;
mod shares;
mod sharing;
mod with_setup;

use super::*;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::{
    AtomUsage, GivenSecrets, Isolation, IsolationWish, ProjectSource, SetupJob,
};
use indexmap::IndexMap;
use std::path::PathBuf;
use std::sync::Arc;

const B: BuildId = BuildId(7);
const OTHER: BuildId = BuildId(8);

pub(super) fn order(build: BuildId) -> Box<SetupOrder> {
    Box::new(SetupOrder {
        build,
        incarnation: None,
        start_index: 10,
        source: ProjectSource::Directory {
            project_directory: "/project".to_owned(),
        },
        remote_files: IndexMap::new(),
        commit: None,
        source_from_master: false,
        job: JobSource::Order(Box::new(SetupJob {
            name: "job".to_owned(),
            setup_build: None,
            teardown_build: None,
            setup_timeout_s: None,
            teardown_timeout_s: None,
            max_executors: None,
            priority: 0,
            weight: None,
            image: None,
            templates: Vec::new(),
            junit: None,
            batch_command: None,
            cache: None,
            setup_once: false,
            worker: None,
            isolation: IsolationWish::default(),
        })),
        variables: Arc::default(),
        secrets: GivenSecrets::default(),
        subjobs: Vec::new(),
        timeout: None,
    })
}

pub(super) fn repository() -> ProjectSource {
    ProjectSource::Git {
        url: "https://example.org/a.git".to_owned(),
        remote: None,
        branch: None,
        hash: None,
        project_directory: None,
    }
}

pub(super) fn project() -> Project {
    Project {
        directory: PathBuf::from("/project"),
        variables: Arc::default(),
        teardown_build: None,
        teardown_timeout: None,
        image: None,
        junit: Arc::default(),
        batch_command: None,
        worker: None,
        isolation: Isolation::default(),
    }
}

/// A result of one atom with so much output.
pub(super) fn ends(output: usize) -> Vec<AtomEnd> {
    vec![AtomEnd {
        command: String::new(),
        exit_code: 0,
        started_at: Timestamp(1_700_000_000_000),
        took: Duration::ZERO,
        ended_at: 0,
        timed_out: None,
        hit: None,
        usage: AtomUsage {
            output_bytes: 0,
            processes: None,
            in_vain_ms: 0,
            last_in_vain: None,
            worker: None,
        },
        console: AtomConsole::Memory(vec![0; output]),
        artifacts: None,
        junit: Arc::default(),
        mask: Arc::default(),
        tests: None,
    }]
}

pub(super) fn hand_out(build: BuildId, subjob: u32, attempt: u32) -> HandOut {
    HandOut {
        build,
        subjob: SubjobId(subjob),
        attempt: Attempt(attempt),
    }
}

fn cleaned_up() -> Command {
    let (build, trouble) = (B, None);
    Command::CleanUpEnded { build, trouble }
}

/// A short name of an effect, for comparisons.
fn name(effect: &Effect) -> String {
    match effect {
        Effect::SetUp(order) => format!("set up {}", order.build),
        Effect::SetUpAgain(order) => format!("set up {} again", order.build),
        Effect::Run(order) => format!("run {} on {}", short(order.hand_out), order.executor),
        Effect::Deliver { hand_out, .. } => format!("deliver {}", short(*hand_out)),
        Effect::CleanUp { build, .. } => format!("clean up {build}"),
        Effect::Cancel(hand_out) => format!("cancel {}", short(*hand_out)),
        Effect::CancelBuild(build) => format!("cancel {build}"),
        Effect::Hurry(build) => format!("hurry {build}"),
        Effect::Report(build, report) => {
            let news = match report {
                BuildReport::SetUp => "set up",
                BuildReport::SetupFailed { .. } => "failed",
                BuildReport::TornDown { .. } => "torn down",
            };
            format!("report {build} {news}")
        }
        Effect::ForgetReports => "forget reports".to_owned(),
        Effect::HuntEnded { hand_out, end, .. } => format!("{} {end:?}", hunt(*hand_out)),
    }
}

fn hunt(hand_out: HandOut) -> String {
    format!("hunt {}", hand_out.attempt.0 - hunts::FIRST)
}

fn short(hand_out: HandOut) -> String {
    if hand_out.attempt.0 > hunts::FIRST {
        return hunt(hand_out);
    }
    format!(
        "{}/{}.{}",
        hand_out.build, hand_out.subjob, hand_out.attempt
    )
}

struct Scenario {
    work: Work,
}

impl Scenario {
    fn new(num_executors: u32) -> Self {
        Self {
            work: Work::new(num_executors),
        }
    }

    /// With build 7 set up.
    fn ready(num_executors: u32) -> Self {
        let mut scenario = Self::new(num_executors);
        scenario.check(Command::SetUp(order(B)), &["set up 7"]);
        scenario.check(set_up_ended(B), &["report 7 set up"]);
        scenario
    }

    /// The command has exactly these effects.
    #[track_caller]
    fn check(&mut self, command: Command, expected: &[&str]) {
        let (_, effects) = self.work.handle(command).unwrap();
        let given: Vec<String> = effects.iter().map(name).collect();
        assert_eq!(given, expected);
        self.check_invariants();
    }

    #[track_caller]
    fn check_refused(&mut self, command: Command, expected: Refusal) {
        assert_eq!(self.work.handle(command).unwrap_err(), expected);
        self.check_invariants();
    }

    /// Every executor's hand-out is under way, on that executor and no other.
    #[track_caller]
    fn check_invariants(&self) {
        for (index, running) in (0..).zip(&self.work.executors) {
            let Some(running) = running else { continue };
            let step = self.work.builds[&running.build].active[running];
            assert!(
                matches!(step, Step::Running { executor, .. } if executor.0 == index),
                "{step:?}"
            );
        }
        let in_use = self.work.executors.iter().flatten().count();
        let builds = self.work.builds.values();
        let steps = builds.flat_map(|build| build.active.values());
        let running = steps.filter(|step| matches!(step, Step::Running { .. }));
        assert_eq!(in_use, running.count());
    }
}

fn set_up_ended(build: BuildId) -> Command {
    Command::SetupEnded {
        build,
        outcome: SetupOutcome::Complete(project()),
    }
}

pub(super) fn start(hand_out: HandOut) -> Command {
    start_all(&[hand_out])
}

pub(super) fn ordered(hand_outs: &[HandOut]) -> Vec<OrderedSubjob> {
    let subjob = |hand_out: &HandOut| OrderedSubjob {
        subjob: hand_out.subjob,
        attempt: hand_out.attempt,
        atomic_commands: vec!["true".to_owned()],
        batch: None,
    };
    hand_outs.iter().map(subjob).collect()
}

/// Hand-outs of one build in one call.
pub(super) fn start_all(hand_outs: &[HandOut]) -> Command {
    Command::StartSubjobs {
        build: hand_outs[0].build,
        subjobs: ordered(hand_outs),
        timeout: None,
    }
}

fn ran(hand_out: HandOut, outcome: RunOutcome) -> Command {
    let took = Duration::from_millis(10);
    Command::RunEnded {
        hand_out,
        outcome,
        took,
    }
}

fn packed(hand_out: HandOut) -> Command {
    Command::Packed(vec![hand_out])
}

fn delivered(hand_out: HandOut) -> Command {
    Command::DeliveriesEnded(vec![(hand_out, DeliveryOutcome::Over)])
}

#[test]
fn a_subjob_goes_from_hand_out_to_delivery_and_its_build_is_torn_down() {
    let mut scenario = Scenario::ready(1);
    let subjob = hand_out(B, 0, 1);
    scenario.check(start(subjob), &["run 7/0.1 on 0"]);
    scenario.check(
        ran(subjob, RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.1"],
    );
    scenario.check(packed(subjob), &[]);
    scenario.check(delivered(subjob), &[]);
    scenario.check(Command::TearDown(B), &["cancel 7", "clean up 7"]);
    scenario.check(Command::TearDown(B), &[]);
    scenario.check(cleaned_up(), &["report 7 torn down"]);
    scenario.check(Command::TearDown(B), &["report 7 torn down"]);
}

#[test]
fn a_run_knows_its_place() {
    let mut scenario = Scenario::ready(2);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    let (answer, effects) = scenario.work.handle(start(hand_out(B, 1, 1))).unwrap();
    assert_eq!(answer, Answer::Subjobs(Some(ExecutorIndex(1))));
    let [Effect::Run(order)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(order.build_executor_index, 11);
    assert_eq!(order.project_directory, PathBuf::from("/project"));
    let (answer, _) = scenario.work.handle(start(hand_out(B, 2, 1))).unwrap();
    assert_eq!(answer, Answer::Subjobs(None));
}

#[test]
fn repeated_orders_have_no_effect() {
    let mut scenario = Scenario::new(1);
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    scenario.check(Command::SetUp(order(B)), &[]);
    scenario.check(set_up_ended(B), &["report 7 set up"]);
    scenario.check(Command::SetUp(order(B)), &["report 7 set up"]);
    let subjob = hand_out(B, 0, 1);
    scenario.check(start(subjob), &["run 7/0.1 on 0"]);
    scenario.check(start(subjob), &[]);
    scenario.check(
        ran(subjob, RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.1"],
    );
    scenario.check(start(subjob), &[]);
    scenario.check(packed(subjob), &[]);
    scenario.check(delivered(subjob), &[]);
    scenario.check(start(subjob), &[]);
}

#[test]
fn subjobs_wait_for_the_set_up_and_run_in_order() {
    let mut scenario = Scenario::new(1);
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    scenario.check(start(hand_out(B, 4, 1)), &[]);
    scenario.check(start(hand_out(B, 2, 1)), &[]);
    scenario.check(set_up_ended(B), &["report 7 set up", "run 7/4.1 on 0"]);
    scenario.check(
        ran(hand_out(B, 4, 1), RunOutcome::Completed(Vec::new())),
        &["deliver 7/4.1", "run 7/2.1 on 0"],
    );
}

#[test]
fn a_build_that_is_set_up_does_not_wait_behind_one_that_is_not() {
    let mut scenario = Scenario::ready(1);
    scenario.check(Command::SetUp(order(OTHER)), &["set up 8"]);
    scenario.check(start(hand_out(OTHER, 0, 1)), &[]);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
}

#[test]
fn only_the_newest_attempt_counts() {
    let mut scenario = Scenario::ready(2);
    let (old, new) = (hand_out(B, 0, 1), hand_out(B, 0, 2));
    scenario.check(start(old), &["run 7/0.1 on 0"]);
    // It waits until the old one is out of the artifact directory, though an executor is free.
    scenario.check(start(new), &["cancel 7/0.1"]);
    scenario.check_refused(
        start(old),
        Refusal::OldAttempt {
            hand_out: old,
            newest: Attempt(2),
        },
    );
    // It had just ended by itself: not reported all the same.
    scenario.check(
        ran(old, RunOutcome::Completed(Vec::new())),
        &["run 7/0.2 on 0"],
    );
    scenario.check(
        ran(new, RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.2"],
    );
    scenario.check(start(hand_out(B, 0, 3)), &["cancel 7/0.2"]);
    scenario.check(packed(new), &["run 7/0.3 on 0"]);
}

#[test]
fn an_attempt_that_waits_gives_way_to_a_newer_one() {
    let mut scenario = Scenario::ready(1);
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    scenario.check(start(hand_out(B, 1, 1)), &[]);
    scenario.check(start(hand_out(B, 1, 2)), &[]);
    scenario.check(
        ran(hand_out(B, 0, 1), RunOutcome::Completed(Vec::new())),
        &["deliver 7/0.1", "run 7/1.2 on 0"],
    );
}

#[test]
fn orders_for_a_build_that_is_not_here_are_refused() {
    let mut scenario = Scenario::ready(1);
    let (build, subjob) = (OTHER, SubjobId(0));
    scenario.check_refused(
        start(hand_out(OTHER, 0, 1)),
        Refusal::UnknownBuild { build, subjob },
    );
    scenario.check(start(hand_out(B, 0, 1)), &["run 7/0.1 on 0"]);
    scenario.check(Command::TearDown(B), &["cancel 7", "hurry 7"]);
    scenario.check_refused(
        start(hand_out(B, 1, 1)),
        Refusal::BuildEnding {
            build: B,
            subjob: SubjobId(1),
        },
    );
}

#[test]
fn waiting_subjobs_are_bounded() {
    let mut scenario = Scenario::new(1);
    scenario.check(Command::SetUp(order(B)), &["set up 7"]);
    for subjob in 0..u32::try_from(MAX_WAITING).unwrap() {
        scenario.work.handle(start(hand_out(B, subjob, 1))).unwrap();
    }
    scenario.check_refused(
        start(hand_out(B, u32::MAX, 1)),
        Refusal::TooManyWaiting {
            waiting: MAX_WAITING,
        },
    );
}
