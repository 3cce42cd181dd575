//! The shipped settings: what they say, and that they say all.

use super::*;
use crate::job::config::TimeLimit;
use crate::job::isolation::IsolationLevel;
use crate::settings::keys;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each setting")]
fn defaults_of_the_master() {
    let place = Place::empty();
    let MasterSettings {
        general,
        service,
        slave_lost_after,
        legacy_slave_lost_after,
        default_timeouts,
        kept_builds,
        hunt_flakes,
        max_templates,
        max_templates_bytes,
        registration,
        router_port,
        ssh_port: _,
        get_project_from_master,
        build_symlink_directory,
        max_code_upload_bytes: _,
        max_working_tree_bytes: _,
        keep_working_trees_bytes: _,
        keep_audit_entries: _,
        image_policy: _,
        max_snapshot_bytes,
        max_instance_log_bytes,
        max_app_log_bytes,
        apps: _,
        binder: _,
        notify: _,
        pools: _,
        on_finish: _,
        public_url: _,
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
    assert_eq!(service.git_limits, crate::git::GitLimits::default());
    assert_eq!(service.git_max_memory_bytes, 4 << 30);
    assert_eq!(service.cors_allowed_origins_regex, None);
    let limits = crate::http::limits::ServingLimits {
        unproved_requests: Some(50),
        ..Default::default()
    };
    assert_eq!(service.serving, limits);
    assert_eq!(slave_lost_after, Duration::from_secs(15));
    assert_eq!(legacy_slave_lost_after, Duration::from_secs(180));
    assert!(!service.accept_legacy_peers);
    assert_eq!((registration, router_port), (Registration::Closed, None));
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
    let limits = default_timeouts;
    assert_eq!(seconds(limits.atom), Some(6 * 3600));
    let others = [limits.atomizer, limits.setup, limits.teardown];
    assert_eq!(others.map(seconds), [Some(3600); 3]);
    assert!(get_project_from_master && !hunt_flakes);
    assert_eq!(
        build_symlink_directory,
        Path::new("/tmp/clusterrunner_build_symlinks")
    );
    assert_eq!(max_templates, Some(1000));
    assert_eq!(max_templates_bytes, Some(50 << 30));
    assert_eq!(
        (
            max_snapshot_bytes,
            max_instance_log_bytes,
            max_app_log_bytes
        ),
        (8 << 30, 4 << 20, 16 << 20)
    );
}

#[test]
fn defaults_of_images_notifications_and_binder() {
    let settings = Place::empty().master();
    assert_eq!(settings.image_policy, ImagePolicy::Use);
    assert!(settings.notify.is_empty() && settings.on_finish.is_none());
    assert!(settings.pools.is_empty());
    assert_eq!(settings.public_url, None);
    let binder = settings.binder;
    assert!(binder.api_key.is_none() && !binder.launch_without_key);
    assert!(binder.ports.is_empty());
}

#[test]
fn defaults_of_what_is_sent() {
    let master = Place::empty().master();
    assert_eq!(master.max_code_upload_bytes, 1 << 30);
    let bounds = (
        master.max_working_tree_bytes,
        master.keep_working_trees_bytes,
    );
    assert_eq!(bounds, (256 << 20, Some(4 << 30)));
    assert_eq!(master.keep_audit_entries, 100_000);
}

#[test]
fn defaults_of_apps() {
    let apps = Place::empty().master().apps;
    assert_eq!(
        (apps.domain, apps.deploy_wait),
        (None, Duration::from_secs(120))
    );
    assert!(apps.builder_key.is_none());
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
    let isolation = slave.isolation;
    let demanded = isolation.demanded;
    assert_eq!(demanded.level, IsolationLevel::None);
    assert_eq!((demanded.memory_bytes, demanded.cpus), (None, None));
    assert_eq!(demanded.pids.map(NonZeroU32::get), Some(2_000));
    assert!(!isolation.nested_sandboxes);
    assert!(demanded.network && isolation.run_as.is_none() && isolation.shown.is_empty());
    assert!(isolation.allowed.has("PATH") && !isolation.allowed.has("JAVA_HOME"));
    assert_eq!(slave.service.max_setup_cache_bytes, Some(10 << 30));
    assert_eq!(slave.heartbeat_interval, Duration::from_secs(5));
    assert!(!slave.drain_on_stop && !slave.end_when_unknown);
    assert_eq!(slave.join_token_file, None);
    assert_eq!(
        (slave.reachable, slave.poll_length),
        (true, Duration::from_secs(20))
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
                    .replace("registration =", "registration = open")
                    .replace("public_url =", "public_url = https://ci.example.com")
                    .replace("router_port =", "router_port = 43080")
                    .replace("ssh_port =", "ssh_port = OFF")
                    .replace("binder_api_key =", "binder_api_key = long enough")
                    .replace("builder_key =", "builder_key = long enough")
                    .replace("further_hostnames =", "further_hostnames = ci.example.com")
                    .replace("app_domain =", "app_domain = apps.example.com")
                    .replace("launch_without_key =", "launch_without_key = True")
                    .replace("binder_ports =", "binder_ports = 8082, 8084")
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
fn a_port_for_ssh_is_taken_when_it_is_needed_or_named_or_never() {
    let found = |settings: &str| Place::new(settings).master().ssh_port;
    assert_eq!(found(""), SshPort::WhenNeeded);
    assert_eq!(found("[master]\nssh_port = 22\n"), SshPort::At(22));
    assert_eq!(found("[master]\nssh_port = off\n"), SshPort::Off);
    for wrong in ["on", "65536", "-1"] {
        let place = Place::new(&format!("[master]\nssh_port = {wrong}\n"));
        let message = place.error();
        assert!(message.contains("or OFF"), "{message}");
    }
}
