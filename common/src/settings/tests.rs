//! The settings as programs load them, from real files in temporary directories.

mod defaults;
mod mistakes;
mod secrets;
mod shared;

use super::*;
use crate::disk::retention::{BuildBounds, ProjectBounds};
use crate::http::tls::{Authorities, HttpsSettings, Identity};
use crate::logs::event_log::EventLogTarget;
use crate::logs::logging::LogLevel;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A base directory of its own, so that no settings of this machine are read.
struct Place {
    directory: TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    fn new(file: &str) -> Self {
        let place = Self::empty();
        write(&place.file(), file, 0o600);
        place
    }

    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().display().to_string();
        Self {
            directory,
            environment: BTreeMap::from([("CLUSTERRUNNER_BASE_DIRECTORY".to_owned(), base)]),
        }
    }

    fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment
            .insert(variable.to_owned(), value.to_owned());
        self
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clusterrunner.conf")
    }

    fn environment(&self) -> impl Fn(&str) -> Option<String> {
        |variable| self.environment.get(variable).cloned()
    }

    #[track_caller]
    fn master(&self) -> MasterSettings {
        load_master(None, self.environment(), &Overrides::new()).unwrap()
    }

    #[track_caller]
    fn slave(&self) -> SlaveSettings {
        load_slave(None, self.environment(), &Overrides::new()).unwrap()
    }

    fn error(&self) -> String {
        load_master(None, self.environment(), &Overrides::new())
            .unwrap_err()
            .to_string()
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .unwrap();
    io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.set_permissions(fs::Permissions::from_mode(mode))
        .unwrap();
}

#[test]
fn flags_above_file_above_environment_above_defaults() {
    let set = |place: Place| {
        place
            .with("CLUSTERRUNNER_PORT", "3")
            .with("CLUSTERRUNNER_FETCH_TIMEOUT", "")
    };
    assert_eq!(set(Place::empty()).master().service.port, 3);
    assert_eq!(
        set(Place::empty()).master().service.fetch_timeout,
        Duration::from_secs(30)
    );
    let place = set(Place::new("[general]\nport = 2\n"));
    assert_eq!(place.master().service.port, 2);
    let flags = Overrides::new()
        .set("port", 9)
        .set("port", 1)
        .set_if_given("hostname", None::<&str>);
    let settings = load_master(None, place.environment(), &flags).unwrap();
    assert_eq!(settings.service.port, 1);
    assert!(!settings.general.hostname.is_empty());
    let place = Place::empty().with("CLUSTERRUNNER_SLAVES", "a, b");
    assert_eq!(place.master().general.slaves, ["a", "b"]);
    let place = Place::empty().with("CLUSTERRUNNER_LABELS", "gpu, big");
    assert!(place.slave().labels.iter().eq(["big", "gpu"]));
    let place = Place::new("[slave]\nlabels = rack=2, gpu\n");
    assert!(place.slave().labels.iter().eq(["gpu", "rack=2"]));
}

#[test]
fn a_program_reads_its_own_section_above_general() {
    let place = Place::new(
        "[general]\nport = 1\nlog_filename = 'all # of them'\nnum_executors = 4\n[slave]\nport = 2\nslaves = a, \"b\", # c\n",
    );
    assert_eq!(
        (place.master().service.port, place.slave().service.port),
        (1, 2)
    );
    assert!(place.slave().general.log_file.ends_with("all # of them"));
    assert_eq!(
        (place.slave().num_executors, place.slave().general.slaves),
        (4, vec!["a".to_owned(), "b".to_owned()])
    );
    // The master's log is not the client's.
    let place = Place::new("[master]\nlog_filename = m.log\nport = 7\n");
    let client = load_client(None, place.environment(), &Overrides::new()).unwrap();
    assert_eq!(
        (
            client.port,
            client
                .general
                .log_file
                .ends_with("log/clusterrunner_default.log")
        ),
        (7, true)
    );
}

#[test]
fn paths_and_special_names() {
    let file = "[general]\nbase_directory = ~/cr\nlog_filename = /var/log/x.log\neventlog_filename = STDOUT\n\
                build_symlink_directory = '~'\nlog_level = 'warning'\n";
    let master = Place::new(file).with("HOME", "/home/u").master();
    assert_eq!(master.general.base_directory, Path::new("/home/u/cr"));
    assert_eq!(master.general.log_file, Path::new("/var/log/x.log"));
    assert_eq!(master.general.event_log, EventLogTarget::Stdout);
    assert_eq!(master.build_symlink_directory, Path::new("/home/u"));
    assert_eq!(master.general.log_level, LogLevel::Warning);
    assert!(
        Place::new(file).error().contains("HOME is not set"),
        "{}",
        Place::new(file).error()
    );
}

