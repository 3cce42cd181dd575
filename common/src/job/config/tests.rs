//! What is read, which job is chosen, and that hostile files end quickly; the mistakes are in `mistakes`.

mod matrices;
mod mistakes;
mod products;

use super::*;
use serde_json::json;
use std::collections::BTreeSet;

const FILE: &str = "clusterrunner.yaml";
/// A job without mistakes, to which others add theirs.
const GOOD: &str = "Good:\n  commands: [make]\n  atomizers: [{T: ls}]\n";

#[track_caller]
fn parse(text: &str) -> JobConfig {
    JobConfig::parse(text, FILE).unwrap()
}

#[test]
fn reads_a_whole_file() {
    let config = parse(
        "# comment\nPHPUnit:\n    max_executors: 5\n    max_executors_per_slave: 8\n    labels: [gpu, big]\n    priority: -5\n    weight: 3\n    timeout: 90\n    allow_no_atoms: yes\n    retries: 2\n    flaky: fail\n    max_fail: 7\n    hunt_flakes: no\n    image: docker.io/library/debian:12\n    junit: [out/*.xml, '**/r.xml']\n    setup_timeout: 1h30m\n    setup_build:\n        - composer \
         install;\n        - ./warm &\n        - touch ready\n    commands:\n        - export A='x y'\n        -\n        \
         - |\n            if true; then\n                phpunit $TEST\n            fi\n    teardown_build: [rm -rf tmp]\n    \
         atomizers:\n        - TEST: find $PROJECT_DIR -name '*Test.php'\n          N: seq 2\n        - TEST: \"echo \
         b\"\nOther: {commands: [a], atomizers: [{X: b}]}\n",
    );
    assert_eq!(
        config.problems().collect::<Vec<_>>(),
        Vec::<&Problem>::new()
    );
    assert_eq!(config.names().collect::<Vec<_>>(), ["PHPUnit", "Other"]);
    let (name, job) = config.job(Some("PHPUnit")).unwrap();
    assert_eq!(name, "PHPUnit");
    let atomizer = |name: &str, command: &str| Atomizer {
        name: name.into(),
        command: command.into(),
        multiplies: false,
    };
    assert_eq!(
        job,
        &Job {
            commands: "export A='x y' && if true; then\n    phpunit $TEST\nfi".into(),
            batch_command: None,
            worker: None,
            isolation: IsolationWish::default(),
            atomizers: vec![
                atomizer("TEST", "find $PROJECT_DIR -name '*Test.php'"),
                atomizer("N", "seq 2"),
                atomizer("TEST", "echo b"),
            ],
            setup_build: Some("composer install && ./warm & touch ready".into()),
            teardown_build: Some("rm -rf tmp".into()),
            max_executors: NonZeroU32::new(5),
            max_executors_per_slave: NonZeroU32::new(8),
            labels: BTreeSet::from(["big".to_owned(), "gpu".to_owned()]),
            priority: -5,
            weight: NonZeroU32::new(3),
            timeouts: Timeouts {
                atom: TimeLimit::parse("90"),
                setup: TimeLimit::parse("5400"),
                ..Timeouts::default()
            },
            env: Variables::default(),
            raw_atoms: false,
            allow_no_atoms: true,
            retries: 2,
            flaky_fails: true,
            max_fail: NonZeroU32::new(7),
            hunt_flakes: Some(false),
            image: Some("docker.io/library/debian:12".to_owned()),
            junit: Some(
                Patterns::try_from(vec!["out/*.xml".to_owned(), "**/r.xml".to_owned()]).unwrap(),
            ),
            matrix: Vec::new(),
            cache: None,
            setup_once: false,
            secrets: BTreeSet::new(),
        }
    );
}

#[test]
fn journalled_jobs_stay_readable() {
    let job = parse(GOOD).job(None).unwrap().1.clone();
    let json = serde_json::to_value(&job).unwrap();
    assert_eq!(
        json,
        json!({"commands": "make", "atomizers": [{"name": "T", "command": "ls"}]})
    );
    let from_later = json!({"commands": "make", "atomizers": [{"name": "T", "command": "ls"}], "later": 1, "max_executors": 2});
    let read: Job = serde_json::from_value(from_later).unwrap();
    assert_eq!(
        read,
        Job {
            max_executors: NonZeroU32::new(2),
            ..job
        }
    );
}

#[test]
fn a_broken_job_matters_only_when_asked_for() {
    let config = parse(&format!("{GOOD}Bad:\n  commands: [true]\n"));
    assert_eq!(config.job(Some("Good")).unwrap().1.commands, "make");
    let error = config.job(Some("Bad")).unwrap_err().to_string();
    assert_eq!(
        error,
        "Definition for job \"Bad\" contains an invalid value for config section \"commands\". Parser expected one of \
         [(<class 'list'>, <class 'str'>)] but found (<class 'list'>, <class 'bool'>). (clusterrunner.yaml:5:14: put it \
         in quotes: \"true\")\nDefinition for job \"Bad\" is missing required config sections: {'atomizers'} \
         (clusterrunner.yaml:4:1: add \"atomizers:\" and below it \"- NAME: \" and a command that prints one value per \
         line)"
    );
}

