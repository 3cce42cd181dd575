//! What is wrong in settings, told with its place and its cure.

use super::*;

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
    check_mistake(
        "[general]\n[[x]]\n",
        2,
        &["unknown section [x]", "[master]"],
    );
    check_mistake("port = 1\n", 1, &["before the first section", "[general]"]);
    check_mistake("[general\n", 1, &["opening bracket", "no closing bracket"]);
    check_mistake("[general]\nport\n", 2, &["\"port\" has no \"=\""]);
    check_mistake("[general]\n = 5\n", 2, &["has no key"]);
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
        "[general]\nport =\n",
        2,
        &["expected a value", "leave the line out"],
    );
    check_mistake(
        "[general]\nlog_filename = %(hostname)s.log\n",
        2,
        &["%(hostname)s", "write the value out"],
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
        "[master]\nlabels = gpu\n",
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
fn all_mistakes_of_a_file_are_told_at_once() {
    let place = Place::new(
        "[general]\nprot = 1\nport = x\n[mastr]\nport = y\n[slave]\nport = -1\nport = z\n",
    );
    let error = place.error();
    let file = place.file().display().to_string();
    let told: Vec<&str> = error.lines().collect();
    assert_eq!(told.len(), 6, "{error}");
    assert_eq!(told[0], "5 mistakes in the settings:");
    for (text, line) in told[1..].iter().zip([2, 3, 4, 7, 8]) {
        assert!(text.starts_with(&format!("  {file}:{line}: ")), "{error}");
    }
    // The first of many settings that have no section stands for all.
    check_mistake("port = 1\nprot = 2\n", 1, &["before the first section"]);
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
    let nowhere = place.directory.path().join("nowhere/named.conf");
    let load = load_master(Some(&nowhere), place.environment(), &Overrides::new());
    let error = load.unwrap_err().to_string();
    let missing = format!("there is no settings file {}, ", nowhere.display());
    assert!(error.starts_with(&missing), "{error}");
    let named = place.directory.path().join("named.conf");
    let load = || load_master(Some(&named), place.environment(), &Overrides::new());
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
fn a_host_is_a_name_or_an_address_without_more() {
    let words = ["nothing more", "ports are settings of their own"];
    for (key, host) in [
        ("hostname", "farm:43000"),
        ("hostname", "http://farm"),
        ("master_hostname", "farm:43000"),
        ("master_hostname", "ci@farm"),
        ("master_hostname", "the farm"),
    ] {
        let place = Place::new(&format!("[general]\n{key} = {host}\n"));
        let loaded = load_slave(None, place.environment(), &Overrides::new());
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains(&format!(":2: setting \"{key}\"")), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    // For `deploy`.
    let place = Place::new("[general]\nmaster_hostname = ci@farm:2222\n");
    assert_eq!(place.master().general.master_hostname, "ci@farm:2222");
    let place = Place::new("[general]\nhostname = fe80::1\nmaster_hostname = [::1]\n");
    let general = place.slave().general;
    assert_eq!(
        (general.hostname.as_str(), general.master_hostname.as_str()),
        ("[fe80::1]", "[::1]")
    );
}
