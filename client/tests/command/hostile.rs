//! Texts of others that would like to be obeyed by the user's terminal.

use crate::fake_master::{FakeMaster, atom_of, building, finished, view};
use crate::run::User;
use clusterrunner_common::api::{AtomState, BuildStatus, BuildView, SubjobView};
use clusterrunner_common::ids::SubjobId;
use clusterrunner_common::text::printable::is_obeyed;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// A title, a clipboard, a link, clear and report, C1, DCS, bidi, bell, backspace and overwriting.
const HOSTILE: &str = "\u{1b}]0;pwn\u{7}\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}]8;;http://evil\u{1b}\\\u{1b}[2J\u{1b}[6n\
                       \u{9b}31m\u{1b}P+q544e\u{1b}\\\u{202e}\u{7}\u{8}FAIL\rPASS";

fn hostile_build() -> BuildView {
    let mut atom = atom_of(0, AtomState::Completed, Some(1));
    atom.command_string = format!("export TEST=\"{HOSTILE}\";");
    atom.trouble = Some(format!("poison {HOSTILE}\nforged line"));
    let mut build = finished(1, vec![atom]);
    build.request_params.insert(
        "job_name".to_owned(),
        json!(format!("{HOSTILE}\nforged line")),
    );
    let job =
        json!({"commands": [HOSTILE], "setup_build": [HOSTILE], "atomizers": [{"TEST": "true"}]});
    build.request_params.insert("config".to_owned(), job);
    build.commit = Some(HOSTILE.to_owned());
    build.warnings = vec![format!("{HOSTILE}\nforged line")];
    build
}

fn check(shown: &str, what: &str) {
    let is_stray = |character: char| is_obeyed(character) && character != '\n';
    assert!(!shown.contains(is_stray), "{what}: {shown:?}");
    assert!(!shown.contains("\nforged line"), "{what}: {shown:?}");
}

#[test]
fn whatever_a_farm_says_no_terminal_obeys() {
    let user = User::new();
    let master = FakeMaster::start([hostile_build()]);
    {
        let mut script = master.script();
        script.subjobs = vec![SubjobView {
            id: SubjobId(0),
            command: HOSTILE.to_owned(),
            atoms: hostile_build().failed_atoms.unwrap(),
            slave: None,
        }];
        let slave = &mut script.slaves[0];
        slave.url = format!("{HOSTILE}\nforged line");
        slave.is_quarantined = true;
        slave.quarantine_reason = Some(format!("{HOSTILE}\nforged line"));
        script.consoles = [format!("one {HOSTILE}\n")].into();
        script.atoms = [atom_of(0, AtomState::Completed, Some(1))].into();
        script.left_files = vec![HOSTILE.replace('/', "_")];
    }
    for line in [
        &["status"][..],
        &["status", "1"],
        &["slaves"],
        &["logs", "1"],
        &["logs", "1", "0_0"],
        &["logs", "1", "0_0", "-f"],
        &["logs", "1", "-f"],
        &["logs", "1", "-f", "--json"],
        &["logs", "1", "--json"],
        &["logs", "1", "--failed", "--failure-output", "full"],
        &["attach", "1"],
        &["attach", "1", "--json"],
        &["wait", "1", "--failure-output", "tail"],
        &["artifacts", "1"],
        &["artifacts", "1", "--json"],
        &["repro", "1", "0_0"],
        &["status", "1", "--json"],
        &["slaves", "--json"],
        &[
            "build",
            "--job-name",
            "Unit",
            "directory",
            "--project-directory",
            "/tmp",
        ],
    ] {
        let ended = user.run_at(&master, line);
        assert!(!ended.stdout.is_empty(), "{line:?} {ended:?}");
        check(&ended.stdout, &format!("{line:?}"));
        check(&ended.stderr, &format!("{line:?}"));
        if line.contains(&"--json") {
            let values = serde_json::Deserializer::from_str(&ended.stdout).into_iter::<Value>();
            assert!(values.map(Result::unwrap).count() > 0);
        }
    }
}

/// Lines of a log that GitHub obeys: it looks behind blanks, and at nothing between these two.
fn orders_to_github(shown: &str) -> Vec<&str> {
    let mut end = None;
    let mut orders = Vec::new();
    for line in shown.lines().map(str::trim_start) {
        match (&end, line.strip_prefix("::stop-commands::")) {
            (None, Some(token)) => end = Some(format!("::{token}::")),
            (Some(token), _) if line == token => end = None,
            (None, None) if line.starts_with("::") => orders.push(line),
            _ => {}
        }
    }
    assert_eq!(end, None, "{shown}");
    orders
}