#[test]
fn choosing_a_job() {
    let two = parse(&format!(
        "{GOOD}Quick:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n"
    ));
    assert_eq!(
        two.job(None).unwrap_err().to_string(),
        "Multiple jobs are defined in this project but you did not specify one. Specify one of the following job \
         names: ['Good', 'Quick']"
    );
    assert_eq!(
        two.job(Some("Nope")).unwrap_err().to_string(),
        "The job \"Nope\" was not found in the loaded config. Valid jobs are: ['Good', 'Quick']"
    );
    assert_eq!(
        two.job(Some("quik")).unwrap_err().to_string(),
        "The job \"quik\" was not found in the loaded config. Valid jobs are: ['Good', 'Quick'] (did you mean \"Quick\"?)"
    );
    assert_eq!(two.job(Some("Quick")).unwrap().0, "Quick");
    assert_eq!(parse(GOOD).job(None).unwrap().0, "Good");
}

#[test]
fn names_are_what_is_written() {
    let config = parse(
        "yes: {commands: [a], atomizers: [{N: b, Y: c}]}\n1.10: {commands: [a], atomizers: [{on: b}]}\n",
    );
    assert_eq!(config.problems().count(), 0);
    assert_eq!(config.names().collect::<Vec<_>>(), ["yes", "1.10"]);
    let names: Vec<_> = config
        .job(Some("yes"))
        .unwrap()
        .1
        .atomizers
        .iter()
        .map(|a| a.name.as_str())
        .collect();
    assert_eq!(names, ["N", "Y"]);
    assert_eq!(config.job(Some("1.10")).unwrap().1.atomizers[0].name, "on");
}

#[test]
fn a_tab_elsewhere_is_no_mistake() {
    let config = parse(
        "J:\n  commands:\n    - |\n      make\n      \tdeep\n    - a\tb\n\t\n  atomizers: [{T: ls}]\n",
    );
    assert_eq!(config.job(None).unwrap().1.commands, "make\n\tdeep && a\tb");
}

#[test]
fn quoted_elements_are_strings() {
    let config = parse("J:\n  commands: ['yes', \"5\", y, 0o17x]\n  atomizers: [{T: '1'}]\n");
    assert_eq!(
        config.job(None).unwrap().1.commands,
        "yes && 5 && y && 0o17x"
    );
}

#[test]
fn a_single_empty_command_and_later_nulls_are_accepted() {
    let config =
        parse("J:\n  commands: [a, null, b]\n  atomizers: [{T: ls}]\n  setup_build: ['']\n");
    let job = config.job(None).unwrap().1;
    assert_eq!((job.commands.as_str(), &job.setup_build), ("a && b", &None));
}

#[test]
fn every_problem_is_found_at_once() {
    let config = parse("A:\n  comands: [x]\n  max_executors: 0\nB: 5\n");
    let places: Vec<_> = config
        .problems()
        .map(|problem| (problem.line().unwrap(), problem.column().unwrap()))
        .collect();
    assert_eq!(places, [(2, 3), (3, 18), (1, 1), (4, 4)]);
}

#[test]
fn aliases_and_merges_work_and_point_at_the_definition() {
    let text = "base: &base\n  commands: [a]\n  atomizers: [{T: ls}]\nA:\n  <<: *base\n  commands: [b]\nB: *base\n";
    let config = parse(text);
    assert_eq!(config.problems().count(), 0);
    assert_eq!(config.job(Some("A")).unwrap().1.commands, "b");
    assert_eq!(config.job(Some("B")).unwrap().1.commands, "a");
    let config = parse(
        "A:\n  commands: &c [a, 5]\n  atomizers: [{T: ls}]\nB:\n  commands: *c\n  atomizers: [{T: ls}]\n",
    );
    assert_eq!(
        config
            .problems()
            .map(super::problem::Problem::line)
            .collect::<Vec<_>>(),
        [Some(2), Some(2)]
    );
}

#[test]
fn what_the_original_runs_otherwise_is_told() {
    let config = parse(
        "A:\n  commands:\n    - 'a # b'\n    - |\n      cat <<E\n      E\n    - echo don't\n    - 'a \\'\n    - 'a \\&'\n    - \
         'a \\;'\n    - '# b'\n    - 'last # c'\n  setup_build: ['a # b']\n  teardown_build: ['a #b', c]\n  atomizers: \
         [{T: 'ls # all'}]\n",
    );
    assert_eq!(config.problems().count(), 0);
    let lines: Vec<_> = config.warnings().map(|w| w.line().unwrap()).collect();
    assert_eq!(lines, [3, 5, 7, 8, 9, 10, 11, 14]);
    let config = parse(
        "A:\n  commands:\n    - a; b\n    - c; d\n    - '{ e; f; }'\n  atomizers: [{T: ls}]\n",
    );
    let lines: Vec<_> = config.warnings().map(|w| w.line().unwrap()).collect();
    assert_eq!(lines, [4]);
}

