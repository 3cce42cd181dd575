//! `clusterrunner config show`: what programs find, and where it comes from.

use crate::machine::{Ended, Machine};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn each_setting_says_where_it_comes_from() {
    let machine = Machine::new("");
    let file = machine.path("base/clusterrunner.conf");
    let settings = "[general]\nsecret = a very secret word of somebody\nfetch_timeout = 7\n[master]\nport = 43210\n";
    fs::write(&file, settings).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = |line: &[&str]| {
        let line = [&["config", "show", "--origin"], line].concat();
        let mut command = machine.command(&line);
        command.env("CLUSTERRUNNER_KEEP_BUILDS", "77");
        Ended::from(command.output().unwrap())
    };
    let has = |ended: &Ended, words: &[&str]| {
        let mut lines = ended.stdout.lines();
        let found = lines.any(|line| line.split_whitespace().eq(words.iter().copied()));
        assert!(found, "{words:?} is not in {ended:#?}");
    };
    let line = |line: u32| format!("{}:{line}", file.display());
    let of_commands = shown(&[]);
    assert_eq!(of_commands.code, Some(0), "{of_commands:#?}");
    has(&of_commands, &["secret", "(hidden)", &line(2)]);
    has(&of_commands, &["fetch_timeout", "7", &line(3)]);
    has(&of_commands, &["port", "43210", &line(5)]);
    has(
        &of_commands,
        &["keep_builds", "77", "$CLUSTERRUNNER_KEEP_BUILDS"],
    );
    has(&of_commands, &["keep_builds_days", "30", "default"]);
    let base = machine.path("base").display().to_string();
    has(
        &of_commands,
        &["base_directory", &base, "$CLUSTERRUNNER_BASE_DIRECTORY"],
    );
    let node = rustix::system::uname();
    let node = node.nodename().to_str().unwrap();
    has(&of_commands, &["hostname", node, "not", "set"]);
    let of_master = shown(&["--changed", "master", "--port", "5"]);
    has(&of_master, &["port", "5", "option"]);
    assert!(!of_master.stdout.contains("default"), "{of_master:#?}");
    let of_slave = shown(&["slave", "-e", "3"]);
    has(&of_slave, &["num_executors", "3", "option"]);
    for ended in [&of_commands, &of_master, &of_slave] {
        assert!(!ended.stdout.contains("somebody") && !ended.stderr.contains("somebody"));
    }

    // What is wrong is shown, with what is wrong.
    let mut command = machine.command(&["config", "show", "--origin"]);
    command.env("CLUSTERRUNNER_SIGNATURE_MAX_AGE", "soon");
    let wrong = Ended::from(command.output().unwrap());
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    let variable = "CLUSTERRUNNER_SIGNATURE_MAX_AGE";
    has(
        &wrong,
        &["signature_max_age", "soon", &format!("${variable}")],
    );
    assert!(wrong.stderr.contains(variable), "{wrong:#?}");
    machine.write_ports(1, 2);

    // To look makes no file.
    let none = machine.path("none.conf");
    machine.run_to(2, &["-c", none.to_str().unwrap(), "config", "show"]);
    assert!(!none.exists());
}