#[test]
fn local_sources_follow_the_address_unless_said() {
    let allowed = |file: &str| Place::new(file).master().service.allow_local_sources;
    assert!(allowed("[master]\nbind_address = 127.0.0.1\n"));
    assert!(allowed("[general]\nbind_address = ::1\n"));
    assert!(!allowed("[general]\nbind_address = 10.0.0.1\n"));
    assert!(!allowed(
        "[master]\nbind_address = 127.0.0.1\nallow_local_sources = FALSE\n"
    ));
    assert!(allowed("[master]\nallow_local_sources = true\n"));
}

#[test]
fn registration_follows_the_address_unless_said() {
    let registration = |file: &str| Place::new(file).master().registration;
    for (file, expected) in [
        ("[general]\n", Registration::Closed),
        ("[general]\nbind_address = 10.0.0.1\n", Registration::Closed),
        ("[general]\nbind_address = 127.0.0.1\n", Registration::Open),
        ("[general]\nbind_address = ::1\n", Registration::Open),
        (
            "[general]\nbind_address = ::1\n[master]\nregistration = closed\n",
            Registration::Closed,
        ),
        ("[master]\nregistration = Open\n", Registration::Open),
    ] {
        assert_eq!(registration(file), expected, "{file}");
    }
    let wrong = Place::new("[master]\nregistration = yes\n").error();
    assert!(wrong.contains("open or closed"), "{wrong}");
}

#[test]
fn https_is_on_where_a_certificate_or_an_authority_is_named() {
    let https = |file: &str| Place::new(file).master().general.https;
    assert_eq!(https("[general]\n").scheme(), "http");
    let identity = Some(Identity {
        certificate: "/c.pem".into(),
        key: "/k.pem".into(),
    });
    let daemon = https("[master]\nhttps_cert_file = /c.pem\nhttps_key_file = /k.pem\n");
    assert_eq!((daemon.scheme(), daemon.identity), ("https", identity));
    let client = https("[general]\nhttps_ca_file = /ca.pem\n");
    let file = Some(Authorities::File("/ca.pem".into()));
    assert_eq!((client.scheme(), client.authorities), ("https", file));
    let system = https("[general]\nhttps_ca_file = SYSTEM\n");
    assert_eq!(system.authorities, Some(Authorities::System));
    let callers = "[general]\nhttps_client_ca_file = /people.pem\nhttps_client_cert_file = /me.pem\nhttps_client_key_file = /me.key\n";
    let callers = https(callers);
    assert_eq!(callers.client_authorities, Some("/people.pem".into()));
    let me = callers.client_identity.map(|own| own.certificate);
    assert_eq!(me, Some("/me.pem".into()));
    let near = Place::new("[general]\nhttps_ca_file = tls/ca.pem\n");
    let file = near.master().general.https.authorities;
    let beside = near.file().parent().unwrap().join("tls/ca.pem");
    assert_eq!(file, Some(Authorities::File(beside)));
    let half = Place::new("[general]\nhttps_client_cert_file = /me.pem\n").error();
    assert!(half.contains("\"https_client_key_file\" is not"), "{half}");
    let half = Place::new("[slave]\nhttps_cert_file = /c.pem\n");
    assert_eq!(half.master().general.https, HttpsSettings::default());
    let error = load_slave(None, half.environment(), &Overrides::new()).unwrap_err();
    let expected = "\"https_cert_file\" is there but \"https_key_file\" is not";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_read_token_is_as_private_as_the_secret() {
    let place = Place::new("[general]\nread_token = 'a token for reads'\n");
    let master = place.master();
    assert!(master.general.read_token.is_some() && master.general.secret.is_none());
    assert!(!master.service.require_signed_reads);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.error().contains("chmod 600"), "{}", place.error());
}

#[test]
fn slaves_of_one_machine_have_their_own_files() {
    let base = |slave: GeneralSettings| {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let EventLogTarget::File(events) = &slave.event_log else {
            panic!("{slave:?}");
        };
        (name(&slave.log_file), name(events))
    };
    let slave = || Place::empty().slave().general;
    let names = |log: &str, events: &str| (log.to_owned(), events.to_owned());
    assert_eq!(
        base(slave().with_files_of_slave(43001)),
        names("clusterrunner_slave.log", "eventlog_slave.log")
    );
    assert_eq!(
        base(slave().with_files_of_slave(43002)),
        names("clusterrunner_slave_43002.log", "eventlog_slave_43002.log")
    );
}