#[test]
fn variables_are_what_is_written() {
    let config = parse(
        "A:\n  commands: [a]\n  atomizers: [{T: ls}]\n  env:\n    PORT: 0755\n    FLAG: yes\n    EMPTY: ''\n    TEXT: \"a \\\"b\\\" $c\"\n",
    );
    let env = &config.job(None).unwrap().1.env;
    let expected = [
        ("EMPTY", ""),
        ("FLAG", "yes"),
        ("PORT", "0755"),
        ("TEXT", "a \"b\" $c"),
    ];
    assert!(
        env.iter().eq(expected),
        "{:?}",
        env.iter().collect::<Vec<_>>()
    );
    for (wrong, expected) in [
        (
            "[A]",
            "config section \"env\". Parser expected one of [<class 'dict'>]",
        ),
        (
            "{A: }",
            "expected one of [<class 'str'>] but found <class 'NoneType'>",
        ),
        ("{A: 1, A: 2}", "sets the variable \"A\" twice"),
        (
            "{ATOM_ID: 1}",
            "it must be left out, since ClusterRunner sets this variable itself",
        ),
    ] {
        let config = parse(&format!(
            "A:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n  env: {wrong}\n"
        ));
        let problems: Vec<String> = config.problems().map(Problem::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}

#[test]
fn inline_configs() {
    let good = json!({"commands": ["true"], "atomizers": [{"N": "seq 1 2"}], "max_executors": 3});
    let job = Job::from_inline(None, &good).unwrap();
    assert_eq!(
        (job.commands.as_str(), job.max_executors),
        ("true", NonZeroU32::new(3))
    );

    let message = |config| {
        Job::from_inline(Some("X"), &config)
            .unwrap_err()
            .to_string()
    };
    let n = json!([{"N": "seq 1 2"}]);
    let wrong = "Definition for job \"X\" contains an invalid value for config section ";
    for (config, expected) in [
        (
            json!({"commands": ["true"]}),
            "Definition for job \"X\" is missing required config sections: {'atomizers'}".into(),
        ),
        (
            json!({"commands": ["true"], "atomizers": n, "bogus": 1}),
            "Definition for job \"X\" contains an invalid config section \"bogus\".".to_owned(),
        ),
        (
            json!({"commands": "true", "atomizers": n}),
            format!(
                "{wrong}\"commands\". Parser expected one of [(<class 'list'>, <class 'str'>)] but found <class 'str'>."
            ),
        ),
        (
            json!({"commands": ["true"], "atomizers": n, "max_executors": "3"}),
            format!(
                "{wrong}\"max_executors\". Parser expected one of [<class 'int'>] but found <class 'str'>."
            ),
        ),
        (
            json!({"commands": ["true"], "atomizers": n, "max_executors": true}),
            format!(
                "{wrong}\"max_executors\". Parser expected one of [<class 'int'>] but found <class 'bool'>."
            ),
        ),
        (
            json!({"commands": ["true"], "atomizers": {"N": "seq 1 2"}}),
            format!(
                "{wrong}\"atomizers\". Parser expected one of [(<class 'list'>, <class 'dict'>)] but found <class 'dict'>."
            ),
        ),
        (
            json!({"commands": ["true", 5], "atomizers": n}),
            format!(
                "{wrong}\"commands\". Parser expected one of [(<class 'list'>, <class 'str'>)] but found (<class 'list'>, <class 'int'>). (config.commands[1]: "
            ),
        ),
        (
            json!({"commands": [], "atomizers": n}),
            format!("{wrong}\"commands\". "),
        ),
    ] {
        let message = message(config);
        assert!(message.starts_with(&expected), "{message}\n{expected}");
    }
    assert_eq!(
        Job::from_inline(None, &json!("a string"))
            .unwrap_err()
            .to_string(),
        "Passed in configuration is not a dictionary for job: \"None\". (config: write the sections below the job's \
         name, indented, such as \"commands:\")"
    );
}

#[test]
fn hostile_files_end_quickly() {
    let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (letter, before) in ('b'..='z').zip('a'..) {
        let many = vec![format!("*{before}"); 9].join(",");
        laughs.push_str(&format!("{letter}: &{letter} [{many}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_blocks: String = (0..2_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    let itself = "a: &a [*a]\n".to_owned();
    let keys: String = (0..300)
        .map(|level| format!("{}? ", " ".repeat(2 * level)))
        .collect();
    for hostile in [laughs, deep, deep_blocks, itself, keys, "x".repeat(9 << 20)] {
        // What is not bounded takes for ever.
        let error = JobConfig::parse(&hostile, FILE).unwrap_err();
        assert!(matches!(error, JobConfigError::Syntax(_)), "{error}");
        assert!(error.to_string().len() < 600, "{error}");
    }
}

#[test]
fn a_large_honest_file_is_read() {
    let text: String = (0..5_000)
        .map(|n| format!("Job{n}:\n  commands: [a, b]\n  atomizers: [{{T: ls}}]\n"))
        .collect();
    assert_eq!(parse(&text).names().count(), 5_000);
}
