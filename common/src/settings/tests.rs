//! The settings as programs load them, from real files in temporary directories; the secret's are in `secrets`.

mod secrets;

use super::*;
use crate::tls::{Authorities, Identity};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
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

/// The file's only mistake, told with the line, and the words that must be in it.
#[track_caller]
fn check_mistake(file: &str, line: usize, words: &[&str]) {
    let place = Place::new(file);
    let error = place.error();
    let start = format!("{}:{line}: ", place.file().display());
    assert!(error.starts_with(&start), "{error}");
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}

#[test]
fn defaults_of_the_master() {
    let place = Place::empty();
    let MasterSettings {
        general,
        service,
        slave_lost_after,
        legacy_slave_lost_after,
        default_timeouts,
        kept_builds,
        get_project_from_master,
        build_symlink_directory,
        unresponsive_slaves_cleanup_interval,
    } = place.master();
    let base = place.directory.path();
    assert_eq!(general.config_file, place.file());
    assert!(general.secret.is_none());
    assert_eq!(general.base_directory, base);
    assert!(!general.hostname.is_empty());
    assert_eq!(
        (general.master_hostname.as_str(), general.slaves),
        ("localhost", vec!["localhost".to_owned()])
    );
    assert_eq!(general.default_http_timeout, Duration::from_secs(30));
    assert_eq!(
        (general.log_level, general.max_log_file_size),
        (LogLevel::Info, 50 << 20)
    );
    assert_eq!(general.log_file, base.join("log/clusterrunner_master.log"));
    assert_eq!(
        general.event_log,
        EventLogTarget::File(base.join("log/eventlog_master.log"))
    );
    assert_eq!(
        (service.port, service.bind_address),
        (43000, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    );
    assert!(!service.allow_local_sources && service.git_strict_host_key_checking);
    assert_eq!(service.signature_max_age, Duration::from_secs(300));
    assert_eq!(
        (service.fetch_timeout, service.atom_kill_grace),
        (Duration::from_secs(30), Duration::from_secs(1))
    );
    assert_eq!(service.cors_allowed_origins_regex, None);
    assert_eq!(slave_lost_after, Duration::from_secs(15));
    assert_eq!(legacy_slave_lost_after, Duration::from_secs(180));
    assert!(!service.accept_legacy_peers);
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
    let expected = BuildBounds {
        max_age: days(30),
        max_number: Some(10_000),
        max_bytes: None,
        max_partial_age: days(1),
    };
    assert_eq!(kept_builds, expected);
    let expected = ProjectBounds {
        max_age: days(14),
        max_bytes: None,
    };
    assert_eq!(service.kept_projects, expected);
    let seconds = |limit: Option<TimeLimit>| limit.and_then(TimeLimit::seconds);
    assert_eq!(seconds(default_timeouts.atom), Some(6 * 3600));
    let others = [
        default_timeouts.atomizer,
        default_timeouts.setup,
        default_timeouts.teardown,
    ];
    assert_eq!(others.map(seconds), [Some(3600); 3]);
    assert!(get_project_from_master);
    assert_eq!(
        build_symlink_directory,
        Path::new("/tmp/clusterrunner_build_symlinks")
    );
    assert_eq!(
        unresponsive_slaves_cleanup_interval,
        Duration::from_secs(600)
    );
}

#[test]
fn defaults_of_slave_and_client() {
    let place = Place::empty();
    let slave = place.slave();
    assert_eq!(
        (slave.service.port, slave.master_port, slave.num_executors),
        (43001, 43000, 1)
    );
    assert_eq!(slave.max_console_size, Some(64 << 20),);
    assert_eq!(
        (slave.heartbeat_interval, slave.heartbeat_failure_threshold),
        (Duration::from_secs(5), 10)
    );
    assert_eq!(slave.general.default_http_timeout, Duration::from_secs(120));
    assert!(
        slave
            .general
            .log_file
            .ends_with("log/clusterrunner_slave.log")
    );
    let client = load_client(None, place.environment(), &Overrides::new()).unwrap();
    assert_eq!(
        (client.port, client.general.default_http_timeout),
        (43000, Duration::from_secs(30))
    );
    assert!(
        client
            .general
            .log_file
            .ends_with("log/clusterrunner_default.log")
    );
}

#[test]
fn the_shipped_file_documents_every_key_in_its_section() {
    for key in keys::KEYS {
        let mut documented = SHIPPED_SETTINGS.lines().filter(|line| {
            line.trim_start_matches("# ")
                .split_once(" =")
                .is_some_and(|(name, _)| name == key.name)
        });
        assert!(documented.next().is_some(), "{}", key.name);
    }
    // Uncommenting a line must not be a mistake either, apart from the value that is missing.
    let settings: String = SHIPPED_SETTINGS
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some("secret =") | Some("slave_lost_after = 15") => {
                line.trim_start_matches("# ").to_owned() + "\n"
            }
            Some(line) => {
                line.replace("allow_local_sources =", "allow_local_sources = True")
                    .replace("read_token =", "read_token = long enough")
                    .replace("e =", "e = x")
                    + "\n"
            }
            None => line.to_owned() + "\n",
        })
        .map(|line| {
            line.replace("directory =\n", "directory = x\n")
                .replace("regex =\n", "regex = x\n")
        })
        .collect();
    let place = Place::new(&settings);
    assert_eq!(place.master().general.hostname, "x");
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
}

