use super::*;
use serde_json::Value;

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/testdata/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    whole["cases"].as_array().unwrap().clone()
}

#[test]
fn joins_as_the_original() {
    let mut checked = 0;
    for case in vectors("command_join.json") {
        // "Not a list" can not be said to this function; `Job::from_inline` is asked about it in the checks.
        let Some(elements) = case["in"].as_array() else {
            continue;
        };
        let joined = join_commands(elements.iter().map(Value::as_str));
        let expected = match case["in"][0].as_str() {
            // The original hides the second command.
            Some("a # comment") => Some("{\na # comment\n} &&\nb"),
            _ => case["out"].as_str(),
        };
        assert_eq!(Some(joined.as_str()), expected, "{case}");
        checked += 1;
    }
    assert_eq!(checked, 24);
}

#[test]
fn no_command_hides_the_next() {
    let join = |elements: &[&str]| join_commands(elements.iter().copied().map(Some));
    for (elements, joined) in [
        (
            &["echo one # note", "exit 3"][..],
            "{\necho one # note\n} &&\nexit 3",
        ),
        (
            &["a", "cat <<END\ntext\nEND\n", "exit 3"],
            "a && {\ncat <<END\ntext\nEND\n} &&\nexit 3",
        ),
        (&["a \\", "exit 3"], "{\na \\\n\n} &&\nexit 3"),
        (&["echo \\&", "exit 3"], "echo \\& && exit 3"),
        (
            &["find . -exec rm {} \\;", "exit 3"],
            "find . -exec rm {} \\; && exit 3",
        ),
        (
            &["# first", "a", "# then", "exit 3", "# end"],
            "a && exit 3",
        ),
        (
            &["# a comment\na", "exit 3 # end"],
            "# a comment\na && exit 3 # end",
        ),
        (&["# a comment"], "# a comment"),
        // Each of several commands runs only if those before succeeded.
        (
            &["exit 3", "a; b"],
            "exit 3\ncase $? in 0) ;; *) exit ;; esac\na; b",
        ),
        (
            &["a", "b || c", "d"],
            "a\ncase $? in 0) ;; *) exit ;; esac\nb || c\ncase $? in 0) ;; *) exit ;; esac\nd",
        ),
        (&["( a", "b; c", "d )"], "( a && {\nb; c\n} &&\nd )"),
        (&["a; b", "exit 3"], "a; b && exit 3"),
        // Parts of one command, as for the original.
        (&["( cd x", "make )"], "( cd x && make )"),
    ] {
        assert_eq!(join(elements), joined, "{elements:?}");
    }
}

/// Whatever a command is, it does not run where one before it failed, and runs whole where none did.
#[test]
fn a_failure_ends_the_list_in_a_real_shell() {
    let run = |elements: &[&str]| {
        let text = join_commands(elements.iter().copied().map(Some));
        let output = std::process::Command::new("bash")
            .arg("-c")
            .arg(&text)
            .output();
        let output = output.unwrap();
        assert!(output.stderr.is_empty(), "{text}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), printed)
    };
    for command in [
        "echo a",
        "echo a; echo b",
        "echo a\necho b",
        "false || echo b",
        "true && echo a || echo b",
        "for i in 1 2; do echo $i; done",
        "if true; then echo a; fi; echo b",
        "if true\nthen echo a\nfi",
        "{ echo a; }; echo b",
        "( echo a; echo b )",
        "cat <<E\na\nE\necho b",
        "cat <<E\na; b\nE",
        "echo a\ncat <<E\nb\nE",
        "echo a; echo b # c",
        "f() { echo a; }\nf",
        "case x in x) echo a;; *) echo b;; esac; echo c",
        "! false; echo a",
        "echo a # b; c",
        "echo 'a; b' \"c\nd\"",
        "[[ a = b || a = a ]] && echo a",
        "echo a | cat; echo b",
        "while read -r x; do echo $x; done <<< 'a'; echo b",
    ] {
        assert_eq!(
            run(&["(exit 3)", command]),
            (Some(3), String::new()),
            "{command}"
        );
        assert_eq!(
            run(&["(exit 3)", command, "echo end"]).0,
            Some(3),
            "{command}"
        );
        let (code, printed) = run(&["true", command, "echo end"]);
        let whole = run(&[command]).1 + "end\n";
        assert_eq!((code, printed), (Some(0), whole), "{command}");
    }
}

/// `set -e` counts in each command as in a script, also in those that are not the last.
#[test]
fn whoever_asks_for_it_ends_at_the_first_failure() {
    let code = |elements: &[&str]| {
        let text = join_commands(elements.iter().copied().map(Some));
        let output = std::process::Command::new("bash")
            .arg("-c")
            .arg(&text)
            .output();
        let output = output.unwrap();
        assert!(output.stdout.is_empty(), "{text}: {output:?}");
        output.status.code()
    };
    for failing in [
        "false\necho survived",
        "(exit 1)\necho survived",
        "(false; echo survived)",
        "for i in 1 2; do false; echo survived; done",
        "f() { false; echo survived; }\nf",
        "if true; then false; echo survived; fi # a comment",
        "false",
    ] {
        for before in [
            "true",
            "ROOT=$(dirname $(pwd))",
            "( cd / && ( cd / && true ) )",
            "X=$((2 * (1 + 2)))",
            "function g { true; true; }",
            "{ time { true; true; }; } 2> /dev/null",
            "X=${PATH%%)*}",
            "case a in a) case b in b) true;; esac;; esac",
        ] {
            let elements = ["set -u -e", before, failing, "echo next"];
            assert_eq!(code(&elements), Some(1), "{before}, {failing}");
        }
        for strict in [
            "set -e",
            "set -euo pipefail",
            "set -o errexit",
            "true; set -e",
        ] {
            assert_eq!(code(&[strict, failing, "echo next"]), Some(1), "{failing}");
            assert_eq!(
                code(&[strict, "true", failing, "true", "echo next"]),
                Some(1),
                "{failing}"
            );
            assert_eq!(code(&[strict, failing]), Some(1), "{failing}");
        }
    }
    let trapped = code(&["trap 'exit 9' ERR", "false; echo survived", "echo next"]);
    assert_eq!(trapped, Some(9));
}

#[test]
fn writes_atoms_as_the_original() {
    let cases = vectors("env_setter.json");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let atom = atom_command(
            case["name"].as_str().unwrap(),
            case["value"].as_str().unwrap(),
        );
        assert_eq!(Some(atom.as_str()), case["out"].as_str(), "{case}");
    }
}

