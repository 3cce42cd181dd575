//! What `--json` prints is what `docs/json.schema.json` says.

use crate::job::job;
use crate::json_schema::Schema;
use crate::launching;
use crate::machine::{Ended, Machine, interrupt};
use crate::wait::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Atom 1 fails, atom 2 is flaky, atom 3 passes and leaves a file.
const COMMAND: &str = r#"echo "prints $N"; case "$N" in
    1) printf 'a\033[31m"b"\n'; exit 7 ;;
    2) test -e "$PROJECT_DIR/second" || { touch "$PROJECT_DIR/second"; exit 1; } ;;
    3) echo x >"$ARTIFACT_DIR/file" ;;
    esac"#;

/// The lines that a command printed, each checked.
fn lines(ended: &Ended) -> Vec<Value> {
    let schema = Schema::documented();
    let lines = ended.stdout.lines().map(|line| {
        let line = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} in {ended:#?}"));
        schema.check("line", &line).unwrap();
        line
    });
    lines.collect()
}

fn events(lines: &[Value]) -> Vec<&str> {
    let events = lines.iter().map(|line| line["event"].as_str().unwrap());
    events.collect()
}

fn last(lines: &[Value], event: &str) -> Value {
    let found = lines.iter().rfind(|line| line["event"] == event);
    found
        .unwrap_or_else(|| panic!("no {event} in {lines:#?}"))
        .clone()
}

#[test]
fn a_build_is_told_in_lines_of_json() {
    let jobs = job(COMMAND)
        .atoms(3)
        .with("retries", 1)
        .with("atomizers", json!([{"N": "seq 3; echo 3"}]));
    let machine = Machine::new(&jobs.to_string());
    let built = machine.run_to(1, &["-v", "build", "--json"]);
    let built = lines(&built);
    let seen: BTreeSet<&str> = events(&built).into_iter().collect();
    for event in [
        "submitted",
        "atom_failed",
        "atom_passed",
        "warning",
        "results",
        "ended",
    ] {
        assert!(seen.contains(event), "{event}: {seen:?}");
    }
    assert_eq!(
        built[0],
        json!({"json_version": 1, "event": "submitted", "build_id": 1})
    );
    let failed = last(&built, "atom_failed");
    assert_eq!(failed["atom"]["exit_code"], 7);
    assert_eq!(failed["output"], "prints 1\na\u{1b}[31m\"b\"\n");
    assert!(
        last(&built, "results")["directory"]
            .as_str()
            .unwrap()
            .ends_with("build_results/1")
    );
    assert_eq!(last(&built, "ended")["exit_code"], 1);

    // Who comes later is told the same.
    for line in [
        &["attach", "1", "--json"][..],
        &["status", "1", "-w", "--json"],
    ] {
        let told = lines(&machine.run_to(1, line));
        assert_eq!(
            events(&told),
            ["warning", "atom_failed", "ended"],
            "{line:?}"
        );
    }
    let waited = lines(&machine.run_to(1, &["wait", "1", "--json"]));
    assert_eq!(events(&waited), ["ended"]);
    let none = lines(&machine.run_to(1, &["attach", "1", "--json", "--failure-output", "none"]));
    assert_eq!(last(&none, "atom_failed")["output"], Value::Null);

    // What atoms printed.
    let atoms = lines(&machine.run_to(0, &["logs", "1", "--json"]));
    assert_eq!(events(&atoms), ["atom"; 4]);
    let output = lines(&machine.run_to(0, &["logs", "1", "0_0", "--json"]));
    let texts: Vec<(&Value, &Value)> = output
        .iter()
        .map(|line| (&line["line"], &line["text"]))
        .collect();
    assert_eq!(
        texts,
        [
            (&json!(0), &json!("prints 1")),
            (&json!(1), &json!("a\u{1b}[31m\"b\""))
        ]
    );
    let all = lines(&machine.run_to(0, &["logs", "1", "-f", "--json"]));
    // Atoms 1 and 2 ran twice.
    assert_eq!(events(&all), ["output"; 8], "{all:#?}");

    // What is wrong is told on both ways.
    let wrong = machine.run_to(2, &["wait", "99", "--json"]);
    assert!(wrong.stderr.starts_with("error: "), "{wrong:#?}");
    let wrong = lines(&wrong);
    assert!(
        last(&wrong, "error")["message"]
            .as_str()
            .unwrap()
            .contains("no build 99")
    );

    // And all that is one object.
    let schema = Schema::documented();
    for (form, line) in [
        ("status", &["status"][..]),
        ("status_build", &["status", "1"]),
        ("slaves", &["slaves"]),
        ("slaves_keys", &["slaves", "keys"]),
        ("tests", &["tests", "1"]),
        ("instances", &["instances"]),
        ("templates", &["templates"]),
        ("user_list", &["user", "list"]),
        ("token_list", &["token", "list"]),
        ("apps", &["apps"]),
        ("explain", &["explain", "1"]),
        ("plan", &["plan", "1", "--under", "1h"]),
        ("artifacts", &["artifacts", "1"]),
        ("history", &["history", "1"]),
        ("flaky", &["flaky"]),
        ("config_show", &["config", "show"]),
    ] {
        let printed = machine.run_to(0, &[line, &["--json"]].concat()).stdout;
        let printed: Value = serde_json::from_str(&printed).unwrap();
        schema.check(form, &printed).unwrap();
        // A form that has anything in it is no form.
        schema.check(form, &json!({})).unwrap_err();
    }
}

