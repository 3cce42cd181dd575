//! Builds: set-up, subjobs, results, tear-down.

use crate::fake_master::{AHEAD_MS, FakeMaster, Heard};
use crate::test_slave::{DEADLINE, TestSlave, job, marked_processes, text_of};
use clusterrunner_common::api::{ConsoleBody, RunningAtom, SlaveState};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};

#[tokio::test]
async fn a_build_goes_from_set_up_to_idle() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    let setup = "echo $PROJECT_DIR > set_up; pwd >> set_up";
    slave
        .set_up(7, job(Some(setup), Some("rm set_up; touch torn_down")))
        .await;
    master.hears_state(SlaveState::SetupComplete, 7).await;
    let project = slave.project.display().to_string();
    let written = std::fs::read_to_string(slave.project.join("set_up")).unwrap();
    assert_eq!(written, format!("{project}\n{project}\n"));

    let first = "export X=\"a'b \\$c ü\"; echo \"$X\"; echo data > $ARTIFACT_DIR/data; \
                 mkdir $ARTIFACT_DIR/deep; ln -s ../data $ARTIFACT_DIR/deep/link; \
                 mkfifo $ARTIFACT_DIR/pipe; echo oops >&2";
    let second = "echo $PROJECT_DIR $ARTIFACT_DIR $ATOM_ID $EXECUTOR_INDEX $MACHINE_EXECUTOR_INDEX \
                  $BUILD_EXECUTOR_INDEX; exit 3";
    let accepted = slave.start_subjob(7, 4, 1, &[first, second]).await.unwrap();
    assert_eq!(
        accepted,
        serde_json::json!({"status": "SUCCESS", "executor_id": 0})
    );
    let result = master.hears_result(1).await;
    assert_eq!((result.build, result.subjob), (7, 4));
    assert_eq!(result.slave_id, SlaveId(1));
    assert_eq!(result.attempt, Attempt(1));
    assert_eq!(result.session_id, slave.status().await.slave.session_id);

    let mut names: Vec<_> = result.members.keys().map(String::as_str).collect();
    names.retain(|name| !name.contains("/clusterrunner_"));
    let expected = [
        "artifact_4_0/",
        "artifact_4_0/data",
        "artifact_4_0/deep/",
        "artifact_4_0/deep/link",
        "artifact_4_1/",
    ];
    assert_eq!(names, expected);
    assert_eq!(result.text("artifact_4_0/deep/link"), "-> ../data");
    let console =
        |atom: u32| result.text(&format!("artifact_4_{atom}/clusterrunner_console_output"));
    assert_eq!(console(0), "a'b $c ü\noops\n");
    let artifacts = slave.data.join("artifacts/executor_0_2");
    assert_eq!(
        console(1),
        format!("{project} {} 1 0 0 5\n", artifacts.display())
    );
    assert_eq!(
        result.text("artifact_4_0/clusterrunner_command"),
        format!("{first}\n")
    );
    assert_eq!(result.text("artifact_4_0/clusterrunner_exit_code"), "0\n");
    assert_eq!(result.text("artifact_4_1/clusterrunner_exit_code"), "3\n");
    let time = result.text("artifact_4_0/clusterrunner_time");
    assert_eq!(
        time.trim_end().rsplit_once('.').unwrap().1.len(),
        2,
        "{time}"
    );

    slave.tear_down(7).await;
    master.hears_state(SlaveState::Idle, 7).await;
    assert!(!slave.artifacts(7).exists());
    assert!(slave.project.join("torn_down").exists());
    assert!(!slave.project.join("set_up").exists());
    slave.end().await;
}