#[test]
fn a_quoted_value_is_the_line_that_was_printed() {
    for (value, expected) in [
        ("plain 'text' # * ~ {a,b} !", "plain 'text' # * ~ {a,b} !"),
        (r#"quote"inside"#, r#"quote\"inside"#),
        ("dollar$HOME ${A}", r"dollar\$HOME \${A}"),
        ("sub$(touch x)`id`", r"sub\$(touch x)\`id\`"),
        (r"back\slash\", r"back\\slash\\"),
        ("$PROJECT_DIR/a", "$PROJECT_DIR/a"),
        ("$PROJECT_DIRS$", r"\$PROJECT_DIRS\$"),
        (r#"";"#, r#"\";"#),
    ] {
        let atom = atom_command("A", value);
        let quoted = quoted_atom(&atom);
        assert_eq!(quoted, atom_command("A", expected));
        let is_at = value.replace("$PROJECT_DIR/", "/p/");
        assert_eq!(value_for_shell(&quoted, "/p"), Some(is_at));
        assert_eq!(variable_of(&atom, false), Some(("A".into(), value.into())));
        let is_plain = value == expected;
        assert_eq!(variable_of(&atom, true).is_some(), is_plain, "{value}");
    }
    for other in ["export A=1;", "export A B=\"1\";", "cd x", ""] {
        assert_eq!(quoted_atom(other), other);
        assert_eq!(variable_of(other, false), None);
    }
}

#[test]
fn the_directory_of_the_project_is_replaced_as_a_whole_name() {
    let output = "/p/a /p\n/pd/a\n/p_x\n/p-x /p.x\n$PROJECT_DIRECTORY /p/pd\n";
    let values = values_from_output(output, "/p").values;
    let expected = [
        "$PROJECT_DIR/a $PROJECT_DIR",
        "/pd/a",
        "/p_x",
        "$PROJECT_DIR-x $PROJECT_DIR.x",
        "$PROJECT_DIRECTORY $PROJECT_DIR/pd",
    ];
    assert_eq!(values, expected);
}

#[test]
fn only_the_shell_knows_the_value_of_shell_text() {
    for text in [
        "$HOME",
        "$(ls)",
        "`ls`",
        "a\\",
        "a\\n",
        "${PROJECT_DIR:-x}",
        "$PROJECT_DIRECTORY",
        "a\"b",
    ] {
        assert_eq!(
            value_for_shell(&atom_command("A", text), "/p"),
            None,
            "{text}"
        );
    }
    assert_eq!(value_for_shell("cd x", "/p"), None);
}

#[test]
fn output_becomes_one_atom_per_line() {
    let found = values_from_output("\n /p/a.t \n\nb /p/c\r\n  d\n\n", "/p");
    assert_eq!(found.blank, 1);
    assert_eq!(
        found.atoms("T"),
        [
            r#"export T=" $PROJECT_DIR/a.t ";"#,
            r#"export T="b $PROJECT_DIR/c";"#,
            r#"export T="  d";"#
        ]
    );
}

#[test]
fn lines_end_where_python_ends_them() {
    let lines: Vec<_> = lines("a\r\nb\rc\u{c}d\u{2028}e\n\nf").collect();
    assert_eq!(lines, ["a", "b", "c", "d", "e", "", "f"]);
    assert_eq!(
        values_from_output("a\u{1c}\u{1f}", "").atoms("T"),
        [r#"export T="a";"#]
    );
}

#[test]
fn no_output_no_atoms() {
    assert_eq!(values_from_output(" \n\t\n", "/p"), Lines::default());
    let one = values_from_output("a", "");
    assert_eq!(one.atoms("T"), [r#"export T="a";"#]);
}
