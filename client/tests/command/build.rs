//! `clusterrunner build`.

mod interrupted;
mod results;

use crate::fake_master::{FakeMaster, archive, atom_of, building, canceled, finished, view};
use crate::run::{User, names};
use axum::http::StatusCode;
use clusterrunner_common::api::{AtomState, AtomView, BuildStatus, BuildView, SubjobView};
use clusterrunner_common::ids::SubjobId;
use rustix::process::Signal;
use serde_json::json;

const BUILD: &[&str] = &["build", "project"];

#[test]
fn a_build_that_passes_exits_with_0_and_leaves_its_results() {
    let user = User::new();
    let master = FakeMaster::start([
        view(BuildStatus::Queued),
        building(2, 0, 0),
        building(2, 1, 0),
        finished(2, vec![]),
    ]);
    user.run_at(&master, BUILD).expect_code(0).expect(
        &[
            "Build is running. (Build id: 1)\n",
            "Build 1 passed: 2 atoms in ",
        ],
        &["queued (", "0 of 2 atoms done, 0 failed, 1 running ("],
    );
    let results = user.path("project/build_results");
    assert_eq!(names(&results), [".gitignore", "1", "latest"]);
    let found = names(&results.join("latest"));
    assert_eq!(found, [".clusterrunner_build", "artifact_0_0"]);
    let project = user.path("project").canonicalize().unwrap();
    assert_eq!(
        master.script().submitted,
        [json!({"type": "directory", "project_directory": project})]
    );
}

#[test]
fn failed_atoms_are_shown_with_the_end_of_their_output() {
    let user = User::new();
    let failed = atom_of(0, AtomState::Completed, Some(3));
    let killed = atom_of(1, AtomState::Completed, Some(-9));
    let master = FakeMaster::start([building(3, 2, 2), finished(3, vec![failed, killed])]);
    let output: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    master.script().consoles = [output].into();
    let ended = user.run_at(&master, BUILD).expect_code(1).expect(
        &[
            "FAILED artifact_0_0  TEST=\"test_0\"  (exit code 3, 1.2 s)\n    ... 10 lines before, see `clusterrunner logs 1 0_0 -m 127.0.0.1:",
            "`\n    line 11\n",
            "    line 30\n",
            "FAILED artifact_1_0  TEST=\"test_1\"  (ended by signal 9 (SIGKILL), 1.2 s)\n",
            "\nFailed atoms:\n  artifact_0_0  exit code 3                  TEST=\"test_0\"  clusterrunner logs 1 0_0 -m 127.0.0.1:",
            "\nBuild 1 failed: 2 of 3 atoms failed, 1 passed in ",
        ],
        &[],
    );
    assert!(!ended.stdout.contains("line 10\n"));
    assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");
}

/// Thirty of them: at the end the first twenty, and how to see all.
#[test]
fn failures_beyond_a_bound_are_summarised() {
    let user = User::new();
    let failed: Vec<_> = (0..30)
        .map(|subjob| atom_of(subjob, AtomState::Completed, Some(1)))
        .collect();
    let master = FakeMaster::start([finished(40, failed.clone())]);
    master.script().consoles = ["out\n".to_owned()].into();
    master.script().subjobs = vec![SubjobView {
        id: SubjobId(0),
        command: "make test".to_owned(),
        atoms: failed,
        slave: None,
    }];
    let ended = user.run_at(&master, BUILD).expect_code(1).expect(
        &[
            "\n  artifact_19_0  exit code 1  TEST=\"test_19\"  clusterrunner logs 1 19_0 -m ",
            "\n  ... and 10 more: clusterrunner logs 1 --failed -m ",
            "\nBuild 1 failed: 30 of 40 atoms failed, 10 passed in ",
        ],
        &["the output of further failed atoms is not shown here; `clusterrunner logs 1 19_0 -m "],
    );
    let said = |text: &str| ended.stdout.matches(text).count();
    assert_eq!(said("FAILED artifact_"), 30, "{ended:?}");
    assert_eq!(said("    out\n"), 20, "{ended:?}");
    assert_eq!(said("Build 1 "), 1, "one verdict: {ended:?}");
    let all = user.run_at(&master, &["logs", "1", "--failed"]);
    let listed = all.expect_code(0).stdout.matches("artifact_").count();
    assert_eq!(listed, 30);
}

#[test]
fn programs_that_read_the_originals_words_get_them() {
    let user = User::new();
    let master = FakeMaster::start([finished(2, vec![])]);
    let line = ["build", "project", "--compat-exit-codes"];
    user.run_at(&master, &line).expect_code(0).expect(
        &["Build is finished. (Build id: 1)\nBuild 1 result was NO_FAILURES\nBuild 1 passed: "],
        &[],
    );
}