#[tokio::test]
async fn console_output_is_there_while_an_atom_runs_and_after() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    let atom = "printf 'one\\ntwo\\nrest'; echo go > going; until [ -e done ]; do :; done";
    slave.start_subjob(1, 0, 1, &[atom]).await.unwrap();
    text_of(slave.project.join("going")).await;
    let url = slave.url("/v1/build/1/subjob/0/atom/0/console");
    // What was printed is on its way to the console, which shows whole lines alone.
    let two_lines = async {
        loop {
            let running: ConsoleBody = slave.caller.get(&url).await.unwrap();
            let seen = (running.content.as_str(), running.total_num_lines);
            match seen {
                ("", 0) | ("one\n", 1) => tokio::task::yield_now().await,
                seen => return assert_eq!(seen, ("one\ntwo\n", 2)),
            }
        }
    };
    tokio::time::timeout(DEADLINE, two_lines).await.unwrap();
    std::fs::write(slave.project.join("done"), "").unwrap();
    master.hears_result(1).await;
    let url = format!("{url}?max_lines=1&offset_line=2");
    let answer = slave.caller.get_stream(&url).await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let ended: ConsoleBody = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!((ended.content.as_str(), ended.total_num_lines), ("rest", 3));
    for (path, status) in [
        ("0/atom/1/console", 404),
        ("0/atom/x/console", 404),
        ("0/atom/0/console?max_lines=0", 400),
        ("0/atom/0/console?max_lines=x", 400),
        ("0/atom/0/console?offset_line=-1", 400),
        ("0/atom/0/console?offset_line=9", 400),
    ] {
        let url = slave.url(&format!("/v1/build/1/subjob/{path}"));
        let error = slave.caller.get::<ConsoleBody>(&url).await.unwrap_err();
        assert_eq!(error.status().unwrap().as_u16(), status, "{path}: {error}");
    }
    slave.end().await;
}

#[tokio::test]
async fn a_failed_set_up_says_why() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let setup = "echo cannot go on; exit 4";
    slave
        .set_up(1, job(Some(setup), Some("touch torn_down")))
        .await;
    let reason = master
        .hears_state(SlaveState::SetupFailed, 1)
        .await
        .unwrap();
    assert_eq!(
        reason,
        "setup_build exited with 4; its output ended with:\ncannot go on"
    );
    let torn_down = slave.project.join("torn_down");
    slave.shows(|_| torn_down.exists()).await;

    let mut body = slave.setup_body(job(None, None));
    body["project_type_params"]["project_directory"] = "/not/there".into();
    slave.send("/v1/build/2/setup", &body).await.unwrap();
    let reason = master
        .hears_state(SlaveState::SetupFailed, 2)
        .await
        .unwrap();
    assert!(
        reason.starts_with("Could not find the directory \"/not/there\" on "),
        "{reason}"
    );
    slave.tear_down(2).await;
    master.hears_state(SlaveState::Idle, 2).await;
    slave.end().await;
}

#[tokio::test]
async fn a_result_is_delivered_once_whatever_the_master_answers() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    master
        .manners
        .lock()
        .unwrap()
        .result_statuses
        .extend([500, 401, 200, 409]);
    slave.set_up(1, job(None, None)).await;
    slave.start_subjob(1, 0, 1, &["echo zero"]).await.unwrap();
    let last = master.hears_result(3).await;
    assert_eq!(
        last.text("artifact_0_0/clusterrunner_console_output"),
        "zero\n"
    );
    // Larger than what is sent from memory.
    let large = "head -c 3000000 /dev/urandom > $ARTIFACT_DIR/large";
    slave.start_subjob(1, 1, 1, &[large]).await.unwrap();
    let dropped = master.hears_result(4).await;
    assert_eq!(
        (dropped.subjob, dropped.members["artifact_1_0/large"].len()),
        (1, 3_000_000)
    );
    slave.start_subjob(1, 2, 1, &["true"]).await.unwrap();
    master.hears_result(5).await;
    let subjobs: Vec<u32> = master
        .results()
        .iter()
        .map(|result| result.subjob)
        .collect();
    assert_eq!(subjobs, [0, 0, 0, 1, 2]);
    let waiting = slave.data.join("results/1");
    slave
        .shows(|_| waiting.read_dir().unwrap().next().is_none())
        .await;
    slave.end().await;
}

#[tokio::test]
async fn a_result_that_the_master_rejects_gives_the_build_back() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    master
        .manners
        .lock()
        .unwrap()
        .result_statuses
        .push_back(413);
    slave.set_up(1, job(None, None)).await;
    slave.start_subjob(1, 0, 1, &["true"]).await.unwrap();
    let reason = master
        .hears_state(SlaveState::SetupFailed, 1)
        .await
        .unwrap();
    assert!(reason.contains("can not be delivered"), "{reason}");
    slave.end().await;
}

