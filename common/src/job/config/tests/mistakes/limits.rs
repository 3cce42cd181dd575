//! Mistakes in the sections that say where, when and for how long a job runs.

use super::*;

#[test]
fn limits() {
    let found = |what: &str| {
        format!(
            "section \"max_executors\". Parser expected one of [<class 'int'>] but found {what}."
        )
    };
    check_section("max_executors: 0", 18, &found("0"), "1 or more");
    check_section("max_executors: -1", 18, &found("-1"), "1 or more");
    check_section(
        "max_executors: '3'",
        18,
        &found("<class 'str'>"),
        "without quotes",
    );
    check_section(
        "max_executors: true",
        18,
        &found("<class 'bool'>"),
        "1 or more",
    );
    check_section(
        "max_executors: 1.5",
        18,
        &found("<class 'float'>"),
        "1 or more",
    );
    check_section(
        "max_executors:",
        16,
        &found("<class 'NoneType'>"),
        "leave the section out",
    );
    check_section(
        "max_executors_per_slave: 0",
        28,
        "\"max_executors_per_slave\"",
        "1 or more",
    );
    check_section(
        "priority: high",
        13,
        "but found <class 'str'>",
        "between -1000 and 1000",
    );
    check_section("priority: 1001", 13, "\"priority\"", "0 is the usual one");
    check_section("weight: 0", 11, "\"weight\"", "between 1 and 1000");
    check_section("weight: 1001", 11, "\"weight\"", "between 1 and 1000");
    check_section("retries: 11", 12, "\"retries\"", "between 0 and 10");
    check_section("retries: -1", 12, "\"retries\"", "between 0 and 10");
    check_section(
        "retries: often",
        12,
        "but found <class 'str'>",
        "so often an atom that fails is run again",
    );
    check_section(
        "flaky: maybe",
        10,
        "but found \"maybe\"",
        "write pass or fail",
    );
    check_section("flaky: no", 10, "\"flaky\"", "write pass or fail");
    check_section("max_fail: 0", 13, "\"max_fail\"", "1 or more");
    check_section("weight: much", 11, "found <class 'str'>", "twice as many");
    check_section(
        "labels: [gpu, 8]",
        17,
        "\"labels\"",
        "put it in quotes: \"8\"",
    );
    check_section(
        "labels: a b",
        11,
        "but found \"a b\"",
        "at most 64 characters",
    );
    check_section("labels: {gpu: 1}", 11, "\"labels\"", "[gpu, big]");
    let config = parse(
        "J:\n  commands: [a]\n  atomizers: [{T: ls}]\n  max_executors: 9223372036854775807\n",
    );
    assert_eq!(
        config.job(None).unwrap().1.max_executors,
        NonZeroU32::new(u32::MAX)
    );
}

#[test]
fn octal_numbers_are_told() {
    for (section, column, cure) in [
        ("max_executors: 010", 18, "write 10, or 8 if"),
        ("weight: 007", 11, "write 7, or 7 if"),
        ("priority: -020", 13, "write -20, or -16 if"),
        ("timeout: 0100", 12, "write 100, or 64 if"),
    ] {
        let (name, written) = section.split_once(": ").unwrap();
        check_section(section, column, &format!("\"{name}\""), cure);
        check_section(
            section,
            column,
            &format!("but found {written}."),
            "YAML 1.1",
        );
    }
    let config = parse("J:\n  commands: [a]\n  atomizers: [{T: ls}]\n  priority: 0\n");
    assert_eq!(config.job(None).unwrap().1.priority, 0);
}

#[test]
fn limits_in_time_are_seconds_or_texts_with_units() {
    for (section, column, found) in [
        ("timeout: -1", 12, "but found -1"),
        ("timeout: soon", 12, "but found \"soon\""),
        ("setup_timeout: 1.5", 18, "<class 'float'>"),
        ("teardown_timeout: [5]", 21, "<class 'list'>"),
        ("atomizer_timeout:", 19, "<class 'NoneType'>"),
    ] {
        check_section(section, column, found, "0 means no limit");
    }
    check_section("time_out: 5", 3, "\"time_out\"", "write \"timeout\"");
    let inline = json!({"commands": ["a"], "atomizers": [{"T": "ls"}], "timeout": "10m", "teardown_timeout": 0});
    let timeouts = Job::from_inline(None, &inline).unwrap().timeouts;
    assert_eq!(timeouts.atom.and_then(TimeLimit::seconds), Some(600));
    assert_eq!(timeouts.teardown, Some(TimeLimit::from_seconds(0)));
}

#[test]
fn a_truth_is_true_or_false() {
    for (section, column, found) in [
        ("allow_no_atoms: 1", 19, "<class 'int'>"),
        ("allow_no_atoms: 'yes'", 19, "<class 'str'>"),
        ("allow_no_atoms:", 17, "<class 'NoneType'>"),
    ] {
        check_section(section, column, found, "true or false");
    }
    let inline = json!({"commands": ["a"], "atomizers": [{"T": "ls"}], "allow_no_atoms": true});
    assert!(Job::from_inline(None, &inline).unwrap().allow_no_atoms);
}

#[test]
fn an_image_is_a_name_and_no_flag() {
    for (section, column) in [
        ("image: '--privileged'", 10),
        ("image: debian 12", 10),
        ("image: ''", 10),
        ("image: [debian]", 10),
        ("image: 12", 10),
    ] {
        let found = "section \"image\". Parser expected one of [<class 'str'>] but found";
        check_section(
            section,
            column,
            found,
            "such as docker.io/library/debian:12",
        );
    }
}

#[test]
fn reports_are_named_by_paths_below_the_artifact_directory() {
    const CURE: &str = "such as reports/*.xml or **/junit.xml, or a list of them";
    for (section, column, found) in [
        ("junit: /tmp/x.xml", 10, "\"/tmp/x.xml\""),
        ("junit: ../x.xml", 10, "\"../x.xml\""),
        ("junit: ''", 10, "\"\""),
        ("junit: 12", 10, "<class 'int'>"),
        ("junit: {a: b}", 10, "<class 'dict'>"),
        ("junit: [a.xml, b//c.xml]", 18, "\"b//c.xml\""),
        ("junit: [a.xml, 1]", 18, "<class 'int'>"),
    ] {
        check_section(section, column, found, CURE);
    }
    let long = format!("junit: {}", "a".repeat(201));
    check_section(
        &long,
        10,
        "section \"junit\": there may be 20",
        "fewer or shorter",
    );
    let inline = |junit| json!({"commands": ["a"], "atomizers": [{"T": "ls"}], "junit": junit});
    let patterns = |junit| {
        Job::from_inline(None, &inline(junit))
            .unwrap()
            .junit
            .unwrap()
    };
    assert!(patterns(json!("a/*.xml")).has("a/b.xml"));
    assert!(!patterns(json!([])).has("junit.xml"), "none is a report");
}
