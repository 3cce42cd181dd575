//! Farms that speak HTTPS, with certificates that the `openssl` program makes.

use crate::farm::Farm;
use crate::machine::Machine;
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes a self-signed certificate for an address; its file and its key's.
fn certificate(directory: &Path, name: &str, address: &str) -> (PathBuf, PathBuf) {
    let file = |ending| directory.join(format!("{name}.{ending}"));
    let (certificate, key) = (file("pem"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=a test"])
        .arg("-addext")
        .arg(format!("subjectAltName=IP:{address}"))
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    (certificate, key)
}

#[tokio::test]
async fn a_whole_build_runs_over_https() {
    let repository = Repository::empty();
    let job = "Job:\n  commands: [echo atom $N]\n  atomizers: [{N: seq 1 3}]\n";
    repository.commit(&[("clusterrunner.yaml", job)]);
    let mut farm = Farm::new();
    let (pem, key) = certificate(&farm.path(""), "farm", farm.address());
    farm.secure(&pem, &key);
    farm.start_all(&[2]).await;
    assert!(farm.output("master").contains("listens on https://"));
    let build = farm.submit(&repository.request()).await;
    let view = farm.end_of(build).await;
    assert_eq!(
        (view.status, view.result),
        (BuildStatus::Finished, Some(BuildResult::NoFailures))
    );
    farm.wait_for_rest().await;

    // The program itself, with the same settings, with an authority that did not sign, and in the clear.
    let status = |more: &[&str]| {
        let mut command = farm.command();
        let master = format!("https://{}", farm.master_address());
        command.args(["status", "--patience", "0", "--master-url", &master]);
        let output = command.args(more).stdout(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    assert_eq!(status(&[]).0, Some(0), "{:?}", status(&[]));
    let (other, _) = certificate(&farm.path(""), "other", farm.address());
    let settings = farm.path("stranger.conf");
    fs::write(
        &settings,
        format!("[general]\nhttps_ca_file = {}\n", other.display()),
    )
    .unwrap();
    let (code, text) = status(&["--config-file", settings.to_str().unwrap()]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("no secure connection"), "{text}");
    let plain = Raw::json("GET", &farm.master_address(), "/v1", &Value::Null);
    let answer = plain.send(&Vec::new()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("https://"), "{answer:?}");
}

#[tokio::test]
async fn a_slave_does_not_work_for_a_master_that_it_can_not_believe() {
    let mut farm = Farm::new();
    let (pem, key) = certificate(&farm.path(""), "farm", farm.address());
    farm.secure(&pem, &key);
    let (other, _) = certificate(&farm.path(""), "other", farm.address());
    let text = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let ca = format!("https_ca_file = {}", pem.display());
    let doubting = farm.path("base/doubting.conf");
    fs::write(
        &doubting,
        text.replace(&ca, &format!("https_ca_file = {}", other.display())),
    )
    .unwrap();
    fs::set_permissions(&doubting, fs::Permissions::from_mode(0o600)).unwrap();
    farm.start_master().await;
    let slave = farm.start_slave_with(1, &doubting);
    wait_for("the slave says why", async || {
        let said = farm.output(&format!("slave {slave}"));
        said.contains("no secure connection").then_some(())
    })
    .await;
    assert!(farm.client().slaves().await.unwrap().is_empty());
}

#[test]
fn wrong_certificates_end_a_daemon_at_its_start() {
    let mut farm = Farm::new();
    let (pem, key) = certificate(&farm.path(""), "farm", farm.address());
    farm.secure(&pem, &key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for daemon in ["master", "slave"] {
        let mut command = farm.command();
        let output = command.arg(daemon).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("has mode 644"), "{text}");
    }
}

#[test]
fn a_local_farm_speaks_https_where_the_settings_say_so() {
    let machine = Machine::new("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
    let (pem, key) = certificate(&machine.path(""), "local", "127.0.0.1");
    let file = machine.path("base/clusterrunner.conf");
    let text = fs::read_to_string(&file).unwrap();
    let https = format!(
        "[general]\nhttps_cert_file = {}\nhttps_key_file = {}\nhttps_ca_file = SYSTEM\n{text}",
        pem.display(),
        key.display(),
    );
    // The master that is started is not believed, and nothing goes on.
    fs::write(&file, https).unwrap();
    let ended = machine.run_to(5, &["build"]);
    assert!(ended.stderr.contains("https://127.0.0.1:"), "{ended:#?}");
    assert!(ended.stderr.contains("as https_ca_file"), "{ended:#?}");
    // It does not run on with these settings.
    assert!(machine.processes().is_empty());
    let text = fs::read_to_string(&file).unwrap();
    let believed = format!("https_ca_file = {}\n", pem.display());
    fs::write(&file, text.replace("https_ca_file = SYSTEM\n", &believed)).unwrap();
    machine.run_to(0, &["build"]);
    machine.run_to(0, &["status"]);
}