#[tokio::test]
async fn a_tear_down_ends_everything_that_runs() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    // One child ignores us in a session of its own, another one was left behind by an atom.
    let background = "setsid sleep 60 & echo left > $PROJECT_DIR/left";
    let stubborn = "trap '' TERM; setsid bash -c 'trap \"\" TERM; echo there > there; sleep 60' & \
                    sleep 60; sleep 60";
    slave
        .start_subjob(1, 0, 1, &[background, stubborn])
        .await
        .unwrap();
    slave.start_subjob(1, 1, 1, &["true"]).await.unwrap();
    text_of(slave.project.join("there")).await;
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    assert!(marked_processes(&slave.data).is_empty());
    assert!(master.results().is_empty());
    slave.end().await;
}

#[tokio::test]
async fn a_newer_attempt_takes_the_place_of_an_older_one() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    let old = "echo old > $ARTIFACT_DIR/old; echo there > there; sleep 60";
    slave.start_subjob(1, 0, 1, &[old]).await.unwrap();
    text_of(slave.project.join("there")).await;
    slave.start_subjob(1, 0, 2, &["echo new"]).await.unwrap();
    let error = slave.start_subjob(1, 0, 1, &[old]).await.unwrap_err();
    assert_eq!(error.status().unwrap().as_u16(), 409);
    let result = master.hears_result(1).await;
    assert_eq!(result.attempt, Attempt(2));
    assert!(!result.members.contains_key("artifact_0_0/old"));
    slave.end().await;
}

#[tokio::test]
async fn builds_share_the_executors_of_a_slave() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    for build in [1, 2] {
        slave.set_up(build, job(None, None)).await;
        master.hears_state(SlaveState::SetupComplete, build).await;
    }
    // Each waits for the other, so they must run at the same time.
    let atom = |own: &str, other: &str| format!("touch {own}; until [ -e {other} ]; do :; done");
    slave
        .start_subjob(1, 0, 1, &[&atom("a", "b")])
        .await
        .unwrap();
    slave
        .start_subjob(2, 0, 1, &[&atom("b", "a")])
        .await
        .unwrap();
    master.hears_result(2).await;
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    slave.start_subjob(2, 1, 1, &["true"]).await.unwrap();
    master.hears_result(3).await;
    slave.end().await;
}

#[tokio::test]
async fn trouble_of_the_slave_is_no_result() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    master.hears_state(SlaveState::SetupComplete, 1).await;
    std::fs::remove_dir(&slave.project).unwrap();
    slave.start_subjob(1, 0, 1, &["true"]).await.unwrap();
    let reason = master
        .hears_state(SlaveState::SetupFailed, 1)
        .await
        .unwrap();
    assert_eq!(reason, "the project's directory is gone");
    assert!(
        !master
            .heard()
            .iter()
            .any(|heard| matches!(heard, Heard::Result(_)))
    );
    slave.end().await;
}

#[tokio::test]
async fn the_master_hears_when_each_atom_started() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    slave.set_up(1, job(None, None)).await;
    let begun = Timestamp::now();
    let commands = ["true", "until [ -e go ]; do sleep 0.02; done", "true"];
    slave.start_subjob(1, 4, 3, &commands).await.unwrap();
    let running = |heard: &Heard| matches!(heard, Heard::Running(_));
    let Heard::Running(running) = master.hears(running).await else {
        unreachable!("it was looked for");
    };
    let told = Timestamp::now();
    let [atom] = running[..] else {
        panic!("{running:?}");
    };
    let expected = RunningAtom {
        build_id: BuildId(1),
        subjob_id: SubjobId(4),
        attempt: Attempt(3),
        atom_id: AtomId(1),
        executor_id: atom.executor_id,
        started_at_ms: atom.started_at_ms,
    };
    assert_eq!(atom, expected);
    // By the master's clock; the slave knows that to half of the time of a call.
    let here = atom.started_at_ms.0 - AHEAD_MS;
    assert!(
        (begun.0 - 500..=told.0 + 500).contains(&here),
        "{begun:?} {here} {told:?}"
    );
    std::fs::write(slave.project.join("go"), "").unwrap();
    let result = master.hears_result(1).await;
    assert_eq!(result.starts.len(), 3);
    assert!(result.starts.is_sorted() && result.starts[1].0.abs_diff(atom.started_at_ms.0) <= 1000);
    slave.end().await;
}
