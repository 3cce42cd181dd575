//! Processes of apps and single runs on a slave: real processes, and containers where they run.

use crate::fake_master::FakeMaster;
use crate::instance_book::{instance, order};
use crate::instances::containers::{image, podman, settings_of};
use crate::instances::restarts::{SlaveProcess, all_end};
use crate::instances::{Farm, is_keeper, kill, processes};
use crate::test_slave::DEADLINE;
use clusterrunner_common::api::instances::{InstanceOrder, OrderedPurpose};
use clusterrunner_common::process::ports::free_port;
use clusterrunner_common::work::ReportedState;
use std::net::Ipv4Addr;

/// A command as processes of apps have it.
fn bash(text: &str) -> [&str; 3] {
    ["/bin/bash", "-c", text]
}

impl Farm {
    fn app(&self, id: u64, command: &[&str]) -> InstanceOrder {
        InstanceOrder {
            purpose: OrderedPurpose::App,
            ..instance(id, &self.template, command)
        }
    }

    fn run(&self, id: u64, text: &str) -> InstanceOrder {
        InstanceOrder {
            purpose: OrderedPurpose::Run,
            ..instance(id, &self.template, &bash(text))
        }
    }

    /// Waits for the end of a run; returns its code and its output.
    async fn exits(&self, id: u64) -> (i32, String) {
        let (code, printed) = exited(&self.master, id).await;
        (code, self.master.book.prints_bytes(id, 1, printed).await)
    }
}

