//! The audit log of a real farm: it names addresses, outlives a killed master and moves with the journal.

use crate::machine::Machine;

const PASSING: &str = "Unit:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n";

fn hash(verified: &str) -> String {
    let line = verified
        .lines()
        .find_map(|line| line.strip_prefix("hash: "));
    line.unwrap().to_owned()
}

#[test]
fn it_says_who_asked_from_where_and_outlives_a_killed_master() {
    let machine = Machine::new(PASSING);
    machine.run_to(0, &["build"]);
    let listed = machine.run_to(0, &["audit"]).stdout;
    let queued = listed.lines().find(|line| line.contains("build 1"));
    let queued = queued.unwrap_or_else(|| panic!("{listed}"));
    assert!(
        queued.contains("the secret") && queued.contains("127.0.0.1"),
        "{queued}"
    );
    assert!(listed.contains("slave 1 connected"), "{listed}");
    let noted = hash(&machine.run_to(0, &["audit", "--verify"]).stdout);
    machine.kill_master();
    machine.run_to(0, &["build"]);
    let verified = machine.run_to(0, &["audit", "--verify", "--expect", &noted]);
    assert!(
        verified.stdout.contains("The log is whole"),
        "{verified:#?}"
    );
    let lost = machine.run_to(1, &["audit", "--verify", "--expect", &"a".repeat(64)]);
    assert!(lost.stdout.contains("not in the log"), "{lost:#?}");
    machine.run_to(2, &["audit", "--verify", "--expect", "abc"]);
    // With the journal it goes into an export and comes back.
    machine.run_to(0, &["stop"]);
    machine.run_to(0, &["journal", "export", "-o", "saved"]);
    machine.run_to(0, &["journal", "repair", "--from", "saved", "--yes"]);
    machine.run_to(0, &["build"]);
    machine.run_to(0, &["audit", "--verify", "--expect", &noted]);
    let listed = machine
        .run_to(0, &["audit", "-n", "1000", "--by", "the secret"])
        .stdout;
    for build in ["build 1", "build 2", "build 3"] {
        let number = listed.lines().filter(|line| line.contains(build)).count();
        assert_eq!(number, 1, "{build} in {listed}");
    }
}
