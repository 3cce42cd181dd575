//! What commands print, as a whole: each form is a file in `client/testdata/shown`. With the variable `UPDATE_SHOWN` the
//! tests write these files anew; look at the difference then.

use crate::fake_master::{FakeMaster, atom_of, finished};
use crate::run::{Ended, User};
use clusterrunner_common::api::{AtomState, AtomView, AttemptView, BuildView, SubjobView};
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::fs;
use std::path::Path;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/shown");

/// What an atom printed, with what terminals obey.
const CONSOLE: &str = "first\n\u{1b}[31mred\u{1b}[0m and \u{1b}[2J\u{8}\nlast\n";

/// Compares what was printed with the file of this name.
fn check(name: &str, (user, master): (&User, &FakeMaster), ended: &Ended) {
    let address = master.address.to_string();
    let text = format!(
        "exit code {}\n-- standard output\n{}-- standard error\n{}",
        ended.code.unwrap(),
        ended.stdout,
        ended.stderr
    );
    let text = text.replace(&address, "MASTER");
    let text = text.replace(user.home.path().to_str().unwrap(), "HOME");
    // How long ago a time of the script is.
    let lines = text.lines().map(|line| match line.split_once(" ago") {
        Some((before, after)) => {
            let words: Vec<&str> = before.split(' ').collect();
            let kept = words.len().saturating_sub(4);
            format!("{} T ago{after}", words[..kept].join(" "))
        }
        None => line.to_owned(),
    });
    // The columns of a table are as wide as such times.
    let squeezed = |line: String| match name {
        "status" => line.split_whitespace().collect::<Vec<_>>().join(" "),
        _ => line,
    };
    let text: String = lines
        .map(|line| squeezed(without_token(&line)) + "\n")
        .collect();
    let path = Path::new(FILES).join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SHOWN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}");
}

/// GitHub's sections end with a word that nobody can guess.
fn without_token(line: &str) -> String {
    let is_token = |word: &str| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = line.split("::").map(|word| match is_token(word) {
        true => "TOKEN",
        false => word,
    });
    words.collect::<Vec<_>>().join("::")
}

fn atoms() -> Vec<AtomView> {
    let ended = |subjob, code| atom_of(subjob, AtomState::Completed, Some(code));
    let failed = AttemptView {
        attempt: Attempt(1),
        exit_code: 1,
        signal: None,
        trouble: None,
        actual_time: 0.5,
        started_at: None,
        slave_id: SlaveId(1),
        slave_url: None,
        executor_id: None,
    };
    vec![
        ended(0, 3),
        AtomView {
            actual_time: Some(61.5),
            ..ended(1, 0)
        },
        AtomView {
            is_flaky: true,
            attempt: Some(Attempt(2)),
            failed_attempts: vec![failed],
            ..ended(2, 0)
        },
        atom_of(3, AtomState::NotRun, None),
    ]
}

/// A build with an atom of each kind.
fn master() -> FakeMaster {
    let build = BuildView {
        num_atoms_flaky: Some(1),
        num_atoms_not_run: Some(1),
        num_atoms_completed: 3,
        warnings: vec!["slave 10.0.0.8:43001 was lost".to_owned()],
        ..finished(4, vec![atoms().remove(0)])
    };
    let master = FakeMaster::start([build]);
    {
        let mut script = master.script();
        script.consoles.push_back(CONSOLE.to_owned());
        script.subjobs = atoms()
            .into_iter()
            .map(|atom| SubjobView {
                id: SubjobId(atom.subjob_id.0),
                command: "make test".to_owned(),
                atoms: vec![atom],
                slave: None,
            })
            .collect();
    }
    master
}

#[test]
fn each_form_is_as_it_was() {
    let user = User::new();
    let master = master();
    for (name, line) in [
        ("status_build", &["status", "1"][..]),
        ("slaves", &["slaves"]),
        ("logs", &["logs", "1"]),
        ("logs_of_an_atom", &["logs", "1", "0_0"]),
        ("logs_failed", &["logs", "1", "--failed"]),
        (
            "logs_failed_full",
            &["logs", "1", "--failed", "--failure-output", "full"],
        ),
        ("logs_of_all_atoms", &["logs", "1", "-f"]),
        ("tests", &["tests", "1"]),
        ("tests_all", &["tests", "1", "--all"]),
        ("tests_json", &["tests", "1", "--json"]),
        ("build", &["build", "project", "--no-results"]),
        (
            "build_json",
            &["build", "project", "--no-results", "--json"],
        ),
        ("build_detached", &["build", "project", "--detach"]),
        ("no_such_build", &["status", "9"]),
        ("wait", &["wait", "1"]),
        (
            "wait_with_failures",
            &["wait", "1", "--failure-output", "tail"],
        ),
        ("attach", &["attach", "1"]),
        (
            "attach_without_output",
            &["attach", "1", "--failure-output", "none"],
        ),
        ("attach_verbose", &["-v", "attach", "1"]),
        ("attach_quiet", &["-q", "attach", "1"]),
        ("attach_json", &["attach", "1", "--json"]),
        ("logs_json", &["logs", "1", "--json"]),
        ("slaves_json", &["slaves", "--json"]),
    ] {
        let ended = user.run_at(&master, line);
        // For a pipe: nothing that a terminal obeys, but colours that are the atom's own.
        if name != "logs_of_an_atom" {
            let is_stray = |c: char| c.is_control() && c != '\n';
            assert!(!ended.stdout.contains(is_stray), "{name}: {ended:?}");
        }
        check(name, (&user, &master), &ended);
    }
    for (name, variable) in [
        ("attach_in_github_actions", "GITHUB_ACTIONS"),
        ("attach_in_buildkite", "BUILDKITE"),
    ] {
        let address = master.address.to_string();
        let mut command = user.command(&["attach", "1", "--master-url", &address]);
        let output = command.env(variable, "true").output().unwrap();
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        check(name, (&user, &master), &ended);
    }
    let farm = FakeMaster::start([
        finished(2, vec![]),
        BuildView {
            id: BuildId(2),
            ..finished(5, vec![atoms().remove(0)])
        },
    ]);
    check("status", (&user, &farm), &user.run_at(&farm, &["status"]));
}