#[test]
fn atoms_that_run_long_are_named_in_a_pipe_too() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    let running = AtomView {
        started_at: Some(1.0),
        ..atom_of(1, AtomState::InProgress, None)
    };
    master.script().subjobs = vec![SubjobView {
        id: SubjobId(1),
        command: "make test".to_owned(),
        atoms: vec![running],
        slave: None,
    }];
    let mut build = user.start_at(&master, BUILD);
    let note = "0 of 2 atoms done, 0 failed, 1 running; for ";
    let line = build.wait_for_note(note);
    assert!(
        line.contains(" runs artifact_1_0  TEST=\"test_1\" ("),
        "{line}"
    );
    master.script().views = [finished(2, vec![])].into();
    build.end().expect_code(0);
}

#[test]
fn a_build_in_error_exits_with_3_and_says_why() {
    let user = User::new();
    let error = BuildView {
        error_message: Some("Atomizer command failed!".to_owned()),
        ..view(BuildStatus::Error)
    };
    let master = FakeMaster::start([error]);
    user.run_at(&master, BUILD).expect_code(3).expect(
        &["Build aborted due to error: Atomizer command failed!\n"],
        &[],
    );
    assert!(!user.path("project/build_results").exists());
}

#[test]
fn what_helps_stands_below_the_verdict() {
    let user = User::new();
    let in_error = |message: &str| BuildView {
        error_message: Some(message.to_owned()),
        ..view(BuildStatus::Error)
    };
    let without_atoms = BuildView {
        lacks_atoms: true,
        ..finished(0, vec![])
    };
    for (build, code, help) in [
        (in_error("Atomizer command failed!"), 3, "logs 1 --atomizer"),
        (in_error("setup_build exited with 3"), 3, "logs 1 --setup"),
        (without_atoms, 6, "`allow_no_atoms: true` in the job"),
    ] {
        let master = FakeMaster::start([build]);
        for command in [BUILD, &["wait", "1"]] {
            user.run_at(&master, command)
                .expect_code(code)
                .expect(&[], &[help]);
        }
    }
    let master = FakeMaster::start([in_error("The repository is not there.")]);
    let ended = user.run_at(&master, BUILD).expect_code(3);
    assert!(!ended.stderr.contains("logs 1"), "{ended:#?}");
}

#[test]
fn a_master_that_does_not_answer_is_given_up_soon() {
    let user = User::new();
    // Nothing listens at port 1: it is reserved for a service that nobody runs.
    let line = [
        "build",
        "project",
        "--master-url",
        "127.0.0.1:1",
        "--patience",
        "1",
    ];
    user.run(&line)
        .expect_code(5)
        .expect(&[], &["error: ", "does not answer", "hint: "]);
}

#[test]
fn a_restart_of_the_master_is_ridden_through() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    let mut running = user.start_at(&master, BUILD);
    running.wait_for_output("Build is running.");
    let master = master.restart(|| {
        running.wait_for_note("does not answer");
    });
    master.script().views.push_back(finished(2, vec![]));
    running
        .end()
        .expect_code(0)
        .expect(&["Build 1 passed"], &["the master is back\n"]);
}

#[test]
fn a_refused_request_says_what_the_master_says() {
    let user = User::new();
    let master = FakeMaster::start([]);
    let error = "Field 'branch' is not known for type \"directory\".".to_owned();
    master.script().submission = Err((StatusCode::BAD_REQUEST, error));
    user.run_at(&master, BUILD).expect_code(2).expect(
        &[],
        &["refused with status 400: Field 'branch' is not known"],
    );
}

#[test]
fn another_secret_is_explained() {
    let user = User::new();
    let master = FakeMaster::start([]);
    let address = master.address.to_string();
    let output = user
        .command(&["build", "project", "--master-url", &address])
        .env("CLUSTERRUNNER_SECRET", "not the one of the master")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.contains("hint: master and client must have the same `secret`"),
        "{stderr}"
    );
}

#[test]
fn a_directory_without_jobs_is_refused_with_an_example() {
    let user = User::new();
    std::fs::create_dir(user.path("empty")).unwrap();
    user.run(&["build", "empty"]).expect_code(2).expect(
        &[],
        &[
            "/clusterrunner.yaml\nhint: a clusterrunner.yaml says what to run",
            "  atomizers:",
        ],
    );
    user.run(&["build", "nowhere"])
        .expect_code(2)
        .expect(&[], &["error: 'nowhere' is no project: No such file"]);
}

