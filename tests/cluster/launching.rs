//! A repository is launched by the command, printed by, and stopped.

use crate::machine::Machine;
use crate::wait::{PATIENCE, is_true_within};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

/// A machine whose project is a repository with these files.
pub(crate) fn machine(files: &[(&str, &str)]) -> Machine {
    let machine = Machine::new("Unused: {commands: ['true'], atomizers: [{A: 'echo 1'}]}\n");
    std::fs::remove_file(machine.path("project/clusterrunner.yaml")).unwrap();
    for (name, content) in files {
        std::fs::write(machine.path("project").join(name), content).unwrap();
    }
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message=first"],
    ] {
        let mut git = Command::new("git");
        git.arg("-C").arg(machine.path("project"));
        let ran = git.args(arguments).status().unwrap();
        assert!(ran.success(), "{arguments:?}");
    }
    machine
}

fn instances(machine: &Machine) -> Vec<Value> {
    let listed = machine.run_to(0, &["instances", "--all", "--json"]).stdout;
    let mut body: Value = serde_json::from_str(&listed).unwrap();
    match body["instances"].take() {
        Value::Array(instances) => instances,
        other => panic!("{other}"),
    }
}

const SERVER: &str =
    "web: echo \"hello from $BINDER_TEMPLATE\"; exec python3 -u -m http.server \"$PORT\"\n";

#[test]
fn a_repository_is_launched_followed_and_stopped() {
    let machine = machine(&[("Procfile", SERVER), ("page.txt", "a page\n")]);
    let launched = machine.run_to(0, &["launch", "."]);
    let url = launched.stdout.trim();
    assert!(url.starts_with("http://127.0.0.1:"), "{launched:#?}");
    assert!(url.contains("/user/") && url.ends_with('/'), "{url}");
    let template = &instances(&machine)[0]["template"];
    let template = template.as_str().unwrap().to_owned();
    // Nothing is built again for the second one.
    let second = machine.run_to(0, &["launch", &template, "--detach"]);
    assert_eq!(second.stdout.trim(), "2");
    let hello = format!("hello from {template}\n");
    // What is printed comes to the master a little later than the first answer to the user.
    let is_there = || {
        let log = machine.run_to(0, &["instance", "logs", "1"]).stdout;
        log.contains(&hello)
    };
    assert!(is_true_within(PATIENCE, is_there));
    let mut follower = machine.start(&["instance", "logs", "2", "--follow"]);
    let mut followed = BufReader::new(follower.stdout.take().unwrap());
    let mut line = String::new();
    // What starts is told first.
    while line != hello {
        line.clear();
        assert!(followed.read_line(&mut line).unwrap() > 0, "no {hello}");
    }
    machine.run_to(0, &["instance", "stop", "1", "2"]);
    let mut rest = String::new();
    followed.read_to_string(&mut rest).unwrap();
    assert!(follower.wait().unwrap().success());
    let over = instances(&machine);
    let statuses: Vec<_> = over.iter().map(|instance| &instance["status"]).collect();
    assert_eq!(statuses, ["stopped", "stopped"]);
    let listed = machine.run_to(0, &["templates"]).stdout;
    assert!(
        listed.contains(&template) && listed.contains("ready"),
        "{listed}"
    );
    machine.run_to(0, &["template", "delete", &template]);
    let gone = machine.run_to(2, &["template", "delete", &template]);
    assert!(gone.stderr.contains("no template"), "{gone:#?}");
}

#[test]
fn a_template_that_is_used_is_not_deleted() {
    let machine = machine(&[("Procfile", SERVER)]);
    machine.run_to(0, &["launch", "."]);
    let template = &instances(&machine)[0]["template"];
    let template = template.as_str().unwrap().to_owned();
    let used = machine.run_to(2, &["template", "delete", &template]);
    assert!(used.stderr.contains("in use by instance 1"), "{used:#?}");
    machine.run_to(2, &["template", "delete", "../x"]);
}

#[test]
fn what_can_not_be_launched_is_said() {
    let machine = machine(&[("requirements.txt", "./no-such-package\n")]);
    let failed = machine.run_to(1, &["launch", "."]);
    assert!(failed.stdout.contains("Build 1 failed"), "{failed:#?}");
    assert!(failed.stderr.contains("logs 1 0_0"), "{failed:#?}");
    let unknown = machine.run_to(2, &["launch", "no-such-template"]);
    assert!(
        unknown.stderr.contains("no template no-such-template")
            && unknown.stderr.contains("`clusterrunner templates` lists"),
        "{unknown:#?}"
    );
    let branch = machine.run_to(2, &["launch", "some-template", "--branch", "x"]);
    assert!(
        branch.stderr.contains("are for repositories"),
        "{branch:#?}"
    );
    let unknown = machine.run_to(2, &["instance", "logs", "7"]);
    assert!(unknown.stderr.contains("instances --all"), "{unknown:#?}");
    assert_eq!(instances(&machine), Vec::<Value>::new());
}

#[test]
fn a_build_that_ended_before_its_first_command_has_nothing_to_show() {
    let machine = Machine::new("Unused: {commands: ['true'], atomizers: [{A: 'echo 1'}]}\n");
    let says = |code, arguments: &[&str], words: &[&str], never: &str| {
        let ended = machine.run_to(code, arguments);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {ended:#?}");
        }
        assert!(!ended.stderr.contains(never), "{never}: {ended:#?}");
    };
    // The project is no repository.
    says(3, &["launch", "."], &["Build 1 makes"], "0_0");
    let no_archive = ["Build 1 has no archive"];
    says(5, &["results", "1"], &no_archive, "really the address");
    let is_over = ["build 1 is over and keeps no output of setup_build"];
    says(5, &["logs", "1", "--setup"], &is_over, "--follow waits");
    says(
        5,
        &["logs", "1", "--setup", "-f"],
        &is_over,
        "--follow waits",
    );
    let unknown = ["the master has no slave 7", "its slaves are: 1"];
    says(2, &["logs", "1", "--setup", "7"], &unknown, "is over");
}