/// Prints one object of each of these forms; of the last one the object.
fn check_forms(machine: &Machine, forms: &[(&str, &[&str])]) -> Value {
    let schema = Schema::documented();
    let mut last = Value::Null;
    for (form, line) in forms {
        let printed = machine.run_to(0, line).stdout;
        last = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{line:?}: {printed}"));
        schema.check(form, &last).unwrap();
        schema.check(form, &json!({})).unwrap_err();
    }
    last
}

#[test]
fn launches_and_apps_are_told_in_json() {
    let machine =
        launching::machine(&[("Procfile", "web: exec python3 -m http.server \"$PORT\"\n")]);
    let launched = check_forms(
        &machine,
        &[("launch", &["launch", ".", "--detach", "--json"])],
    );
    let template = launched["instance"]["template"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = launched["instance"]["id"].to_string();
    machine.run_to(0, &["instance", "stop", &id]);
    machine.run_to(0, &["app", "create", "shop"]);
    machine.run_to(0, &["app", "deploy", "shop", &template]);
    machine.run_to(0, &["app", "config", "shop", "COLOUR=blue"]);
    machine.run_to(0, &["app", "domains", "shop", "--add", "shop.example.org"]);
    check_forms(
        &machine,
        &[
            ("instances", &["instances", "--all", "--json"]),
            ("templates", &["templates", "--json"]),
            ("apps", &["apps", "--json"]),
            ("app_info", &["app", "info", "shop", "--json"]),
            ("app_config", &["app", "config", "shop", "--json"]),
            ("app_releases", &["app", "releases", "shop", "--json"]),
            ("app_domains", &["app", "domains", "shop", "--json"]),
        ],
    );
}

#[tokio::test]
async fn early_ends_are_told_in_lines_of_json() {
    let command =
        r#"test "$N" = 1 && exit 1; until test -e "$PROJECT_DIR/go"; do sleep 0.02; done"#;
    let machine = Machine::new(&job(command).atoms(2).to_string());
    let detached = lines(&machine.run_to(0, &["build", "--detach", "--json"]));
    assert_eq!(events(&detached), ["submitted"]);
    let failing = lines(&machine.run_to(1, &["wait", "1", "--until", "failing", "--json"]));
    assert_eq!(events(&failing), ["failing"]);
    let line = [
        "wait",
        "1",
        "--until",
        "failing",
        "--failure-output",
        "none",
    ];
    let failing = machine.run_to(1, &line).stdout;
    assert!(failing.starts_with("FAILED artifact_0_0"), "{failing}");
    fs::write(machine.path("project/go"), "").unwrap();
    machine.run_to(1, &["wait", "1"]);
    fs::remove_file(machine.path("project/go")).unwrap();

    // After Ctrl-C.
    let shown = machine.path("shown");
    let mut command = machine.command(&["build", "--json"]);
    command.stdout(fs::File::create(&shown).unwrap());
    let build = command.spawn().unwrap();
    wait_for("the second build runs", async || {
        let shown = fs::read_to_string(&shown).unwrap();
        shown.contains(r#""num_atoms_failed":1"#).then_some(())
    })
    .await;
    interrupt(&build);
    let ended = Ended::from(build.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let told = lines(&Ended {
        stdout: fs::read_to_string(&shown).unwrap(),
        ..ended
    });
    // The build was held while its first atom had failed.
    assert_eq!(last(&told, "progress")["num_atoms_failed"], 1);
    let end = last(&told, "ended");
    assert_eq!(
        (&end["exit_code"], &end["build"]["status"]),
        (&json!(4), &json!("CANCELED"))
    );
}

/// The schema is no paper tiger.
#[test]
fn what_is_not_of_the_form_is_refused() {
    let schema = Schema::documented();
    for wrong in [
        json!({"json_version": 1}),
        json!({"json_version": 2, "event": "submitted", "build_id": 1}),
        json!({"json_version": 1, "event": "none", "build_id": 1}),
        json!({"json_version": 1, "event": "submitted", "build_id": "1"}),
        json!({"json_version": 1, "event": "atom", "build_id": 1, "atom": {"id": 0}}),
    ] {
        schema.check("line", &wrong).unwrap_err();
    }
}