#[test]
fn a_sub_directory_of_a_project_is_enough() {
    let user = User::new();
    std::fs::create_dir_all(user.path("project/src/deep")).unwrap();
    let master = FakeMaster::start([finished(1, vec![])]);
    let address = master.address.to_string();
    let mut command = user.command(&["build", "--master-url", &address]);
    let output = command
        .current_dir(user.path("project/src/deep"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let project = user.path("project").canonicalize().unwrap();
    let note = format!("building {}, which has the nearest", project.display());
    assert!(stderr.contains(&note), "{stderr}");
    assert_eq!(
        master.script().submitted,
        [json!({"type": "directory", "project_directory": project})]
    );
    assert!(user.path("project/build_results/1").is_dir());
}

/// A job is named by an option, a path without one.
#[test]
fn a_job_in_the_place_of_a_path_is_told() {
    let user = User::new();
    let build = ["build", "Unit"];
    let output = user
        .command(&build)
        .current_dir(user.path("project"))
        .output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let hint = "hint: for the job of this name: `clusterrunner build --job-name Unit`";
    assert!(stderr.contains(hint), "{stderr}");
}

/// No build is stored for a slip of the pen.
#[test]
fn a_job_that_the_file_does_not_have_is_refused_here() {
    let user = User::new();
    let master = FakeMaster::start([]);
    user.run_at(&master, &["build", "project", "-j", "Unti"])
        .expect_code(2)
        .expect(
            &[],
            &[
                "/clusterrunner.yaml has no job 'Unti'\n",
                "hint: did you mean 'Unit'? its jobs are: Unit\n",
            ],
        );
    let jobs = "A: &job\n  commands: ['true']\n  atomizers: [{X: seq 2}]\nB: *job\n";
    std::fs::write(user.path("project/clusterrunner.yaml"), jobs).unwrap();
    user.run_at(&master, BUILD).expect_code(2).expect(
        &[],
        &["has several jobs\nhint: --job-name says which: A, B\n"],
    );
    let wrong = "A:\n  commands: 5\n  atomizers: [{X: seq 2}]\n";
    std::fs::write(user.path("project/clusterrunner.yaml"), wrong).unwrap();
    let ended = user
        .run_at(&master, BUILD)
        .expect_code(2)
        .expect(&[], &["Expected a list of texts but found a whole number."]);
    assert!(!ended.stderr.contains("class"), "{ended:?}");
    let ended = user.run(&["validate", "project"]).expect_code(1);
    assert!(!ended.stdout.contains("class"), "{ended:?}");
    assert!(master.script().submitted.is_empty());
}

#[test]
fn what_is_asked_for_is_what_is_sent() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    std::fs::write(
        user.path("job.json"),
        r#"{"commands": ["true"], "atomizers": [{"X": "seq 3"}]}"#,
    )
    .unwrap();
    let line = [
        "build",
        "-j",
        "Unit",
        "-f",
        "data",
        "http://127.0.0.1/data",
        "--no-results",
        "git",
        "--url",
        "https://example.org/a.git",
        "--branch",
        "main",
        "--hash",
        "abcd",
        "--project-directory",
        "sub",
        "--config",
        "@job.json",
        "--atoms-override",
        r#"["export X=\"1\";"]"#,
    ];
    user.run_at(&master, &line).expect_code(0);
    let expected = json!({
        "type": "git", "url": "https://example.org/a.git", "branch": "main", "hash": "abcd",
        "project_directory": "sub", "job_name": "Unit",
        "config": {"commands": ["true"], "atomizers": [{"X": "seq 3"}]},
        "atoms_override": ["export X=\"1\";"],
        "remote_files": {"data": "http://127.0.0.1/data"},
    });
    assert_eq!(master.script().submitted, [expected]);
    user.run_at(&master, &["build", "project", "--config", "{"])
        .expect_code(2)
        .expect(
            &[],
            &["error: --config is no JSON", "hint: a job looks like"],
        );
}

#[test]
fn quiet_leaves_the_result_and_verbose_adds_details() {
    let user = User::new();
    let failed = atom_of(0, AtomState::Completed, Some(3));
    let master = FakeMaster::start([finished(2, vec![failed])]);
    let ended = user
        .run_at(&master, &["-q", "build", "project"])
        .expect_code(1);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let expected = [
        "Failed atoms:",
        "  artifact_0_0  exit code 3  TEST=\"test_0\"  clusterrunner logs 1 0_0 -m ",
        "Build 1 failed: 1 of 2 atoms failed, 1 passed in ",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{ended:?}");
    }
    assert_eq!((lines.len(), ended.stderr.as_str()), (3, ""));
    let details = format!("master {}, settings ", master.address);
    user.run_at(&master, &["-v", "build", "project"])
        .expect_code(1)
        .expect(&["Build is running. (Build id: 1)\n"], &[&details]);
}

#[test]
fn a_warning_that_comes_after_the_end_is_told() {
    let user = User::new();
    let warned = BuildView {
        warnings: vec!["teardown_build failed on slave 1".to_owned()],
        ..finished(1, vec![])
    };
    let master = FakeMaster::start([finished(1, vec![]), warned]);
    let ended = user.run_at(&master, BUILD).expect_code(0);
    let told = ended
        .stderr
        .matches("warning: teardown_build failed on slave 1\n");
    assert_eq!(told.count(), 1, "{ended:?}");
}

#[test]
fn a_build_that_waits_says_why() {
    let user = User::new();
    let waits = BuildView {
        details: Some(
            "0 of 2 subjobs are complete (0.0%). It waits: no slave takes work: 1 drained."
                .to_owned(),
        ),
        num_atoms_in_progress: 0,
        ..building(2, 0, 0)
    };
    let master = FakeMaster::start([waits, finished(2, vec![])]);
    user.run_at(&master, BUILD).expect_code(0).expect(
        &[],
        &["0 of 2 atoms done, 0 failed, waiting: no slave takes work: 1 drained ("],
    );
}
