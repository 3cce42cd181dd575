//! From the lists of a job to shell text: joining commands, and atoms out of an atomizer's output.
//!
//! The results are part of the API: atoms are shown to users and key the learned timings, so every
//! oddity of the original is kept that hides no command (specification 5.2 and 5.3).

use super::product;
use super::quoting::{PROJECT, SPECIAL, continues_a_name, quoted};
use super::several::{asks_to_end_at_failures, has_several_commands, is_whole};
use super::shell_text::{End, end_of, ends_with_unescaped, has_only_comments};
use crate::process::variables::is_name;
use std::borrow::Cow;

/// Ends the shell as the command before it ended, if that failed.
pub(crate) const CHECK: &str = "case $? in 0) ;; *) exit ;; esac";

/// How long elements may be, in bytes, that are one command only together: each more of them has all of them read again.
const LONGEST_PART: usize = 64 << 10;

/// Joins the elements of a command list into one shell command, with the original's meaning.
///
/// Each element is trimmed and loses its trailing `;`; ` && ` stands between elements, or only a blank behind one that ends in
/// `&`. An element of several commands stands on lines of its own with a [`CHECK`] before and behind it, since ` && ` would
/// count for one of them only; where an element asks for `set -e`, all do, since it counts nowhere to the left of ` && `. Among
/// parts of commands, which a check would cut, braces take the place of checks. An element that would take what follows for a
/// part of itself, such as one that ends in a comment, stands in braces on lines of its own; one that is nothing but comments
/// is left out. `None` stands for an empty list element, which is left out, too. Oddities that are kept: an empty element at
/// the start gives a leading `&&`, and `a ;` leaves two blanks.
#[must_use]
pub(crate) fn join_commands<'a>(elements: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut elements: Vec<&str> = elements.into_iter().flatten().map(without_end).collect();
    if !elements.iter().all(|element| has_only_comments(element)) {
        elements.retain(|element| !has_only_comments(element));
    }
    let checks = checked(&elements);
    let (mut joined, mut joint) = (String::new(), "");
    for (index, element) in elements.iter().enumerate() {
        let end = end_of(element);
        // Behind a backslash the end of the line would not count.
        let more = if end == End::Backslash { "\n" } else { "" };
        match checks[index] {
            true => joined.push_str(&format!("\n{CHECK}\n")),
            false => joined.push_str(joint),
        }
        let is_last = index + 1 == elements.len();
        let is_followed = !is_last && !checks[index + 1];
        let is_split = index > 0 && !checks[index] && has_several_commands(element);
        if is_split || (end.needs_a_line() && is_followed) {
            joined.push_str(&format!("{{\n{element}\n{more}}}"));
            joint = " &&\n";
        } else {
            joined.push_str(&format!("{element}{}", if is_last { "" } else { more }));
            joint = match ends_with_unescaped(element.trim_end(), '&') {
                true => " ",
                false => " && ",
            };
        }
    }
    joined.push_str(joint);
    let joined = joined.trim();
    if joined.ends_with("&&") {
        joined.trim_end_matches('&').trim().to_owned()
    } else {
        joined.to_owned()
    }
}

/// Before which elements a [`CHECK`] stands, by their indices.
fn checked(elements: &[&str]) -> Vec<bool> {
    let is_strict = elements
        .iter()
        .any(|element| asks_to_end_at_failures(element));
    let mut was_several = false;
    let mut checks = vec![false; elements.len()];
    // The elements before, from the last one on behind which all was whole.
    let mut open = String::new();
    for (index, element) in elements.iter().enumerate() {
        let is_several = index > 0 && has_several_commands(element);
        checks[index] = index > 0 && open.is_empty() && (is_strict || is_several || was_several);
        was_several = is_several;
        if open.len() <= LONGEST_PART {
            open.push_str(element);
            open.push('\n');
            if is_whole(&open) {
                open.clear();
            }
        }
    }
    checks
}

/// An element without the white space around it and the `;` at its end, as far as they mean nothing.
fn without_end(element: &str) -> &str {
    let mut element = element.trim();
    while ends_with_unescaped(element, ';') {
        element = &element[..element.len() - 1];
    }
    element
}

/// The atom for one value as it is shown: `export NAME="value";`, with nothing escaped. It is what the original's slaves
/// run; ours get [`quoted_atom`] of it.
#[must_use]
pub(crate) fn atom_command(name: &str, value: &str) -> String {
    format!("export {name}=\"{value}\";")
}

