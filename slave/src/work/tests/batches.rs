//! Many hand-outs in one process.

use super::*;
use clusterrunner_common::work::BatchTerms;
use proptest::prelude::*;

/// A build whose hand-outs may run together.
fn ready(num_executors: u32) -> Work {
    let mut work = Work::new(num_executors);
    work.handle(Command::SetUp(order(B))).unwrap();
    let project = Project {
        batch_command: Some("run $ATOMS".into()),
        ..project()
    };
    let outcome = SetupOutcome::Complete(project);
    let ended = Command::SetupEnded { build: B, outcome };
    work.handle(ended).unwrap();
    work
}

/// Those that are expected to take so long, in milliseconds; without that they run alone.
fn start(expected: &[Option<u64>]) -> Command {
    let numbers = 0..u32::try_from(expected.len()).unwrap();
    let hand_outs: Vec<HandOut> = numbers.map(|number| hand_out(B, number, 1)).collect();
    let mut subjobs = ordered(&hand_outs);
    for (subjob, expected) in subjobs.iter_mut().zip(expected) {
        let terms = expected.map(|expected| BatchTerms {
            expected_ms: Some(expected),
        });
        subjob.batch = terms.map(|terms| Batchable {
            atom: format!("export T=\"$PROJECT_DIR/{}\";", subjob.subjob),
            expected_ms: terms.expected_ms,
        });
    }
    Command::StartSubjobs {
        build: B,
        subjobs,
        timeout: Some(Duration::from_secs(60)),
    }
}

/// What is to be run, by the numbers of the subjobs.
fn runs(effects: &[Effect]) -> Vec<Vec<u32>> {
    let orders = effects.iter().filter_map(|effect| match effect {
        Effect::Run(order) => Some(order),
        _ => None,
    });
    let numbers = |order: &RunOrder| order.hand_outs().iter().map(|one| one.subjob.0).collect();
    orders.map(numbers).collect()
}

fn give(work: &mut Work, command: Command) -> Vec<Effect> {
    work.handle(command).unwrap().1
}

fn again(most: usize) -> BatchEnd {
    let head = format!("within {most}").into();
    BatchEnd::Again { most, head }
}

fn passed() -> BatchEnd {
    BatchEnd::Ended(Box::new(ends(0).remove(0)))
}

fn batch(ends: Vec<BatchEnd>) -> RunOutcome {
    RunOutcome::Batch(BatchRun {
        ends,
        tests: None,
        started_at: Timestamp(7),
    })
}

#[test]
fn those_that_wait_share_processes_and_each_has_its_result() {
    let mut work = ready(2);
    let effects = give(&mut work, start(&[Some(100); 4]));
    assert_eq!(runs(&effects), [[0, 1], [2, 3]]);
    let Effect::Run(first) = &effects[0] else {
        panic!("{effects:?}");
    };
    let order = first.batch.as_ref().unwrap();
    let values: Vec<&str> = order.members.iter().map(|member| &*member.value).collect();
    assert_eq!(values, ["/project/0", "/project/1"]);
    // Twice half a second for the start, and twice what the atoms take.
    assert_eq!(first.timeout, Some(Duration::from_millis(61_400)));
    assert_eq!(work.executor_of(hand_out(B, 1, 1)), Some(ExecutorIndex(0)));
    // What one of them does not settle runs alone, with what is known of it.
    let outcome = batch(vec![passed(), again(1)]);
    let effects = give(&mut work, ran(hand_out(B, 0, 1), outcome));
    assert!(
        matches!(effects[0], Effect::Deliver { hand_out: one, .. } if one == hand_out(B, 0, 1))
    );
    assert_eq!(runs(&effects), [[1]]);
    let Some(Effect::Run(alone)) = effects.last() else {
        panic!("{effects:?}");
    };
    assert!(alone.batch.is_none() && alone.head.as_deref() == Some("within 1"));
    assert_eq!(alone.timeout, Some(Duration::from_secs(60)));
    // Its result says what it was in the batch for: all that the batch took, but for what passed.
    let effects = give(
        &mut work,
        ran(hand_out(B, 1, 1), RunOutcome::Completed(ends(0))),
    );
    let Effect::Deliver { atoms, .. } = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(atoms[0].usage.in_vain_ms, 10);
    let batch = atoms[0].usage.last_in_vain.unwrap();
    assert_eq!((batch.began_ms.get(), batch.atoms), (7, 2));
    assert_eq!((batch.executor, batch.took_ms), (0, 10));
}

#[test]
fn what_may_not_share_a_process_runs_alone() {
    let mut work = ready(1);
    let effects = give(&mut work, start(&[None, Some(1), None, Some(1), Some(1)]));
    assert_eq!(runs(&effects), [vec![0]]);
    let done = || RunOutcome::Completed(ends(0));
    let effects = give(&mut work, ran(hand_out(B, 0, 1), done()));
    assert_eq!(runs(&effects), [vec![1, 3, 4]]);
    let outcome = batch(vec![again(2), again(2), again(2)]);
    // Halves, the first before what came after it.
    let effects = give(&mut work, ran(hand_out(B, 1, 1), outcome));
    assert_eq!(runs(&effects), [vec![1, 3]]);
    let effects = give(
        &mut work,
        ran(hand_out(B, 1, 1), batch(vec![passed(), passed()])),
    );
    assert_eq!(runs(&effects), [vec![2]]);
    let effects = give(&mut work, ran(hand_out(B, 2, 1), done()));
    assert_eq!(runs(&effects), [vec![4]]);
}

