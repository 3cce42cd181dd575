use super::*;
use crate::data_directory::DataDirectory;
use crate::isolation::Isolator;
use crate::run::subjob_executor::Limits;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SubjobId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::work::Isolation;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// As long as no test takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn means(base: &tempfile::TempDir) -> Means {
    let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
    data.empty().unwrap();
    let data = Arc::new(data);
    Means {
        isolator: Arc::new(Isolator::idle(Arc::clone(&data))),
        data,
        space: DiskSpace::new(base.path(), 0),
        limits: Limits {
            kill_grace: Duration::ZERO,
            max_console_size: None,
        },
        consoles: Arc::default(),
        containers: Arc::default(),
    }
}

fn order(base: &tempfile::TempDir, executor: u32, subjob: u32, atom: &str) -> RunOrder {
    RunOrder {
        hunt: None,
        hand_out: HandOut {
            build: BuildId(1),
            subjob: SubjobId(subjob),
            attempt: Attempt(1),
        },
        executor: ExecutorIndex(executor),
        build_executor_index: executor,
        project_directory: base.path().to_owned(),
        variables: Arc::default(),
        atomic_commands: vec![atom.to_owned()],
        batch: None,
        head: None,
        timeout: None,
        image: None,
        junit: Arc::default(),
        worker: None,
        isolation: Isolation::default(),
    }
}

fn run(executors: &Executors, order: RunOrder) {
    let events = SubjobEvents::new(EventLog::in_memory(), &order, String::new());
    executors.run(order, CancellationToken::new(), events);
}

#[test]
fn who_hears_of_an_end_may_hand_out_more() {
    let base = tempfile::tempdir().unwrap();
    let executors: Arc<OnceLock<Executors>> = Arc::default();
    let (told, ends) = mpsc::channel();
    let (again, base_directory) = (Arc::downgrade(&executors), Arc::new(base));
    let directory = Arc::clone(&base_directory);
    let started = Executors::start(2, &means(&base_directory), move |hand_out, outcome, _| {
        let thread = thread::current().name().unwrap().to_owned();
        let subjob = hand_out.subjob.0;
        if subjob < 10 {
            let next = order(&directory, subjob % 2, subjob + 2, "true");
            run(again.upgrade().unwrap().get().unwrap(), next);
        }
        told.send((subjob, thread, outcome)).unwrap();
    });
    executors.set(started.unwrap()).unwrap();
    for index in [0, 1] {
        run(
            executors.get().unwrap(),
            order(&base_directory, index, index, "true"),
        );
    }
    let mut ended: Vec<u32> = Vec::new();
    while ended.len() < 12 {
        let (subjob, thread, outcome) = ends.recv_timeout(PATIENCE).unwrap();
        assert_eq!(thread, format!("executor-{}", subjob % 2));
        assert!(matches!(outcome, RunOutcome::Completed(_)), "{outcome:?}");
        ended.push(subjob);
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..12).collect::<Vec<_>>());
}

#[test]
fn a_panic_at_the_end_costs_no_executor() {
    let base = tempfile::tempdir().unwrap();
    let (told, ends) = mpsc::channel();
    let executors = Executors::start(1, &means(&base), move |hand_out, _, _| {
        told.send(hand_out.subjob.0).unwrap();
        assert_ne!(hand_out.subjob.0, 0, "for the test");
    });
    let executors = executors.unwrap();
    for subjob in [0, 1] {
        run(&executors, order(&base, 0, subjob, "true"));
        assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), subjob);
    }
}

#[test]
fn what_runs_ends_with_the_executors() {
    let base = tempfile::tempdir().unwrap();
    let outcome = Arc::new(Mutex::new(None));
    let last = Arc::clone(&outcome);
    let means = means(&base);
    let executors = Executors::start(1, &means, move |_, ended, _| {
        *last.lock().unwrap() = Some(ended);
    });
    let executors = executors.unwrap();
    let atom = "trap '' TERM; touch there; sleep 60";
    run(&executors, order(&base, 0, 0, atom));
    let there = base.path().join("there");
    let limit = std::time::Instant::now() + PATIENCE;
    while !there.exists() {
        assert!(std::time::Instant::now() < limit);
        thread::yield_now();
    }
    drop(executors);
    assert_eq!(*outcome.lock().unwrap(), Some(RunOutcome::Canceled));
    // What keeps commands apart has it, too.
    let Means { data, isolator, .. } = means;
    drop(isolator);
    assert_eq!(Arc::strong_count(&data), 1, "the directory is free");
    let consoles = data.path().join("consoles");
    assert!(consoles.read_dir().unwrap().next().is_none());
}