/// Lines of a log that begin a section at Buildkite.
fn orders_to_buildkite(shown: &str) -> Vec<&str> {
    let is_order = |line: &&str| line.starts_with("---") || line.starts_with("+++");
    shown.lines().filter(is_order).collect()
}

/// Where CI systems obey lines of a log, no atom gives orders.
#[test]
fn no_section_ends_early() {
    type Orders = fn(&str) -> Vec<&str>;
    let user = User::new();
    let mut build = hostile_build();
    build
        .warnings
        .push("lost\n  ::add-mask::x ##[command]y".to_owned());
    let master = FakeMaster::start([build]);
    let orders =
        "::endgroup::\n  ::error::x\r::set-env name=PATH::/tmp\n--- section\n+++ section\n";
    master.script().consoles = [orders.to_owned()].into();
    let address = master.address.to_string();
    for (variable, orders_to, begin, end) in [
        (
            "GITHUB_ACTIONS",
            orders_to_github as Orders,
            "::group::output of artifact_0_0",
            "::endgroup::",
        ),
        (
            "BUILDKITE",
            orders_to_buildkite,
            "--- output of artifact_0_0",
            "+++ End of build 1",
        ),
    ] {
        for output in ["tail", "full"] {
            let line = ["attach", "1", "--failure-output", output, "-m", &address];
            let ended = user.command(&line).env(variable, "true").output().unwrap();
            let shown = String::from_utf8(ended.stdout).unwrap();
            check(&shown, variable);
            let orders = orders_to(&shown);
            let are_ours = orders.len() == 2 && orders[0].starts_with(begin) && orders[1] == end;
            assert!(are_ours, "{orders:#?} in {shown}");
            let errors = String::from_utf8(ended.stderr).unwrap();
            let orders = orders_to(&errors);
            assert!(orders.is_empty(), "{orders:?} in {errors}");
            let has_old = errors.contains("##[");
            assert_eq!(has_old, variable == "BUILDKITE", "{errors}");
        }
    }
    let mut broken = view(BuildStatus::Error);
    let why = "setup_build failed:\n::error::x\n ##[group]y\n--- a/file\n+++ b/file";
    broken.error_message = Some(why.to_owned());
    let master = FakeMaster::start([broken]);
    let line = ["wait", "1", "-m", &master.address.to_string()];
    let mut wait = user.command(&line);
    let ended = wait.env("GITHUB_ACTIONS", "true").output().unwrap();
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(
        shown.contains(": :error::x") && !shown.contains("##["),
        "{shown}"
    );
    assert!(orders_to_github(&shown).is_empty(), "{shown}");
    let mut wait = user.command(&line);
    let ended = wait.env("BUILDKITE", "true").output().unwrap();
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(shown.contains("\n --- a/file\n +++ b/file"), "{shown}");
}

/// Whatever a master calls a file, the file goes nowhere else.
#[test]
fn no_file_leaves_its_directory() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    master.script().subjobs = vec![SubjobView {
        id: SubjobId(0),
        command: "make".to_owned(),
        atoms: vec![atom_of(0, AtomState::Completed, Some(0))],
        slave: None,
    }];
    for path in [
        "../escaped",
        "../../escaped",
        "/tmp/escaped",
        "a/../../../escaped",
        "a//b",
        "",
    ] {
        master.script().left_files = vec!["fine".to_owned(), path.to_owned()];
        for more in [&[][..], &["--force"]] {
            let line = [&["artifacts", "1", "-o", "out"], more].concat();
            let ended = user.run_at(&master, &line).expect_code(5);
            assert!(ended.stderr.contains("was refused"), "{path:?} {ended:?}");
        }
    }
    let names = crate::run::names(user.home.path());
    assert!(!names.contains(&"escaped".to_owned()), "{names:?}");
    master.script().left_files = vec!["a/fine".to_owned()];
    user.run_at(&master, &["artifacts", "1", "-o", "new"])
        .expect_code(0);
    let brought = std::fs::read(user.path("new/artifact_0_0/a/fine")).unwrap();
    assert_eq!(brought, b"content");
}

#[test]
fn errors_and_refusals_are_only_shown() {
    let user = User::new();
    let mut build = view(BuildStatus::Error);
    build.error_message = Some(format!("no such branch {HOSTILE}"));
    let master = FakeMaster::start([build]);
    let status = user.run_at(&master, &["status", "1"]).expect_code(0);
    check(&status.stdout, "status");
    assert!(status.stdout.contains("no such branch \\u{1b}]0;pwn"));
    master.script().submission = Err((axum::http::StatusCode::BAD_REQUEST, HOSTILE.to_owned()));
    let refused = user.run_at(
        &master,
        &["build", "directory", "--project-directory", "/tmp"],
    );
    check(&refused.stderr, "build");
    assert!(refused.stderr.contains("\\u{1b}]0;pwn"), "{refused:?}");
}

