//! Farms over HTTPS with certificates that `clusterrunner tls init` makes: from the first to the renewed one.

use crate::farm::Farm;
use crate::gate::Gate;
use crate::machine::{Ended, Machine};
use crate::ports::free_ports;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::tls::authority::{Authority, Term};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Runs a command on a farm's machine.
fn run(farm: &Farm, arguments: &[&str]) -> Ended {
    farm.command().args(arguments).output().unwrap().into()
}

/// Makes certificates in `base/tls`.
fn init(farm: &Farm, arguments: &[&str]) -> Ended {
    let ended = run(farm, &[&["tls", "init"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended
}

fn file(farm: &Farm, name: &str) -> PathBuf {
    farm.path("base/tls").join(name)
}

/// A farm whose daemons have a certificate for this name.
fn farm_called(name: impl FnOnce(&Farm) -> String) -> Farm {
    let mut farm = Farm::new();
    let name = name(&farm);
    init(&farm, &["--name", &name]);
    let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
    farm.secure_with(
        &file(&farm, &pem),
        &file(&farm, &key),
        &file(&farm, "ca.pem"),
    );
    farm
}

/// A farm whose certificate is as it should be.
fn farm() -> Farm {
    farm_called(|farm| farm.address().to_owned())
}

/// `clusterrunner status` by somebody whose settings have these lines below [general].
fn status(farm: &Farm, settings: &str) -> Ended {
    let path = farm.path("somebody.conf");
    fs::write(&path, format!("[general]\n{settings}")).unwrap();
    let master = format!("https://{}", farm.master_address());
    let file = path.to_str().unwrap();
    run(
        farm,
        &[
            "status",
            "--patience",
            "0",
            "--master-url",
            &master,
            "--config-file",
            file,
        ],
    )
}

/// The certificate that a port shows.
fn shown(farm: &Farm, address: &str) -> Option<String> {
    const ASK: &str =
        "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))";
    let (host, port) = address.rsplit_once(':').unwrap();
    let asked = Command::new("python3")
        .args(["-c", ASK, host, port])
        .current_dir(farm.path(""))
        .output()
        .unwrap();
    asked
        .status
        .success()
        .then(|| plain(&String::from_utf8(asked.stdout).unwrap()))
}

/// The certificate in a file.
fn written(farm: &Farm) -> String {
    let name = format!("{}.pem", farm.address());
    plain(&fs::read_to_string(file(farm, &name)).unwrap())
}

fn plain(pem: &str) -> String {
    pem.split_whitespace().collect()
}

async fn wait_until_shown(farm: &Farm, address: &str) {
    wait_for("the port shows the certificate of the file", async || {
        (shown(farm, address)? == written(farm)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_command_makes_a_farm_that_speaks_https() {
    let mut farm = farm();
    let key = file(&farm, &format!("{}.key", farm.address()));
    for key in [key, file(&farm, "ca.key")] {
        assert_eq!(
            fs::metadata(key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let repository = Repository::empty();
    repository.commit(&[(
        "clusterrunner.yaml",
        "Job:\n  commands: [echo atom $N]\n  atomizers: [{N: seq 1 3}]\n",
    )]);
    farm.start_all(&[2]).await;
    farm.run(&repository.request()).await.passes();
    farm.wait_for_rest().await;

    // Another run changes nothing but what is new, and says what is to be done with that.
    let (before, authority) = (written(&farm), fs::read(file(&farm, "ca.pem")).unwrap());
    let said = init(
        &farm,
        &[
            "--name",
            farm.address(),
            "--name",
            "farm-2.example.org,10.0.0.2",
        ],
    );
    assert_eq!(written(&farm), before);
    assert_eq!(fs::read(file(&farm, "ca.pem")).unwrap(), authority);
    for line in [
        "https_cert_file = /etc/clusterrunner/farm-2.example.org.pem",
        "https_key_file = /etc/clusterrunner/farm-2.example.org.key",
        "https_ca_file = /etc/clusterrunner/ca.pem",
    ] {
        assert!(said.stdout.contains(line), "no {line:?} in: {said:#?}");
    }
    let shown = run(&farm, &["tls", "show"]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    for word in [
        "https_cert_file",
        "farm-2.example.org, 10.0.0.2",
        "valid",
        "ca.pem",
    ] {
        assert!(shown.stdout.contains(word), "no {word:?} in: {shown:#?}");
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_while_a_build_runs() {
    let mut farm = farm();
    let gate = Gate::new(3);
    farm.start_all(&[3]).await;
    let build = farm.submit(&gate.request()).await;
    gate.wait_for_runs(3).await;
    let (master, slave) = (farm.master_address(), farm.slave_address(0));
    wait_until_shown(&farm, &master).await;
    let (first, name) = (written(&farm), farm.address().to_owned());

    // The slave sees it by itself.
    init(&farm, &["--renew", "--name", &name]);
    assert_ne!(written(&farm), first);
    processes::signal(farm.master_process(), Signal::HUP);
    wait_until_shown(&farm, &master).await;
    wait_until_shown(&farm, &slave).await;

    // What makes no sense is told, and changes nothing.
    let second = written(&farm);
    fs::write(file(&farm, &format!("{name}.pem")), "half of it").unwrap();
    processes::signal(farm.master_process(), Signal::HUP);
    wait_for("the master says what is wrong", async || {
        let said = farm.output("master");
        (said.contains("https_cert_file") && said.contains("those of before")).then_some(())
    })
    .await;
    assert_eq!(shown(&farm, &master).as_deref(), Some(second.as_str()));
    init(&farm, &["--name", &name]);
    wait_until_shown(&farm, &master).await;

    gate.open();
    farm.end_of(build).await.passes();
    assert!(gate.ran_once());
    farm.wait_for_rest().await;
    for daemon in ["master", "slave 0"] {
        let said = farm.output(daemon);
        assert!(!said.contains("no secure connection"), "{said}");
    }
}

/// The first bit of the signals that a process has something to do at.
fn listens_for_hangups(process: u32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))?;
    let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
    Some(caught & 1 == 1)
}

#[tokio::test]
async fn a_hangup_before_the_door_is_open_ends_nobody() {
    let mut farm = farm();
    farm.start_master_unseen();
    let master = farm.master_process();
    wait_for("SIGHUP is no end any more", async || {
        listens_for_hangups(master)?.then_some(())
    })
    .await;
    processes::signal(master, Signal::HUP);
    wait_until_shown(&farm, &farm.master_address()).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_with_the_cure() {
    // By a name that it does not have.
    let mut named = farm_called(|_| "farm-1".to_owned());
    named.start_master_unseen();
    let trusting = |farm: &Farm| format!("https_ca_file = {}\n", file(farm, "ca.pem").display());
    wait_for("the command says that the name is wrong", async || {
        let ended = status(&named, &trusting(&named));
        ended.stderr.contains("tls init --name").then_some(())
    })
    .await;

    // One that has ended, which daemons say too.
    let mut late = farm();
    let text = |name: &str| fs::read_to_string(file(&late, name)).unwrap();
    let authority = Authority::read(&text("ca.pem"), &text("ca.key")).unwrap();
    let (name, now) = (late.address().to_owned(), Timestamp::now().0);
    let term = Term {
        from: Timestamp(now - 7_200_000),
        until: Timestamp(now - 3_600_000),
    };
    let host = name.parse().unwrap();
    let key = text(&format!("{name}.key"));
    let ended = authority.certify(&key, &[host], [1; 16], term).unwrap();
    fs::write(file(&late, &format!("{name}.pem")), ended).unwrap();
    late.start_master_unseen();
    wait_for(
        "the command says that the certificate has ended",
        async || {
            let ended = status(&late, &trusting(&late));
            ended.stderr.contains("Renew the certificate").then_some(())
        },
    )
    .await;
    wait_for("the master says so too", async || {
        late.output("master").contains("has ended").then_some(())
    })
    .await;
    for arguments in [&["tls", "show"][..], &["doctor"]] {
        let told = run(&late, arguments);
        assert_eq!(told.code, Some(1), "{told:#?}");
        assert!(told.stdout.contains("has ended"), "{told:#?}");
    }
    init(&late, &["--name", &name]);
    wait_for("the renewed one is taken", async || {
        (status(&late, &trusting(&late)).code == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_callers_with_a_certificate_are_heard_where_the_settings_say_so() {
    let mut farm = farm();
    let authority = file(&farm, "ca.pem").display().to_string();
    let settings = farm.path("base/clusterrunner.conf");
    let text = fs::read_to_string(&settings).unwrap();
    let guard = format!("https_client_ca_file = {authority}\n[master]\n");
    fs::write(settings, text.replacen("[master]\n", &guard, 1)).unwrap();
    farm.start_all(&[2]).await;
    let repository = Repository::empty();
    repository.commit(&[(
        "clusterrunner.yaml",
        "Job:\n  commands: ['true']\n  atomizers: [{N: seq 1 3}]\n",
    )]);
    farm.run(&repository.request()).await.passes();
    farm.wait_for_rest().await;

    let trusting = format!("https_ca_file = {authority}\n");
    let stranger = status(&farm, &trusting);
    assert_eq!(stranger.code, Some(5), "{stranger:#?}");
    assert!(
        stranger.stderr.contains("https_client_cert_file"),
        "{stranger:#?}"
    );
    init(&farm, &["--person", "alice"]);
    let shows = |directory: &str| {
        let file = |ending| {
            farm.path(directory)
                .join(format!("alice.{ending}"))
                .display()
                .to_string()
        };
        format!(
            "{trusting}https_client_cert_file = {}\nhttps_client_key_file = {}\n",
            file("pem"),
            file("key")
        )
    };
    let alice = status(&farm, &shows("base/tls"));
    assert_eq!(alice.code, Some(0), "{alice:#?}");
    let elsewhere = farm.path("elsewhere");
    init(
        &farm,
        &[
            "--person",
            "alice",
            "--directory",
            elsewhere.to_str().unwrap(),
        ],
    );
    let other = status(&farm, &shows("elsewhere"));
    assert_eq!(other.code, Some(5), "{other:#?}");
    assert!(other.stderr.contains("https_client_ca_file"), "{other:#?}");
}

#[test]
fn deploy_brings_certificates_along_but_not_the_authoritys_key() {
    let machine = Machine::new("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
    machine.run_to(0, &["tls", "init"]);
    let port = free_ports("127.0.0.1", 2);
    let (port, slave_port) = (port.to_string(), (port + 1).to_string());
    let authority = machine.path("base/tls/ca.pem");
    let settings = machine.path("base/clusterrunner.conf");
    let text = format!(
        "[general]\nsecret = 'a secret of one machine'\nbind_address = 127.0.0.1\nhttps_ca_file = {}\n\
         [master]\nssh_port = OFF\n",
        authority.display()
    );
    fs::write(&settings, text).unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    let there = machine.path("base/deployed");
    let directory = there.to_str().unwrap();
    let deployed = machine.run_to(
        0,
        &[
            "deploy",
            "--master",
            "localhost",
            "--slaves",
            "localhost",
            "--master-port",
            &port,
            "--slave-port",
            &slave_port,
            "--remote-directory",
            directory,
        ],
    );
    assert!(deployed.stdout.contains("running"), "{deployed:#?}");
    let mut files: Vec<_> = fs::read_dir(there.join("tls"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["ca.pem", "machine.key", "machine.pem"]);
    let key = fs::metadata(there.join("tls/machine.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let master = format!("https://localhost:{port}");
    machine.run_to(0, &["status", "--master-url", &master]);
    let stopped = machine
        .command(&["stop"])
        .env("CLUSTERRUNNER_BASE_DIRECTORY", &there)
        .output()
        .unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
}