async fn exited(master: &FakeMaster, id: u64) -> (i32, u64) {
    let exited = |state: &ReportedState| matches!(state, ReportedState::Exited { .. });
    match master.book.stands(id, 1, exited).await {
        ReportedState::Exited { code, printed } => (code, printed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_tells_its_code_and_all_that_it_printed() {
    let farm = Farm::start().await;
    let texts = [
        "echo out; echo err >&2; echo out",
        "echo $GREETING; exit 3",
        "kill -TERM $$; sleep 1000",
        "kill -KILL $$; sleep 1000",
        "sleep 1000 & echo $((6 * 7))",
        "no-such-program",
    ];
    let runs = texts.iter().zip(1..).map(|(text, id)| {
        let mut run = farm.run(id, text);
        let greeting = ("GREETING".to_owned(), "hello".to_owned());
        run.environment.extend([greeting]);
        run
    });
    farm.order(order(1, runs.collect())).await;
    assert_eq!(farm.exits(1).await, (0, "out\nerr\nout\n".to_owned()));
    assert_eq!(farm.exits(2).await, (3, "hello\n".to_owned()));
    assert_eq!(farm.exits(3).await, (128 + 15, String::new()));
    assert_eq!(farm.exits(4).await, (128 + 9, String::new()));
    assert_eq!(farm.exits(5).await, (0, "42\n".to_owned()));
    assert_eq!(farm.exits(6).await.0, 127);
    assert_eq!(processes(&farm.slave.data), [0_u32; 0]);
    farm.ends_all().await;
}

#[tokio::test]
async fn a_run_of_100_mb_arrives_whole() {
    let farm = Farm::start_with(&[("instance_log_buffer_bytes", "65536")]).await;
    let text = "yes 0123456789abcde | head -c 104857600; exit 7";
    farm.order(order(1, vec![farm.run(1, text)])).await;
    assert_eq!(exited(&farm.master, 1).await, (7, 104_857_600));
    let printed = farm.master.book.prints_bytes(1, 1, 104_857_600).await;
    let is_it = |line: &[u8]| line == b"0123456789abcde\n";
    assert!(printed.as_bytes().chunks(16).all(is_it));
    farm.ends_all().await;
}

#[tokio::test]
async fn a_run_is_ended_as_ordered() {
    let farm = Farm::start().await;
    farm.order(order(1, vec![farm.run(1, "echo begun; exec sleep 1000")]))
        .await;
    farm.master.book.prints(1, 1, "begun").await;
    farm.ends_all().await;
}

#[tokio::test]
async fn a_run_is_not_begun_again_when_its_keeper_is_killed() {
    let farm = Farm::start().await;
    farm.order(order(1, vec![farm.run(1, "echo begun; exec sleep 1000")]))
        .await;
    farm.master.book.prints(1, 1, "begun").await;
    let all = processes(&farm.slave.data);
    kill(*all.iter().find(|id| is_keeper(**id)).unwrap());
    let reason = farm.master.book.fails(1, 1).await;
    assert!(reason.contains("was killed"), "{reason}");
    farm.order(order(2, vec![farm.run(1, "echo begun; exec sleep 1000")]))
        .await;
    farm.order(order(
        3,
        vec![farm.run(1, "echo begun"), farm.run(2, "true")],
    ))
    .await;
    exited(&farm.master, 2).await;
    let log = farm.master.book.prints(1, 1, "begun").await;
    assert_eq!(log, "begun\n");
    farm.ends_all().await;
}

/// What becomes of a run whose slave is killed, and is started again when the run has ended.
async fn run_without_slave(alone_for: u32, is_keeper_heard: bool) -> ReportedState {
    let master = FakeMaster::start().await;
    let base = tempfile::tempdir().unwrap();
    let port = free_port(Ipv4Addr::LOCALHOST.into(), 20_000).unwrap();
    let template = master.book.template(
        &base.path().join("t"),
        "0123456789abcdef",
        &[("source/a", "")],
    );
    let end = base.path().join("end");
    let text = format!(
        "echo begun; while ! [ -e {} ]; do sleep 0.01; done; exit 5",
        end.display()
    );
    let run = InstanceOrder {
        purpose: OrderedPurpose::Run,
        ..instance(1, &template, &bash(&text))
    };
    let slave = SlaveProcess::start(&master, base, port, alone_for);
    master.book.reports(|_| true).await;
    slave.order(order(1, vec![run.clone()])).await;
    master.book.prints(1, 1, "begun").await;
    let data = slave.data();
    let (base, port) = slave.kill();
    std::fs::write(&end, "").unwrap();
    if !is_keeper_heard {
        all_end(&data).await;
    }
    let slave = SlaveProcess::start(&master, base, port, alone_for);
    // The same order comes again.
    let over = |state: &ReportedState| {
        matches!(
            state,
            ReportedState::Exited { .. } | ReportedState::Failed { .. }
        )
    };
    let state = master.book.stands(1, 1, over).await;
    slave.order(order(2, vec![run])).await;
    let log = master.book.prints(1, 1, "begun").await;
    assert_eq!(log.matches("begun").count(), 1, "it ran once");
    slave.order(order(3, Vec::new())).await;
    // When the master knows it and does not want it any more, nothing is left of it.
    let notes = data.join("instances/runs");
    let all_gone = async {
        while std::fs::read_dir(&notes).unwrap().next().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all_gone).await.unwrap();
    slave.kill();
    state
}

#[tokio::test]
async fn a_slave_that_is_killed_knows_how_its_runs_ended() {
    let exited = ReportedState::Exited {
        code: 5,
        printed: 6,
    };
    assert_eq!(run_without_slave(60, true).await, exited);
}

#[tokio::test]
async fn a_slave_that_was_away_for_long_reads_how_its_runs_ended() {
    let exited = ReportedState::Exited {
        code: 5,
        printed: 6,
    };
    assert_eq!(run_without_slave(2, false).await, exited);
}

#[tokio::test]
async fn a_process_without_a_port_settles() {
    let farm = Farm::start().await;
    let mut settles = farm.app(1, &bash("echo works; exec sleep 1000"));
    settles.settles_after_ms = Some(10);
    let mut dies = farm.app(2, &bash("exit 1"));
    dies.settles_after_ms = Some(100_000);
    let mut answers = farm.app(3, &bash("exec python3 serve.py"));
    answers.settles_after_ms = Some(100_000);
    farm.order(order(1, vec![settles, dies, answers])).await;
    farm.master.book.is_up(1, 1).await;
    farm.master.book.is_up(3, 1).await;
    let crashed = |state: &ReportedState| matches!(state, ReportedState::Crashed { .. });
    farm.master.book.stands(2, 1, crashed).await;
    farm.ends_all().await;
}

#[tokio::test]
async fn a_process_of_an_app_is_started_again_without_end() {
    let farm = Farm::start_with(&[("instance_restarts", "1")]).await;
    let fails = farm.app(1, &bash("echo again; exit 4"));
    farm.order(order(1, vec![fails])).await;
    // Only two starts more would be given to what somebody launches.
    let third = |report: &clusterrunner_common::api::instances::InstancesReport| {
        let mut all = report.instances.iter();
        all.any(|one| one.restarts == 2 && matches!(one.state, ReportedState::Crashed { .. }))
    };
    farm.master.book.reports(third).await;
    farm.ends_all().await;
}

#[tokio::test]
async fn an_app_without_a_start_fails_and_says_so() {
    let mut farm = Farm::start().await;
    let path = ("PATH".to_owned(), "/nowhere".to_owned());
    farm.template.description.environment.extend([path]);
    let nothing = farm.app(1, &[]);
    farm.template.description.command = vec!["./serve.sh".to_owned()];
    let no_program = farm.app(2, &[]);
    farm.order(order(1, vec![nothing, no_program])).await;
    let reason = farm.master.book.fails(1, 1).await;
    assert!(reason.contains("names nothing to start"), "{reason}");
    let reason = farm.master.book.fails(2, 1).await;
    assert!(
        reason.contains("there is no program \"./serve.sh\""),
        "{reason}"
    );
    farm.ends_all().await;
}

#[tokio::test]
async fn a_process_of_an_app_sees_its_configuration_alone() {
    let farm = Farm::start().await;
    let mut app = farm.app(1, &bash("env; exec python3 serve.py"));
    app.environment
        .insert("DEIS_APP".to_owned(), "an-app".to_owned());
    app.cpu_shares = Some(512);
    app.max_memory_bytes = Some(200 << 20);
    farm.order(order(1, vec![app])).await;
    let port = farm.master.book.is_up(1, 1).await;
    let log = farm.master.book.prints(1, 1, "DEIS_APP=an-app\n").await;
    assert!(log.contains(&format!("PORT={port}\n")), "{log}");
    for none in ["BINDER_", "BASE_URL", "CLUSTERRUNNER_SECRET"] {
        assert!(!log.contains(none), "{log}");
    }
    farm.ends_all().await;
}

#[tokio::test]
async fn an_order_without_a_template_or_with_no_reference_fails() {
    let farm = Farm::start().await;
    let mut nothing = farm.app(1, &[]);
    nothing.snapshot = None;
    let mut option = nothing.clone();
    option.id.0 = 2;
    option.image = Some("--privileged".to_owned());
    let mut no_runtime = nothing.clone();
    no_runtime.id.0 = 3;
    no_runtime.image = Some("registry.example/web:1".to_owned());
    farm.order(order(1, vec![nothing, option, no_runtime]))
        .await;
    for (id, expected) in [
        (1, "neither a template nor an image"),
        (2, "no reference"),
        (3, "can not run images"),
    ] {
        let reason = farm.master.book.fails(id, 1).await;
        assert!(reason.contains(expected), "{reason}");
    }
    farm.ends_all().await;
}

#[tokio::test]
async fn an_image_by_reference_is_an_app_and_a_run() {
    let directory = tempfile::tempdir().unwrap();
    if image(directory.path()).is_none() {
        eprintln!("SKIPPED: no image can be built on this machine");
        return;
    }
    let (_, flags) = podman(directory.path());
    let farm = Farm::start_with(&settings_of(&flags)).await;
    let by_reference = |mut order: InstanceOrder, image: &str| {
        order.snapshot = None;
        order.image = Some(image.to_owned());
        order
    };
    let reference = "localhost/web:1";
    let orders = vec![
        by_reference(farm.app(1, &[]), reference),
        by_reference(farm.run(2, "cat index.html; echo $0; exit 9"), reference),
        by_reference(farm.run(3, "true"), "localhost/no-such-image:1"),
    ];
    farm.order(order(1, orders)).await;
    let port = farm.master.book.is_up(1, 1).await;
    let answer = crate::instances::get(port, "/index.html").await;
    assert_eq!(answer, "hello\n");
    let (code, printed) = farm.exits(2).await;
    assert_eq!((code, printed.as_str()), (9, "hello\n/bin/sh\n"));
    let reason = farm.master.book.fails(3, 1).await;
    assert!(reason.contains("could not pull the image"), "{reason}");
    farm.ends_all().await;
    let left = podman(directory.path())
        .0
        .args(["ps", "--all", "--quiet"])
        .output();
    assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "");
}
