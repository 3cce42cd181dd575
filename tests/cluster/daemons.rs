//! The daemons as processes: what they refuse to start with, and how they stop.

use crate::farm::{Extra, Farm};
use crate::machine::Ended;
use crate::repository::Repository;
use crate::wait::wait_for;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

fn run(mut command: Command, arguments: &[&str]) -> Ended {
    command.args(arguments).output().unwrap().into()
}

#[tokio::test]
async fn a_place_that_is_taken_is_not_taken_again() {
    let farm = Farm::start(&[1]).await;
    let (port, slave_port) = (farm.port().to_string(), farm.slave_port(0).to_string());
    for (arguments, part) in [
        (&["master"][..], port.as_str()),
        (&["master", "--port", "0"], "in use by another master"),
        (&["slave", "--port", &slave_port], &slave_port),
    ] {
        let ended = run(farm.command(), arguments);
        assert_ne!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
    }
    // Those that were there first have not noticed.
    farm.wait_for_slaves(1).await;
}

#[test]
fn wrong_settings_are_named() {
    for (extra, parts) in [
        (
            Extra {
                general: "log_levle = INFO",
                ..Extra::default()
            },
            &["log_levle", "log_level"][..],
        ),
        (
            Extra {
                slave: "num_executors = many",
                ..Extra::default()
            },
            &["num_executors", "many"],
        ),
        (
            Extra {
                general: "https_cert_file = /cert.pem",
                ..Extra::default()
            },
            &["https_cert_file"],
        ),
    ] {
        let farm = Farm::with(&extra);
        let ended = run(farm.command(), &["slave"]);
        assert_ne!(ended.code, Some(0), "{ended:#?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
        }
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let farm = Farm::new();
    let settings = farm.path("base/clusterrunner.conf");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o644)).unwrap();
    for daemon in ["master", "slave"] {
        let ended = run(farm.command(), &[daemon]);
        assert_ne!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.stderr.contains("600"), "{ended:#?}");
        assert!(!ended.stderr.contains("secret of"), "{ended:#?}");
    }
}

/// A farm that is stopped in mid-build, in any order, ends at once and goes on later.
#[tokio::test]
async fn a_farm_is_stopped_and_started_in_mid_build() {
    for master_first in [true, false] {
        let repository = Repository::empty();
        let log = repository.outside("log");
        let job = format!(
            "Job:\n  commands: [echo \"$N\" >> '{}', sleep 0.1]\n  atomizers: [{{N: seq 1 30}}]\n",
            log.display()
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        let mut farm = Farm::start(&[2]).await;
        let build = farm.submit(&repository.request()).await;
        let client = farm.client();
        wait_for("some atoms have a result", async || {
            let view = client.build(build).await.unwrap();
            (view.num_atoms_completed >= 5).then_some(())
        })
        .await;
        if master_first {
            assert!(farm.stop_master().success());
        }
        assert!(farm.stop_slave(0).success());
        if !master_first {
            assert!(farm.stop_master().success());
        }
        farm.start_master().await;
        farm.restart_slave(0, 2);
        let view = farm.end_of(build).await.passes();
        assert_eq!(view.num_atoms_completed, 30);
        farm.wait_for_rest().await;
    }
}
