//! Matrices: which are read, and which mistakes are told.

use super::super::*;
use super::parse;
use serde_json::json;

fn job(matrix: &str) -> String {
    format!("A:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n  matrix: {matrix}\n")
}

/// Values are as they are written: a version is no number.
#[test]
fn a_matrix_is_read() {
    let config = parse(&job(
        "\n    PYTHON: [3.10, '3.11']\n    FLAG: [yes, \"a \\\"b\\\" $c\"]\n    exclude:\n      - {PYTHON: 3.10, FLAG: yes}\n    \
         include:\n      - {PYTHON: 3.11, EXTRA: ''}\n      - PYTHON: 3.13",
    ));
    let problems: Vec<_> = config.problems().map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
    let job = config.job(None).unwrap().1;
    let shown: Vec<String> = job.matrix.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "PYTHON=3.10 FLAG=a \"b\" $c",
            "PYTHON=3.11 FLAG=yes EXTRA=",
            "PYTHON=3.11 FLAG=a \"b\" $c EXTRA=",
            "PYTHON=3.13",
        ]
    );
    let json = serde_json::to_value(job).unwrap();
    assert_eq!(json["matrix"][3], json!({"PYTHON": "3.13"}));
    assert_eq!(serde_json::from_value::<Job>(json).unwrap(), *job);
}

#[test]
fn mistakes_in_a_matrix_are_told() {
    let check = |matrix: &str, expected: &str| {
        let config = parse(&job(matrix));
        let problems: Vec<_> = config.problems().map(ToString::to_string).collect();
        assert!(
            problems.join("\n").contains(expected),
            "{matrix}: {problems:?}"
        );
    };
    check(
        "[a]",
        "config section \"matrix\". Parser expected one of [<class 'dict'>] but found <class 'list'>",
    );
    check("{}", "found no variable");
    check("{exclude: []}", "found no variable");
    check(
        "{A: []}",
        "found an empty list. (clusterrunner.yaml:4:15: write at least one value",
    );
    check("{A: 3.11}", "write a list: [\"3.11\"]");
    check("{A: {b: c}}", "found <class 'dict'>");
    check("{A: [[1]]}", "found (<class 'list'>, <class 'list'>)");
    check("{A: [null]}", "write a text, or \"\"");
    check("{A: [1, 1]}", "has the value \"1\" twice in a list");
    check("{A: [1], A: [2]}", "has \"A\" twice");
    check("{A: [1], include: {A: 2}}", "write a list of mappings");
    check("{A: [1], include: [{}]}", "found an empty mapping");
    check(
        "{A: [1], include: [{A: [2]}]}",
        "found (<class 'list'>, <class 'list'>)",
    );
    check("{A: [1], include: [{B: 1, B: 2}]}", "has \"B\" twice");
    check(
        "{A: [1], exclude: [{A: 2}]}",
        "no combination that fits its exclude A=2. (clusterrunner.yaml:4:30: write",
    );
    check("{A: [1], exclude: [{A: 1}]}", "all are excluded");
    check(
        "{A: [1], include: [{A: 2}, {A: 2}]}",
        "has the combination A=2 twice",
    );
    check("{'': [1]}", "invalid variable \"\"");
    check("{'A=B': [1]}", "invalid variable \"A=B\"");
    check(
        "{PROJECT_DIR: [1]}",
        "ClusterRunner sets this variable itself",
    );
    check(
        "{CLUSTERRUNNER_X: [1]}",
        "ClusterRunner sets this variable itself",
    );
    check("{A: [\"a\\0\"]}", "text without NUL characters");
    let long = "x".repeat(50_000);
    check(
        &format!("{{A: [1], include: [{{B: {long}}}, {{C: {long}}}]}}"),
        "its names and values have 100004 bytes",
    );
    let many = ["1, 2, 3, 4, 5, 6, 7, 8, 9, 10"; 4];
    let many: Vec<String> = many
        .iter()
        .enumerate()
        .map(|(n, list)| format!("V{n}: [{list}]"))
        .collect();
    check(
        &format!("{{{}}}", many.join(", ")),
        "it has 10000 combinations, more than 1024",
    );
}
