//! An app from its creation to its end by the commands alone.

use crate::launching::machine;
use crate::machine::{Machine, interrupt};
use crate::wait::{PATIENCE, is_true_within};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};

const PROCFILE: &str = "web: echo \"colour $COLOUR\"; exec python3 -u -m http.server \"$PORT\"\n\
                        worker: echo works; exec sleep 1000\n";

/// A machine with an app `shop` that is deployed from the project's repository.
fn shop() -> Machine {
    let machine = machine(&[("Procfile", PROCFILE), ("page.txt", "a page\n")]);
    let launched = machine.run_to(0, &["launch", ".", "--detach"]);
    let instance = launched.stdout.trim().to_owned();
    machine.run_to(0, &["instance", "stop", &instance]);
    let templates = json(&machine, &["templates", "--json"]);
    let template = templates["templates"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let created = machine.run_to(0, &["app", "create", "shop"]);
    assert_eq!(created.stdout, "shop\n");
    let deployed = machine.run_to(0, &["app", "deploy", "shop", &template]);
    assert!(
        deployed.stdout.contains("Release v2 of shop"),
        "{deployed:#?}"
    );
    assert!(deployed.stdout.contains("web.1"), "{deployed:#?}");
    machine
}

fn json(machine: &Machine, arguments: &[&str]) -> Value {
    serde_json::from_str(&machine.run_to(0, arguments).stdout).unwrap()
}

fn states(machine: &Machine) -> Vec<(String, String, String)> {
    let info = json(machine, &["app", "info", "shop", "--json"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = info["containers"].as_array().unwrap().iter();
    let mut all: Vec<_> = all
        .map(|one| {
            let process = format!("{}.{}", text(&one["type"]), one["num"]);
            (process, text(&one["release"]), text(&one["state"]))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn an_app_is_deployed_scaled_configured_rolled_back_and_destroyed() {
    let machine = shop();
    let listed = machine.run_to(0, &["apps"]).stdout;
    assert!(
        listed.contains("shop") && listed.contains("web=1"),
        "{listed}"
    );
    machine.run_to(0, &["app", "scale", "shop", "web=2", "worker=1"]);
    let up =
        |process: &str, release: &str| (process.to_owned(), release.to_owned(), "up".to_owned());
    let expected = ["web.1", "web.2", "worker.1"];
    assert_eq!(states(&machine), expected.map(|process| up(process, "v2")));
    let config = machine.run_to(0, &["app", "config", "shop", "COLOUR=blue", "OLD=1"]);
    assert!(config.stdout.contains("COLOUR=blue\n"), "{config:#?}");
    let config = machine.run_to(0, &["app", "config", "shop", "--unset", "OLD"]);
    assert!(!config.stdout.contains("OLD"), "{config:#?}");
    let releases = machine.run_to(0, &["app", "releases", "shop"]).stdout;
    assert!(
        releases.contains("v4") && releases.contains("deleted OLD"),
        "{releases}"
    );
    let back = machine.run_to(0, &["app", "rollback", "shop", "v2"]);
    assert!(back.stdout.contains("Release v5"), "{back:#?}");
    let typo = machine.run_to(2, &["app", "deploy", "shop", "no-template"]);
    assert!(typo.stderr.contains("no template no-template"), "{typo:#?}");
    let broken = machine.run_to(5, &["app", "deploy", "shop", "no-template:v1"]);
    assert!(
        broken
            .stderr
            .contains("release v6 is not up: web.1 (error)"),
        "{broken:#?}"
    );
    assert!(states(&machine).contains(&up("web.1", "v5")), "{broken:#?}");
    machine.run_to(0, &["app", "domains", "shop", "--add", "shop.example.org"]);
    let domains = machine.run_to(0, &["app", "domains", "shop"]).stdout;
    assert!(domains.contains("shop.example.org"), "{domains}");
    let asked = machine.run_to(2, &["app", "destroy", "shop"]);
    assert!(asked.stderr.contains("--yes"), "{asked:#?}");
    machine.run_to(0, &["app", "destroy", "shop", "--yes"]);
    assert_eq!(
        json(&machine, &["apps", "--json"])["apps"],
        Value::Array(Vec::new())
    );
    let gone = machine.run_to(2, &["app", "info", "shop"]);
    assert!(gone.stderr.contains("no such app"), "{gone:#?}");
}

#[test]
fn a_command_runs_in_an_app_and_ends_as_it_ended() {
    let machine = shop();
    machine.run_to(0, &["app", "config", "shop", "COLOUR=blue"]);
    let ran = machine.run_to(
        3,
        &[
            "app",
            "run",
            "shop",
            "--",
            "cat page.txt; echo $COLOUR >&2; exit 3",
        ],
    );
    assert_eq!(ran.stdout, "a page\nblue\n");
    let ran = machine.run_to(0, &["app", "run", "shop", "--", "echo", "$COLOUR", "it's"]);
    assert_eq!(ran.stdout, "$COLOUR it's\n");
    let killed = machine.run_to(128 + 9, &["app", "run", "shop", "--", "kill -9 $$"]);
    assert_eq!(killed.stdout, "");
    let text = "yes 0123456789abcde | head -c 104857600";
    let much = machine.run_to(0, &["app", "run", "shop", "--", text]);
    assert_eq!(much.stdout.len(), 100 << 20);
}

#[test]
fn a_command_is_heard_while_it_runs_and_stopped_with_ctrl_c() {
    let machine = shop();
    let begin = |after: &str| {
        let text = format!("echo begun; {after}");
        let mut run = machine.start(&["app", "run", "shop", "--", &text]);
        let mut heard = BufReader::new(run.stdout.take().unwrap());
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        (run, heard)
    };
    let go = machine.path("go");
    let wait = format!(
        "until [ -e {} ]; do sleep 0.1; done; echo over",
        go.display()
    );
    let (mut run, mut heard) = begin(&wait);
    std::fs::write(&go, "").unwrap();
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "over\n");
    assert!(run.wait().unwrap().success());
    let (mut run, _) = begin("exec sleep 1000");
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(128 + 2));
    let log = || machine.run_to(0, &["app", "logs", "shop"]).stdout;
    let is_stopped = || log().contains("run.2 (v2) stopped");
    assert!(is_true_within(PATIENCE, is_stopped), "{}", log());
}

#[test]
fn the_log_of_an_app_is_shown_and_followed() {
    let machine = shop();
    let log = || machine.run_to(0, &["app", "logs", "shop"]).stdout;
    for expected in [
        "app: shop: release shop-v1 created\n",
        "app: shop: web.1 (v2) is up\n",
        "web.1: colour \n",
    ] {
        // What a process prints comes a moment later.
        let is_there = || log().contains(expected);
        assert!(is_true_within(PATIENCE, is_there), "{expected}: {}", log());
    }
    let mut follower = machine.start(&["logs", "--app", "shop", "--follow"]);
    let mut followed = BufReader::new(follower.stdout.take().unwrap());
    machine.run_to(0, &["app", "config", "shop", "COLOUR=green"]);
    let mut line = String::new();
    while !line.ends_with("web.1: colour green\n") {
        line.clear();
        assert!(followed.read_line(&mut line).unwrap() > 0, "it ended");
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    let none = machine.run_to(2, &["logs", "--app", "other"]);
    assert!(none.stderr.contains("no such app"), "{none:#?}");
}

#[test]
fn what_is_wrong_with_an_app_is_said_in_the_masters_words() {
    let machine = shop();
    machine.run_to(0, &["app", "create", "empty"]);
    for (arguments, expected) in [
        (&["app", "create", "shop"][..], "already exists"),
        (&["app", "create", "Shop"], "only a to z"),
        (&["app", "scale", "shop", "nope=1"], "nope does not exist"),
        (
            &["app", "rollback", "shop", "v99"],
            "shop has no release v99",
        ),
        (
            &["app", "rollback", "shop", "v99"],
            "`clusterrunner app releases shop` lists",
        ),
        (&["app", "rollback", "other", "v1"], "no such app"),
        (
            &["app", "domains", "shop", "--remove", "nope.example.org"],
            "shop has no domain nope.example.org",
        ),
        (
            &["app", "domains", "shop", "--remove", "nope.example.org"],
            "`clusterrunner app domains shop` lists",
        ),
        (&["app", "config", "shop", "A B=1"], "no blanks"),
        (&["app", "scale", "empty", "web=1"], "No build associated"),
        (&["app", "scale", "empty", "web=1"], "app deploy APP"),
        (
            &["app", "config", "shop", "--memory", "web=lots"],
            "Limit format",
        ),
        (
            &["app", "domains", "shop", "--add", "shop"],
            "expected a domain",
        ),
        (&["app", "info", "other"], "no such app"),
    ] {
        let refused = machine.run_to(2, arguments);
        assert!(
            refused.stderr.contains(expected),
            "{arguments:?}: {refused:#?}"
        );
    }
}

#[test]
fn a_token_that_opens_nothing_is_told_as_other_commands_tell_it() {
    let machine = shop();
    let told = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        let refused = command.env("CLUSTERRUNNER_TOKEN", "bad").output().unwrap();
        assert_eq!(refused.status.code(), Some(5), "{refused:?}");
        let told = String::from_utf8(refused.stderr).unwrap();
        let (_, told) = told.split_once(" refused with ").unwrap();
        told.to_owned()
    };
    let expected = told(&["template", "delete", "nope"]);
    assert!(
        expected.contains("clusterrunner token create"),
        "{expected}"
    );
    for arguments in [
        &["apps"][..],
        &["app", "info", "shop"],
        &["app", "rollback", "shop", "v1"],
        &["app", "run", "shop", "--", "true"],
    ] {
        assert_eq!(told(arguments), expected, "{arguments:?}");
    }
    for arguments in [&["app", "logs", "shop"][..], &["user", "list"]] {
        let told = told(arguments);
        assert!(told.contains("clusterrunner token create"), "{told}");
    }
}
