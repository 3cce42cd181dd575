//! What `doctor` says of farms that are well, and of some that are not.

use crate::job::job;
use crate::machine::Machine;
use std::net::TcpListener;

fn machine() -> Machine {
    Machine::new(&job("true").atoms(1).to_string())
}

#[test]
fn a_machine_is_well_before_and_after_its_first_build() {
    let machine = machine();
    let said = machine.run_to(0, &["doctor"]).stdout;
    assert!(said.contains("its port is free"), "{said}");
    assert!(machine.processes().is_empty(), "a look starts nothing");
    machine.run_to(0, &["build"]);
    let said = machine.run_to(0, &["doctor"]).stdout;
    for well in [
        "the master takes it",
        "agrees with the master's",
        "1 slave with",
        "slave 1",
    ] {
        assert!(said.contains(well), "{well}: {said}");
    }
}

#[test]
fn what_is_in_the_way_of_builds_is_told_with_its_cure() {
    let machine = machine();
    machine.run_to(0, &["build"]);
    machine.run_to(0, &["drain", "1"]);
    let said = machine.run_to(1, &["doctor"]).stdout;
    assert!(
        said.contains("none takes work") && said.contains("clusterrunner undrain 1"),
        "{said}"
    );
    machine.run_to(0, &["undrain", "1"]);

    let secret = "0123456789abcdef".repeat(4);
    let mut stranger = machine.command(&["doctor"]);
    stranger.args(["--config-file", "stranger.conf"]);
    let settings = std::fs::read_to_string(machine.path("base/clusterrunner.conf")).unwrap();
    let (port, _) = settings
        .split_once("port = ")
        .unwrap()
        .1
        .split_once('\n')
        .unwrap();
    let file = machine.path("project/stranger.conf");
    std::fs::write(
        &file,
        format!("[general]\nsecret = {secret}\n[master]\nport = {port}\n"),
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let output = stranger.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the master refuses it"), "{said}");
}

#[test]
fn wrong_settings_and_masters_that_do_not_answer_are_told() {
    let machine = machine();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    drop(silent);
    let said = machine
        .run_to(0, &["doctor", "--master-url", &address.to_string()])
        .stdout;
    assert!(said.contains("none runs at"), "{said}");
    std::fs::write(
        machine.path("project/wrong.conf"),
        "[master]\nport = much\n",
    )
    .unwrap();
    let said = machine.run_to(1, &["doctor", "-c", "wrong.conf"]).stdout;
    assert!(said.contains("much"), "{said}");
}