#[test]
fn the_binder_api_has_a_key_of_the_settings_or_of_the_environment() {
    let key = |place: Place| {
        let key = place.master().binder.api_key;
        key.map(|key| String::from_utf8(key.as_bytes().to_vec()).unwrap())
    };
    let file = "[master]\nbinder_api_key = key of the file\n";
    let outside = |place: Place| place.with("BINDER_API_KEY", "key of the environment");
    assert_eq!(key(Place::empty()), None);
    let found = key(outside(Place::new(file)));
    assert_eq!(found.as_deref(), Some("key of the file"));
    let found = key(outside(Place::empty()));
    assert_eq!(found.as_deref(), Some("key of the environment"));
    let error = Place::empty().with("BINDER_API_KEY", "short").error();
    let named = error.contains("environment variable BINDER_API_KEY");
    assert!(named && !error.contains("\"short\""), "{error}");
}

#[test]
fn launches_without_key_follow_the_address_and_ports_are_a_list() {
    let binder = |file: &str| Place::new(file).master().binder;
    assert!(binder("[general]\nbind_address = 127.0.0.1\n").launch_without_key);
    assert!(binder("[master]\nlaunch_without_key = True\n").launch_without_key);
    let ports = binder("[master]\nbinder_ports = 8082, 8084\n").ports;
    assert_eq!(ports, [8082, 8084]);
    for (wrong, said) in [
        ("8082, 8082", "port 8082 stands there twice"),
        ("8082, x", "expected a list of ports"),
        ("70000", "expected a list of ports"),
    ] {
        let error = Place::new(&format!("[master]\nbinder_ports = {wrong}\n")).error();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_domain_of_apps_is_a_name() {
    let domain = |text: &str| {
        let file = format!("[master]\napp_domain = {text}\n");
        Place::new(&file)
    };
    for (text, expected) in [
        ("apps.example.com", "apps.example.com"),
        ("Apps.Example.com.", "apps.example.com"),
        ("localhost", "localhost"),
    ] {
        let found = domain(text).master().apps.domain;
        assert_eq!(found.as_deref(), Some(expected));
    }
    for wrong in ["10.0.0.1", "[::1]", "a b", "a:80", "http://a", "a..b"] {
        let error = domain(wrong).error();
        assert!(error.contains("the name of a domain"), "{error}");
    }
}

#[test]
fn the_master_may_have_further_names() {
    let names = |text: &str| {
        let file = format!("[master]\nfurther_hostnames = {text}\n");
        Place::new(&file)
    };
    for (text, expected) in [
        ("farm", &["farm"][..]),
        ("CI.example.com., farm", &["ci.example.com", "farm"]),
    ] {
        assert_eq!(names(text).master().apps.further_hostnames, expected);
    }
    let error = names("ci.example.com, 10.0.0.1").error();
    assert!(
        error.contains("a list of names") && error.contains("10.0.0.1"),
        "{error}"
    );
}

#[test]
fn slaves_are_lost_after_three_heartbeats() {
    let lost_after = |file: &str| Place::new(file).master().slave_lost_after.as_secs();
    assert_eq!(lost_after("[slave]\nheartbeat_interval = 60\n"), 180);
    assert_eq!(
        lost_after("[slave]\nheartbeat_interval = 60\n[master]\nslave_lost_after = 100\n"),
        100
    );
    let error =
        Place::new("[slave]\nheartbeat_interval = 60\n[master]\nslave_lost_after = 60\n").error();
    assert!(error.contains("slave_lost_after to 180"), "{error}");
}

#[test]
fn the_default_file_is_found() {
    let home = |variable: &str| (variable == "HOME").then(|| "/home/u".to_owned());
    // The directory for the whole system wins where it exists.
    let expected = if Path::new("/var/lib/clusterrunner").is_dir() {
        "/var/lib/clusterrunner"
    } else {
        "/home/u/.clusterrunner"
    };
    assert_eq!(
        default_config_file(home).unwrap(),
        Path::new(expected).join("clusterrunner.conf")
    );
    let base = |variable: &str| match variable {
        "CLUSTERRUNNER_BASE_DIRECTORY" => Some("~/farm".to_owned()),
        variable => home(variable),
    };
    assert_eq!(
        default_config_file(base).unwrap(),
        Path::new("/home/u/farm/clusterrunner.conf")
    );
    assert_eq!(
        load_master(None, base, &Overrides::new())
            .unwrap()
            .general
            .base_directory,
        Path::new("/home/u/farm")
    );
}