#[test]
fn a_stop_and_a_newer_attempt_find_each_of_them() {
    let mut work = ready(1);
    give(&mut work, start(&[Some(1); 3]));
    let newer = super::start(hand_out(B, 1, 2));
    let effects = give(&mut work, newer);
    assert_eq!(effects, [Effect::Cancel(hand_out(B, 1, 1))]);
    // It is not wanted any more, whatever became of it; the newer attempt may run now.
    let outcome = batch(vec![passed(), again(1), passed()]);
    let effects = give(&mut work, ran(hand_out(B, 0, 1), outcome));
    assert_eq!(runs(&effects), [[1]]);
    assert_eq!(work.executors[0], Some(hand_out(B, 1, 2)));

    // The hand-out that stands for the batch is its process: the others run again.
    let mut work = ready(1);
    give(&mut work, start(&[Some(1); 3]));
    let effects = give(&mut work, super::start(hand_out(B, 0, 2)));
    assert_eq!(effects, [Effect::Cancel(hand_out(B, 0, 1))]);
    let effects = give(&mut work, ran(hand_out(B, 0, 1), RunOutcome::Canceled));
    assert_eq!(runs(&effects), [[1, 2]]);
    let outcome = batch(vec![passed(), passed()]);
    let effects = give(&mut work, ran(hand_out(B, 1, 1), outcome));
    assert_eq!(runs(&effects), [[0]]);

    let mut work = ready(1);
    give(&mut work, start(&[Some(1); 3]));
    give(&mut work, Command::TearDown(B));
    let effects = give(&mut work, ran(hand_out(B, 0, 1), RunOutcome::Canceled));
    assert!(matches!(effects[..], [Effect::CleanUp { .. }]));
}

#[test]
fn without_the_project_all_of_them_wait_again() {
    let mut work = Work::new(1);
    let mut cloned = order(B);
    cloned.source = repository();
    give(&mut work, Command::SetUp(cloned));
    let complete = || Command::SetupEnded {
        build: B,
        outcome: SetupOutcome::Complete(Project {
            batch_command: Some("x".into()),
            ..project()
        }),
    };
    give(&mut work, complete());
    give(&mut work, start(&[Some(1); 3]));
    let gone = RunOutcome::NoProject {
        atomic_commands: Vec::new(),
        timeout: None,
    };
    let effects = give(&mut work, ran(hand_out(B, 0, 1), gone));
    assert!(matches!(effects[..], [Effect::SetUpAgain(_)]));
    assert_eq!(work.num_waiting, 3);
    assert_eq!(runs(&give(&mut work, complete())), [[0, 1, 2]]);
}

proptest! {
    #[test]
    fn every_hand_out_has_one_result_whatever_batches_leave(
        expected in prop::collection::vec(prop::option::weighted(0.9, 0_u64..3_000), 1..60),
        executors in 1_u32..4,
        dice in prop::collection::vec(0_u32..100, 40),
    ) {
        let mut work = ready(executors);
        let mut dice = dice.into_iter().cycle();
        let mut effects = give(&mut work, start(&expected));
        let (mut running, mut delivered) = (Vec::new(), Vec::new());
        for _ in 0..1_000 {
            for effect in effects {
                match effect {
                    Effect::Run(order) => running.push(order),
                    Effect::Deliver { hand_out, atoms, .. } => {
                        prop_assert_eq!(atoms.len(), 1);
                        delivered.push(hand_out.subjob.0);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let shown: Vec<HandOut> = work.executors.iter().flatten().copied().collect();
            let on: Vec<HandOut> = running.iter().map(|order| order.hand_out).collect();
            prop_assert!(shown.len() == on.len() && on.iter().all(|one| shown.contains(one)));
            if running.is_empty() {
                break;
            }
            let next = dice.next().unwrap() as usize % running.len();
            let order = running.swap_remove(next);
            let outcome = match &order.batch {
                None => RunOutcome::Completed(ends(0)),
                Some(order) => {
                    let number = order.members.len();
                    let half = number.div_ceil(2);
                    let end = |_| match dice.next().unwrap() {
                        0..60 => passed(),
                        60..80 => again(1),
                        _ => again(half),
                    };
                    batch((0..number).map(end).collect())
                }
            };
            effects = give(&mut work, ran(order.hand_out, outcome));
        }
        delivered.sort_unstable();
        let all: Vec<u32> = (0..u32::try_from(expected.len()).unwrap()).collect();
        prop_assert_eq!(delivered, all);
        prop_assert_eq!(work.num_waiting, 0);
        prop_assert!(work.builds[&B].batches.is_empty());
    }
}