/// The shell text of an atom whose variable is to hold the value just as it was printed. A value that the shell takes as
/// it is, as most are, stays as it is. The text `$PROJECT_DIR` stays the variable.
#[must_use]
pub fn quoted_atom(atom: &str) -> Cow<'_, str> {
    let quoted = name_and_value(atom).map(|(name, value)| (name, value, quoted(value)));
    match quoted {
        Some((name, value, quoted)) if quoted != value => Cow::Owned(atom_command(name, &quoted)),
        Some(_) | None => Cow::Borrowed(atom),
    }
}

/// The variable's name and the value of an atom that sets one; of an atom that is shell text only where the shell takes
/// the value as it is. Of an atom that sets several, their names, and `NAME=value` of each, with blanks between them.
#[must_use]
pub fn variable_of(atom: &str, is_shell_text: bool) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if let Some(variables) = product::variables_of(atom) {
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let pairs = variables.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        return Some((Cow::Owned(names.join(" ")), Cow::Owned(pairs.join(" "))));
    }
    let (name, value) = name_and_value(atom)?;
    let is_certain = !is_shell_text || quoted(value) == value;
    is_certain.then_some((Cow::Borrowed(name), Cow::Borrowed(value)))
}

/// The value that the shell gives to the variable of an atom that slaves get ([`quoted_atom`]); none of an atom whose value
/// only a shell can find out, as that of a command in it.
#[must_use]
pub fn value_for_shell(atom: &str, project_directory: &str) -> Option<String> {
    let (_, quoted) = name_and_value(atom)?;
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(next) = rest.find(SPECIAL) {
        let (plain, special) = rest.split_at(next);
        value.push_str(plain);
        if let Some(escaped) = special.strip_prefix('\\') {
            let character = escaped.chars().next().filter(|one| SPECIAL.contains(one))?;
            value.push(character);
            rest = &escaped[1..];
            continue;
        }
        let after = special.strip_prefix("${PROJECT_DIR}").or_else(|| {
            special
                .strip_prefix(PROJECT)
                .filter(|after| !continues_a_name(after))
        })?;
        value.push_str(project_directory);
        rest = after;
    }
    value.push_str(rest);
    Some(value)
}

/// The variable's name and the value of an atom that sets one, both as they stand there.
pub(super) fn name_and_value(atom: &str) -> Option<(&str, &str)> {
    let (name, value) = atom.strip_prefix("export ")?.split_once("=\"")?;
    let value = value.strip_suffix("\";")?;
    is_name(name).then_some((name, value))
}

/// What an atomizer's output is made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The values, in the order of the output.
    pub values: Vec<String>,
    /// How many blank lines there are between them, of which the original makes atoms.
    pub blank: usize,
}

impl Lines {
    /// The atoms of an atomizer of its own: each sets the variable `name` to a value.
    #[must_use]
    pub fn atoms(self, name: &str) -> Vec<String> {
        let values = self.values.iter();
        values.map(|value| atom_command(name, value)).collect()
    }
}

/// The values of one atomizer.
///
/// Each line that is not blank is one value, in which the path `project_directory` becomes `$PROJECT_DIR`, but not where it
/// is the beginning of a longer name.
#[must_use]
pub fn values_from_output(output: &str, project_directory: &str) -> Lines {
    let mut found = Lines::default();
    let mut blank = 0;
    for line in lines(output) {
        if line.chars().all(is_python_space) {
            blank += 1;
            continue;
        }
        if !found.values.is_empty() {
            found.blank += blank;
        }
        blank = 0;
        // Replacing the empty text would put the variable between all letters.
        found.values.push(match project_directory {
            "" => line.to_owned(),
            directory => with_project(line, directory),
        });
    }
    found
}

/// A line in which the project's directory is a variable.
fn with_project(line: &str, directory: &str) -> String {
    let mut value = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(directory) {
        value.push_str(before);
        value.push_str(match continues_a_name(after) {
            true => directory,
            false => PROJECT,
        });
        rest = after;
    }
    value + rest
}

/// White space of Python's `strip`: Unicode's and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The lines of Python's `splitlines`, which also ends a line at a lone carriage return, a form feed and
/// their like. The atoms have to be the same, or learned timings would not be found again.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends_line = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(ends_line) else {
            return rest.take();
        };
        let (line, after) = text.split_at(end);
        let mut end_and_more = after.chars();
        if end_and_more.next() == Some('\r') && after.starts_with("\r\n") {
            end_and_more.next();
        }
        rest = Some(end_and_more.as_str());
        Some(line)
    })
}

#[cfg(test)]
mod tests {
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
}
