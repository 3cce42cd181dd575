//! Seeded mistakes, each with the place where it must be found, and the original's messages.

mod limits;

use super::*;

/// The only problem of the text, wherever it is noticed.
#[track_caller]
fn only_problem(text: &str) -> Problem {
    let mut problems = match JobConfig::parse(text, FILE) {
        Ok(config) => config.problems().cloned().collect(),
        Err(error) => error.problems().to_vec(),
    };
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

/// Line, column, a part of the message, a part of the cure.
#[track_caller]
fn check_mistake(text: &str, line: u64, column: u64, message: &str, cure: &str) {
    let problem = only_problem(text);
    assert_eq!(
        (problem.line(), problem.column()),
        (Some(line), Some(column)),
        "{problem}"
    );
    assert!(problem.message.contains(message), "{problem}");
    assert!(problem.cure.contains(cure), "{problem}");
    assert!(
        problem
            .to_string()
            .contains(&format!(" (clusterrunner.yaml:{line}:{column}: ")),
        "{problem}"
    );
}

/// A mistake in the command list of a job that is good otherwise; the element stands at 3:7.
#[track_caller]
fn check_command(element: &str, message: &str, cure: &str) {
    check_mistake(
        &format!("J:\n  commands:\n    - {element}\n    - b\n  atomizers: [{{T: ls}}]\n"),
        3,
        7,
        message,
        cure,
    );
}

#[track_caller]
fn check_section(section: &str, column: u64, message: &str, cure: &str) {
    let rest = if section.starts_with("atomizers") {
        "commands: [a]"
    } else {
        "atomizers: [{T: ls}]"
    };
    let also = if !section.starts_with("commands") && !section.starts_with("atomizers") {
        "commands: [a]\n  "
    } else {
        ""
    };
    check_mistake(
        &format!("J:\n  {also}{rest}\n  {section}\n"),
        if also.is_empty() { 3 } else { 4 },
        column,
        message,
        cure,
    );
}

#[test]
fn the_file_as_a_whole() {
    let dictionary = "The yaml config file could not be parsed to a dictionary";
    check_mistake("- a\n- b\n", 1, 1, dictionary, "job's name");
    check_mistake("\n just a text\n", 2, 2, dictionary, "job's name");
    for empty in ["", "# only a comment\n", "~", "---\n"] {
        let error = JobConfig::parse(empty, FILE).unwrap_err();
        assert!(
            matches!(&error, JobConfigError::NotAMapping(problem) if problem.message == dictionary),
            "{error}"
        );
    }
    check_mistake("{}", 1, 1, "No jobs found in the config.", "job's name");
}

#[test]
fn syntax() {
    let parsed = "The yaml config file could not be parsed: ";
    check_mistake(
        "J:\n  commands:\n\t- a\n",
        3,
        1,
        "a tab is used for indentation",
        "blanks",
    );
    check_mistake(
        "J:\n  commands:\n  \t- a\n    - b\n  x: y\n",
        3,
        3,
        "a tab is used for indentation",
        "blanks",
    );
    check_mistake("J:\n  commands: [a\n", 2, 13, parsed, "brackets");
    check_mistake("J:\n  commands: 'a\n", 3, 1, parsed, "quotes");
    check_mistake(
        "J:\n  commands:\n    - a\n   - b\n",
        4,
        4,
        parsed,
        "indentation",
    );
    check_mistake(
        "J:\n  commands: [a]\n atomizers: [{T: b}]\n",
        3,
        2,
        parsed,
        "indentation",
    );
    check_mistake(
        "J:\n  commands:\n    - *all\n",
        3,
        7,
        parsed,
        "begins with `*`",
    );
    check_mistake(
        "J:\n  commands:\n    - @here\n",
        3,
        7,
        parsed,
        "needs quotes",
    );
    check_mistake("A:\n  x: 1\n---\nB:\n  x: 1\n", 4, 1, parsed, "`---`");
}

#[test]
fn a_tag_is_refused_wherever_it_stands() {
    for (text, line, column) in [
        ("J:\n  commands:\n    - ! grep x\n", 3, 7),
        ("J:\n  commands:\n    - !grep x\n", 3, 7),
        ("J:\n  commands:\n    - make\n    - !!str x\n", 4, 7),
        ("J:\n  commands:\n    - !<tag:yaml.org,2002:str> x\n", 3, 7),
        ("J:\n  commands:\n    - &all ! x\n", 3, 12),
        ("J:\n  commands:\n    - ! |\n      grep x\n", 3, 7),
        ("J:\n  commands: [make, ! 'x y']\n", 2, 20),
        ("J:\n  commands: ! [make]\n", 2, 13),
        ("J:\n  setup_build: [!grep]\n", 2, 17),
        ("J:\n  atomizers:\n    - T: ! ls\n", 3, 10),
        ("J:\n  atomizers:\n    - ! T: ls\n", 3, 7),
        ("J:\n  env:\n    A: !b\n", 3, 8),
        ("J:\n  matrix:\n    A: [b, !c]\n", 3, 12),
        ("! J:\n  commands: [make]\n", 1, 1),
        ("# äöü\nJ:\n  commands: ['ä', !grep x]\n", 3, 19),
        // The parser alone would tell the consequence.
        ("J:\n  commands:\n    - !!int x\n", 3, 7),
        ("J:\n  commands:\n    - !grep a: b: c\n", 3, 7),
    ] {
        check_mistake(text, line, column, "is a tag of YAML", "quotes");
    }
}

#[test]
fn an_exclamation_mark_in_a_text_is_no_tag() {
    for command in [
        "'! grep x'",
        "\"!grep x\"",
        "test ! -e x",
        "echo hi!",
        "echo 'a' !b",
        "|\n      ! grep x",
        ">-\n      !grep x",
    ] {
        let text =
            format!("# !x\nJ: # !y\n  commands:\n    - {command}\n  atomizers: [{{T: ls}}]\n");
        assert_eq!(parse(&text).problems().count(), 0, "{text}");
    }
}

#[test]
fn the_shape_of_a_job() {
    let dictionary = "Passed in configuration is not a dictionary for job: \"a\".";
    check_mistake("a: 1\n", 1, 4, dictionary, "sections");
    check_mistake("a:\n  - commands: [x]\n", 2, 3, dictionary, "sections");
    check_mistake(&format!("{GOOD}a:\n"), 4, 2, dictionary, "sections");
    check_mistake(
        "{}: {commands: [x], atomizers: [{T: ls}]}",
        1,
        1,
        "name of a job is not a string",
        "quotes",
    );
    let missing = "Definition for job \"J\" is missing required config sections: ";
    check_mistake(
        &format!("{GOOD}J:\n  commands: [a]\n"),
        4,
        1,
        &format!("{missing}{{'atomizers'}}"),
        "add \"atomizers:\"",
    );
    check_mistake(
        "J:\n  atomizers: [{T: ls}]\n",
        1,
        1,
        &format!("{missing}{{'commands'}}"),
        "add \"commands:\"",
    );
    check_mistake(
        "J: {}",
        1,
        1,
        &format!("{missing}{{'commands', 'atomizers'}}"),
        "add \"commands:\"",
    );
}

#[test]
fn sections() {
    let unknown = "Definition for job \"J\" contains an invalid config section ";
    check_mistake(
        "J:\n  commands: [a]\n  atomizers: [{T: ls}]\n  max_executor: 2\n",
        4,
        3,
        &format!("{unknown}\"max_executor\"."),
        "write \"max_executors\"",
    );
    check_section(
        "bogus: 1",
        3,
        &format!("{unknown}\"bogus\"."),
        "write one of commands, atomizers",
    );
    check_mistake(
        "J:\n  commands: [a]\n  atomizers: [{T: ls}]\n  commands: [b]\n",
        4,
        3,
        "contains the config section \"commands\" twice.",
        "the first is in line 2",
    );
    check_mistake(
        &format!("{GOOD}{GOOD}"),
        4,
        1,
        "The job \"Good\" is defined twice.",
        "the first is in line 1",
    );
    // Known gap: beside an integer key the parser itself keeps only the last of two entries.
    let config = parse("7: {}\n7: {commands: [a], atomizers: [{T: ls}]}\n");
    assert_eq!((config.names().count(), config.problems().count()), (1, 0));
}

#[test]
fn elements_of_command_lists() {
    let found = |name: &str| {
        format!(
            "Parser expected one of [(<class 'list'>, <class 'str'>)] but found (<class 'list'>, <class '{name}'>)."
        )
    };
    check_command("yes", &found("bool"), "put it in quotes: \"yes\"");
    check_command("True", &found("bool"), "put it in quotes: \"True\"");
    check_command("0755", &found("int"), "put it in quotes: \"0755\"");
    check_command("5", &found("int"), "put it in quotes: \"5\"");
    check_command("0x1F", &found("int"), "put it in quotes: \"0x1F\"");
    check_command("1.10", &found("float"), "put it in quotes: \"1.10\"");
    check_command(".nan", &found("float"), "put it in quotes: \".nan\"");
    check_command(
        "99999999999999999999999",
        &found("float"),
        "put it in quotes: \"99999999999999999999999\"",
    );
    check_command(
        "echo foo: bar",
        &found("dict"),
        "whole command in single quotes",
    );
    check_command("[a, b]", &found("list"), "one command per \"- \"");
    check_command("~", &found("NoneType"), "remove the \"-\"");
    check_command("''", "an empty command", "remove the element");
    check_command("' ; '", "an empty command", "remove the element");
    // Every element is looked at, not only the first.
    check_mistake(
        "J:\n  commands: [a, b, 5]\n  atomizers: [{T: ls}]\n",
        2,
        20,
        &found("int"),
        "\"5\"",
    );
    check_mistake(
        "J:\n  commands: [a]\n  atomizers: [{T: ls}]\n  setup_build: [a, off]\n",
        4,
        20,
        &found("bool"),
        "\"off\"",
    );
}

#[test]
fn no_string_that_reaches_a_shell_has_a_nul() {
    let found = |section: &str| {
        format!("Definition for job \"J\" contains a NUL character in config section \"{section}\"")
    };
    for command in [r#""a\0b""#, r#""\x00""#, r#""\u0000a""#] {
        check_command(command, &found("commands"), "remove the NUL");
    }
    for section in ["setup_build", "teardown_build"] {
        let (line, column) = (4, 9 + section.len() as u64);
        check_mistake(
            &format!("J:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n  {section}: [a, \"b\\0\"]\n"),
            line,
            column,
            &found(section),
            "remove the NUL",
        );
    }
    check_section(
        r#"atomizers: [{T: "ls\0"}]"#,
        19,
        &found("atomizers"),
        "remove the NUL",
    );
    check_section(
        r#"atomizers: [{"T\0": ls}]"#,
        16,
        "invalid atomizer name",
        "letters, digits",
    );
    check_section(
        r#"labels: ["a\0"]"#,
        12,
        "invalid value for config section \"labels\"",
        "write",
    );
    let name = "The name of a job has a NUL character.";
    let job = "\"J\\0\": {commands: [a], atomizers: [{T: ls}]}\n";
    check_mistake(job, 1, 1, name, "remove the NUL");
    let inline = json!({"commands": ["a\0"], "atomizers": [{"T": "ls\0"}]});
    let message = Job::from_inline(None, &inline).unwrap_err().to_string();
    for place in ["(config.commands[0]: ", "(config.atomizers[0].T: "] {
        assert!(message.contains(place), "{message}");
    }
    // Raw ones are no YAML.
    assert!(JobConfig::parse("J\0: {}", FILE).is_err());
    assert!(JobConfig::parse("J: {commands: [a\0b], atomizers: [{T: ls}]}", FILE).is_err());
}

#[test]
fn lists() {
    let expected = "Parser expected one of [(<class 'list'>, <class 'str'>)] but found ";
    check_section(
        "commands: make",
        13,
        &format!("{expected}<class 'str'>."),
        "- \" and the command",
    );
    check_section(
        "commands: []",
        13,
        &format!("{expected}an empty list."),
        "at least one command",
    );
    check_section(
        "commands: {a: b}",
        13,
        &format!("{expected}<class 'dict'>."),
        "a list of commands",
    );
    check_section(
        "setup_build: true",
        16,
        &format!("{expected}<class 'bool'>."),
        "a list of commands",
    );
    check_section(
        "setup_build: []",
        16,
        &format!("{expected}an empty list."),
        "leave the section out",
    );
    check_section(
        "teardown_build: ~",
        19,
        &format!("{expected}<class 'NoneType'>."),
        "leave the section out",
    );
}

#[test]
fn atomizers() {
    let expected = "Parser expected one of [(<class 'list'>, <class 'dict'>)] but found ";
    check_section(
        "atomizers: {N: seq 1 2}",
        14,
        &format!("{expected}<class 'dict'>."),
        "write \"- \"",
    );
    check_section(
        "atomizers: seq 1 2",
        14,
        &format!("{expected}<class 'str'>."),
        "write a list",
    );
    check_section(
        "atomizers: []",
        14,
        &format!("{expected}an empty list."),
        "write a list",
    );
    check_section(
        "atomizers: [{}]",
        15,
        &format!("{expected}an empty mapping."),
        "write a list",
    );
    check_section(
        "atomizers: [find .]",
        15,
        &format!("{expected}(<class 'list'>, <class 'str'>)."),
        "NAME: ",
    );
    check_section(
        "atomizers: [{T: 5}]",
        19,
        "as the command of \"T\" but found <class 'int'>.",
        "quotes: \"5\"",
    );
    check_section(
        "atomizers: [{T: no}]",
        19,
        "as the command of \"T\" but found <class 'bool'>.",
        "quotes: \"no\"",
    );
    check_section(
        "atomizers: [{T: }]",
        17,
        "as the command of \"T\" but found <class 'NoneType'>.",
        "after \"T:\"",
    );
    check_section(
        "atomizers: [{T: [a]}]",
        19,
        "as the command of \"T\" but found <class 'list'>.",
        "&&",
    );
    check_section(
        "atomizers: [{1 x: a}]",
        16,
        "invalid atomizer name \"1 x\"",
        "letters, digits",
    );
    check_section(
        "atomizers: [{T: a, T: b}]",
        22,
        "the atomizer \"T\" twice",
        "- ",
    );
}

#[test]
fn columns_count_characters() {
    check_mistake(
        "Prüfung: {commands: [ä, 5], atomizers: [{T: ls}]}",
        1,
        25,
        "but found",
        "\"5\"",
    );
}