#[test]
fn a_program_reads_its_own_section_above_general() {
    let place = Place::new(
        "[general]\nport = 1\nhostname = 'all # of them'\nnum_executors = 4\n[slave]\nport = 2\nslaves = a, \"b\", # c\n",
    );
    assert_eq!(
        (place.master().service.port, place.slave().service.port),
        (1, 2)
    );
    assert_eq!(place.master().general.hostname, "all # of them");
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
    // There is no way to write "nothing", as in the original.
    let place = Place::new("[general]\ncors_allowed_origins_regex = None\n");
    assert_eq!(
        place.master().service.cors_allowed_origins_regex.as_deref(),
        Some("None")
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
fn mistakes_name_line_and_cure() {
    check_mistake(
        "[general]\n\nhostnam = x\n",
        3,
        &["unknown setting \"hostnam\"", "did you mean \"hostname\"?"],
    );
    check_mistake(
        "[general]\nfoo = x\n",
        2,
        &["unknown setting \"foo\"", "conf/clusterrunner.conf"],
    );
    check_mistake(
        "# c\n[genral]\n",
        2,
        &["unknown section [genral]", "did you mean \"[general]\"?"],
    );
    check_mistake("[x]\n", 1, &["unknown section [x]", "[master]"]);
    check_mistake("port = 1\n", 1, &["before the first section", "[general]"]);
    check_mistake(
        "[general\n",
        1,
        &[":1: Found opening bracket", "no closing bracket"],
    );
    check_mistake("[general]\nport\n", 2, &["\"port\" has no \"=\""]);
    check_mistake("[general]\n = 5\n", 2, &[":2: Key cannot be empty"]);
    check_mistake(
        "[general]\nport = 1\n# c\nport = 2\n",
        4,
        &["already set in line 2"],
    );
    check_mistake(
        "[general]\nport = many\n",
        2,
        &["\"port\"", "between 0 and 65535", "found \"many\""],
    );
    check_mistake("[general]\nport = 70000\n", 2, &["between 0 and 65535"]);
    check_mistake(
        "[general]\nport = 1, 2\n",
        2,
        &["one value", "quotes", "found a list"],
    );
    check_mistake(
        "[general]\nhostname =\n",
        2,
        &["expected a value", "leave the line out"],
    );
    check_mistake("[general]\nhostname = 'x\n", 2, &["quote is not closed"]);
    check_mistake("[slave]\nnum_executors = 0\n", 2, &["between 1 and"]);
    check_mistake(
        "[slave]\nheartbeat_interval = 2.5\n",
        2,
        &["whole number of seconds"],
    );
    check_mistake(
        "[slave]\nheartbeat_interval = -1\n",
        2,
        &["whole number of seconds"],
    );
    check_mistake(
        "[master]\nget_project_from_master = yes\n",
        2,
        &["True or False", "\"yes\""],
    );
    check_mistake(
        "[general]\nlog_level = CRITIAL\n",
        2,
        &["one of DEBUG, INFO"],
    );
    check_mistake(
        "[general]\nbind_address = localhost\n",
        2,
        &["IP address", "127.0.0.1"],
    );
    check_mistake(
        "[master]\nnum_executors = 2\n",
        2,
        &["no meaning in [master]", "[slave] or [general]"],
    );
    check_mistake(
        "[slave]\nslave_lost_after = 2\n",
        2,
        &["no meaning in [slave]", "[master] or [general]"],
    );
    check_mistake(
        "[general]\nread_token = short\n",
        2,
        &["read_token", "only 5 characters"],
    );
    check_mistake("[general]\nsecret = short12\n", 2, &["only 7 characters"]);
    check_mistake("[general]\nsecret = None\n", 2, &["only 4 characters"]);
}

#[test]
fn mistakes_elsewhere() {
    let error = Place::empty().with("CLUSTERRUNNER_PORT", "x").error();
    assert!(
        error.starts_with("environment variable CLUSTERRUNNER_PORT: setting \"port\""),
        "{error}"
    );
    let error = Place::empty()
        .with("CLUSTERRUNNER_HTTPS_KEY_FILE", "x")
        .error();
    assert!(
        error.contains("\"https_key_file\" is there but \"https_cert_file\" is not"),
        "{error}"
    );
    let place = Place::empty();
    let load = |flags| {
        load_master(None, place.environment(), &flags)
            .unwrap_err()
            .to_string()
    };
    assert!(load(Overrides::new().set("port", "x")).starts_with("command line: setting \"port\""));
    assert!(load(Overrides::new().set("prt", "x")).contains("did you mean \"port\"?"));
    let named = place.directory.path().join("named.conf");
    let load = || load_master(Some(&named), place.environment(), &Overrides::new());
    assert!(
        load()
            .unwrap_err()
            .to_string()
            .starts_with("there is no settings file")
    );
    write(&named, "[general]\nport = 5\n", 0o644);
    assert_eq!(load().unwrap().service.port, 5);
    fs::write(&named, b"\xff\xfe").unwrap();
    assert!(
        load()
            .unwrap_err()
            .to_string()
            .starts_with("could not read the settings file")
    );
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