#[test]
fn colours_of_an_atom_stay_and_raw_is_all_of_it() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    let output = format!("\u{1b}[32mgreen\u{1b}[0m {HOSTILE}\u{1b}[8m\nsecond\n");
    master.script().consoles = [output.clone()].into();
    let shown = user.run_at(&master, &["logs", "1", "0_0"]).expect_code(0);
    let expected =
        "\u{1b}[32mgreen\u{1b}[0m \\u{202e}\\u{7}\\u{8}FAIL\nPASS\u{1b}[8m\nsecond\n\u{1b}[0m";
    assert_eq!(shown.stdout, expected);
    let raw = user
        .run_at(&master, &["logs", "1", "0_0", "--raw"])
        .expect_code(0);
    assert_eq!(raw.stdout, output);
}

/// A line that is not over yet comes in pieces, and so may a sequence in it.
#[test]
fn a_sequence_that_comes_in_pieces_is_left_out() {
    let user = User::new();
    let master = FakeMaster::start([building(1, 0, 0)]);
    master.script().atoms = [atom_of(0, AtomState::InProgress, None)].into();
    let mut running = user.start_at(&master, &["logs", "1", "0_0", "-f"]);
    master.script().consoles = ["one\nx\u{1b}]52;c;".to_owned()].into();
    running.wait_for_output("one");
    master.script().consoles = ["one\nx\u{1b}]52;c;\nZXZpbA==\u{7}\ntwo\n".to_owned()].into();
    check(&running.wait_for_output("two"), "logs -f");
    master.script().atoms = [atom_of(0, AtomState::Completed, Some(0))].into();
    running.end().expect_code(0);
}

#[test]
fn what_is_wrong_in_a_file_is_only_shown() {
    let user = User::new();
    let text = "\"J\\e]52;c;ZXZpbA==\\a\":\n  commandz\\r: x\n\"\\e]52;c;ZXZpbA==\\a\\u202e\": \"\\e[2J\"\n";
    std::fs::write(user.path("project/clusterrunner.yaml"), text).unwrap();
    let ended = user.run(&["validate", "project"]);
    check(&ended.stdout, "validate");
    check(&ended.stderr, "validate");
    assert!(ended.stdout.contains("\\u{1b}"), "{ended:?}");
}

#[test]
fn results_are_not_open_to_others_whatever_the_umask() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    let address = master.address.to_string();
    let build = user.command(&[
        "build",
        "--master-url",
        &address,
        "directory",
        "--project-directory",
        "/tmp",
    ]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(build.get_program())
        .args(build.get_args())
        .env_clear()
        .envs(
            build
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(user.path("project"));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut waiting = vec![user.path("project/build_results")];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_symlink() {
            continue;
        }
        assert_eq!(
            metadata.permissions().mode() & 0o022,
            0,
            "{}",
            path.display()
        );
        if metadata.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen > 2);
}

/// An atom whose output is shown in a CI system gives it no orders, whether it ends with a line feed or not.
#[test]
fn an_atom_that_is_shown_gives_no_orders() {
    let user = User::new();
    let master = FakeMaster::start([hostile_build()]);
    let address = master.address.to_string();
    master.script().atoms = [atom_of(0, AtomState::Completed, Some(1))].into();
    for printed in ["::add-mask::x\n##[group]y\n", "::add-mask::x"] {
        master.script().consoles = [printed.to_owned()].into();
        for options in [&[][..], &["-f"]] {
            let line = [&["logs", "1", "0_0", "-m", &address], options].concat();
            let ended = user.command(&line).env("GITHUB_ACTIONS", "true").output();
            let shown = String::from_utf8(ended.unwrap().stdout).unwrap();
            let lines: Vec<&str> = shown.lines().collect();
            let token = lines[0].strip_prefix("::stop-commands::").unwrap();
            assert_eq!(lines.last(), Some(&&*format!("::{token}::")), "{shown}");
            assert_eq!(lines[1..lines.len() - 1].join("\n"), printed.trim_end());
        }
    }
    let raw = ["logs", "1", "0_0", "--raw", "-m", &address];
    let ended = user.command(&raw).env("GITHUB_ACTIONS", "true").output();
    assert_eq!(ended.unwrap().stdout, b"::add-mask::x");
}
