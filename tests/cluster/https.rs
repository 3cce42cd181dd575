//! Farms that speak HTTPS, with certificates that the `openssl` program makes.

use crate::farm::{Extra, Farm};
use crate::instances::WEB;
use crate::machine::Machine;
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::launching::{BuildTemplate, InstanceStatus, LaunchInstance};
use clusterrunner_common::api::{BuildResult, BuildStatus};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes a self-signed certificate for an address; its file and its key's.
pub(crate) fn certificate(directory: &Path, name: &str, address: &str) -> (PathBuf, PathBuf) {
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

#[tokio::test]
async fn the_authorities_of_the_system_are_for_https_alone() {
    let (mut plain, mut secure) = (Farm::new(), Farm::new());
    let (pem, key) = certificate(&secure.path(""), "farm", secure.address());
    secure.secure(&pem, &key);
    plain.start_master().await;
    secure.start_master().await;
    let settings = plain.path("bare.conf");
    fs::write(&settings, "[general]\n").unwrap();
    let status = |farm: &Farm, scheme: &str, authorities: &Path| {
        let mut command = farm.command();
        let master = format!("{scheme}://{}", farm.master_address());
        command.args(["status", "--patience", "0", "--master-url", &master]);
        command.arg("--config-file").arg(&settings);
        let command = command
            .env("SSL_CERT_FILE", authorities)
            .env("SSL_CERT_DIR", "/nonexistent");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let nobody = Path::new("/nonexistent");
    assert_eq!(status(&plain, "http", nobody), (Some(0), String::new()));
    let (code, text) = status(&secure, "https", nobody);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("no secure connection"), "{text}");
    let (code, text) = status(&secure, "https", &pem);
    assert_eq!(code, Some(0), "{text}");
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

/// Asks an instance for a page and for an echo by a web socket, over TLS.
const ASKS: &str = r#"
import socket, ssl, sys
host, port, path = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(path, headers):
    stream = context.wrap_socket(socket.create_connection((host, int(port))))
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n".encode())
    return stream
page, answer = ask(path + "a", "Connection: close\r\n"), b""
while piece := page.recv(4096):
    answer += piece
print(answer.split()[1].decode(), answer.split(b"\r\n\r\n")[-1].split()[-1].decode())
key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
web, head = ask(path + "b", "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key), b""
while b"\r\n\r\n" not in head:
    head += web.recv(1)
mask, text = b"abcd", b"hello"
web.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
print(head.split()[1].decode(), web.recv(100)[2:].decode())
"#;

#[tokio::test]
async fn an_instance_is_reached_over_https() {
    let mut farm = Farm::with(&Extra {
        master: "allow_local_sources = True\n",
        slave: "allow_local_sources = True\n",
        ..Extra::default()
    });
    let (pem, key) = certificate(&farm.path(""), "farm", farm.address());
    farm.secure(&pem, &key);
    farm.start_all(&[1]).await;
    let project = Repository::empty();
    project.commit(&[("Procfile", "web: exec python3 web.py\n"), ("web.py", WEB)]);
    let client = farm.client();
    let request = BuildTemplate {
        repository: project.path().display().to_string(),
        branch: None,
        commit: None,
        force: false,
    };
    let accepted = client.build_template(&request).await.unwrap();
    farm.end_of(accepted.build_id).await.passes();
    let launch = LaunchInstance {
        template: accepted.name,
        command: Vec::new(),
        environment: BTreeMap::new(),
        max_memory_bytes: None,
        cull_after: None,
    };
    let launched = client.launch(&launch).await.unwrap();
    let path = format!("{}/", launched.path);
    wait_for("the instance is up", async || {
        let instance = client.instance(launched.id).await.unwrap();
        (instance.status == InstanceStatus::Up).then_some(())
    })
    .await;
    let master = farm.master_address();
    let (host, port) = master.rsplit_once(':').unwrap();
    let asked = Command::new("python3")
        .args(["-c", ASKS, host, port, &path])
        .output();
    let asked = asked.unwrap();
    let printed = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(printed, "200 /a\n101 hello\n", "{asked:?}");
}
