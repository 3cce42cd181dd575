//! What the end of a batch's process means for its atoms.

use super::{BUILD, MAX_CONSOLE, Scenario};
use crate::run::event_log::SubjobEvents;
use crate::work::{BatchEnd, BatchMember, BatchOrder, HandOut, RunOrder, RunOutcome};
use clusterrunner_common::ids::{Attempt, SubjobId};
use clusterrunner_common::logs::event_log::EventLog;

/// A command that says of each atom that it passed.
const PASSES_ALL: &str =
    r#"while IFS= read -r atom; do printf 'ok %s\n' "$atom"; done < "$ATOMS_FILE""#;

/// Runs two atoms by this command, which then says that both passed. What is printed before the output of each that runs
/// again; `None` where it passed.
fn heads(scenario: &mut Scenario, command: &str) -> Vec<Option<String>> {
    let member = |number: u32| BatchMember {
        hand_out: HandOut {
            build: BUILD,
            subjob: SubjobId(number),
            attempt: Attempt(2),
        },
        command: "true".to_owned(),
        value: format!("t/{number}"),
    };
    let members = vec![member(3), member(4)];
    let order = RunOrder {
        batch: Some(BatchOrder {
            command: format!("{command}; {PASSES_ALL}").into(),
            members,
        }),
        ..scenario.order(&[])
    };
    let events = SubjobEvents::new(EventLog::in_memory(), &order, "a job".to_owned());
    let outcome = scenario.executor.run(order, &scenario.stop, &events);
    let RunOutcome::Batch(run) = outcome else {
        panic!("{outcome:?}");
    };
    let head = |end: BatchEnd| match end {
        BatchEnd::Ended(_) => None,
        BatchEnd::Again { most, head } => {
            assert_eq!(most, 1, "{head}");
            Some(head.to_string())
        }
    };
    run.ends.into_iter().map(head).collect()
}

#[test]
fn a_batch_passes_nothing_where_some_of_its_output_is_not_seen() {
    let fails = "echo 'not ok other'";
    for (max_console_size, more, all_is_seen) in [
        (None, 1_000_000, true),
        (None, 17 << 20, false),
        (Some(MAX_CONSOLE), 1_000, true),
        (Some(MAX_CONSOLE), MAX_CONSOLE + 1, false),
        (Some(4 * MAX_CONSOLE), 20 * MAX_CONSOLE, false),
    ] {
        let mut scenario = Scenario::with(0, max_console_size);
        let prints = format!("yes | head -c {more}; echo");
        let good = heads(&mut scenario, &prints);
        assert_eq!(good.iter().all(Option::is_none), all_is_seen, "{good:?}");
        let bad = heads(&mut scenario, &format!("{fails}; {prints}"));
        for head in bad {
            let head = head.expect("a batch that tells of a failure passes nothing");
            let says_why = head.contains("of the batch, not all of the output was looked through");
            assert_eq!(says_why, !all_is_seen, "{head}");
        }
    }
}
