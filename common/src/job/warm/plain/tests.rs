//! Plain texts, compared with bash itself.

use super::*;
use crate::job::config::{CHECK, join_commands};
use std::process::Command;

fn environment(name: &str) -> Option<String> {
    match name {
        "ARTIFACT_DIR" => Some("/tmp/a b".to_owned()),
        "PLAIN" => Some("plain".to_owned()),
        "STAR" => Some("*".to_owned()),
        _ => None,
    }
}

/// What bash makes of a text whose last command prints its arguments.
fn by_bash(text: &str) -> String {
    let ran = Command::new("bash")
        .args(["-c", text])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("ARTIFACT_DIR", "/tmp/a b")
        .env("PLAIN", "plain")
        .env("STAR", "*")
        .output()
        .unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn words_are_those_of_bash() {
    for text in [
        "printf <%s> a 'b c' \"d e\" f\\ g",
        "export T=\"x y\"; printf <%s> $PLAIN \"$T\" ${PLAIN}s '$T'",
        "export T=\"a\\$b\\\"c\\`d\\\\e\\f\"; printf <%s> \"$T\"",
        "printf <%s> --x=\"$ARTIFACT_DIR/junit.xml\" -p no:cache",
        "export A=1 B=\"$PLAIN\" && export C=$B$A; printf <%s> $C \"\" '' $NOTHING \"$NOTHING\"",
        "A=$STAR; printf <%s> x",
        "export A=$STAR; printf <%s> \"$A\"",
        "X=1 printf <%s> a=b =c d#e",
        "export OPTS=$STAR FUNC='a b'; printf <%s> x=\"$OPTS\" y=$PLAIN \"$FUNC\"",
        "set -e; set -o pipefail && printf <%s> 'it'\\''s'",
        "\n printf <%s> a \\\n b\n",
        "printf <%s> \"a\\\nb\" ;",
        "printf <%s> ümläut @%+,-./:_",
    ] {
        let text = text.replace("<%s>", "'<%s>'");
        match read(&text, &environment) {
            Ok(plain) => {
                let arguments = plain.words[2..].iter();
                let mut printed: String = arguments.map(|word| format!("<{word}>")).collect();
                if printed.is_empty() {
                    printed.push_str("<>");
                }
                assert_eq!(printed, by_bash(&text), "{text}");
            }
            Err(error) => {
                assert_eq!((text.as_str(), error), ("A=$STAR; printf '<%s>' x", FIRST));
            }
        }
    }
}

#[test]
fn all_of_it_is_read() {
    let text =
        "export FILE=\"tests/a b.py\"; export X=1 && cd sub && Y=2 python3 -m pytest \"$FILE\"";
    let plain = read(text, &environment).unwrap();
    let exports: Vec<_> = plain
        .exports
        .iter()
        .map(|(a, b)| format!("{a}={b}"))
        .collect();
    assert_eq!(exports, ["FILE=tests/a b.py", "X=1", "Y=2"]);
    assert_eq!(plain.directory.as_deref(), Some("sub"));
    assert_eq!(plain.words, ["python3", "-m", "pytest", "tests/a b.py"]);
}

/// Between the commands of a job there may be checks.
#[test]
fn commands_of_a_job_are_plain_as_they_are_joined() {
    let joined = |elements: &[&str]| join_commands(elements.iter().copied().map(Some));
    for elements in [
        ["set -e", "export X='a b'", "printf '<%s>' \"$X\""],
        ["set -eo pipefail", "cd /tmp", "printf '<%s>' \"$PLAIN\""],
    ] {
        let text = joined(&elements);
        assert!(text.contains(CHECK), "{text}");
        let plain = read(&text, &environment).unwrap();
        assert_eq!(format!("<{}>", plain.words[2]), by_bash(&text));
    }
    let quoted = format!("printf '<%s>' '\n{CHECK}\nx'");
    let plain = read(&quoted, &environment).unwrap();
    assert_eq!(format!("<{}>", plain.words[2]), by_bash(&quoted));
    read(&format!("{CHECK} x"), &environment).unwrap_err();
}

#[test]
fn what_is_not_plain_is_refused() {
    for (text, error) in [
        ("a | b", OPERATOR),
        ("a 'b\0'", OPERATOR),
        ("a > b", OPERATOR),
        ("a 2>&1", OPERATOR),
        ("a & b", OPERATOR),
        ("a || b", OPERATOR),
        ("(a)", OPERATOR),
        ("a; b", FIRST),
        ("a && b", FIRST),
        ("a # b", OPERATOR),
        ("! a", OPERATOR),
        ("a $(b)", SUBSTITUTION),
        ("a `b`", SUBSTITUTION),
        ("a \"`b`\"", SUBSTITUTION),
        ("a ${b:-c}", SUBSTITUTION),
        ("a $1", SUBSTITUTION),
        ("a $$", SUBSTITUTION),
        ("a $'b'", SUBSTITUTION),
        ("a *.py", PATTERN),
        ("a {b,c}", PATTERN),
        ("a ~/b", PATTERN),
        ("a $ARTIFACT_DIR", SPLIT),
        ("a $STAR", SPLIT),
        ("a b=$ARTIFACT_DIR", SPLIT),
        ("a -o b=$STAR", SPLIT),
        ("a 'b", QUOTES),
        ("a \"b", QUOTES),
        ("a $PWD", VARIABLE),
        ("a \"$RANDOM\"", VARIABLE),
        ("", NOTHING),
        ("export A=1;", WORD),
        ("A=1", NOTHING),
        ("if a", WORD),
        ("cd; a", CD),
        ("cd - && a", CD),
        ("cd a && cd b && c", CD),
        ("set -x; a", FIRST),
        ("set -u; a", FIRST),
        ("set -o; a", FIRST),
        ("export; a", FIRST),
        ("A=1 B=$A a", ASSIGNMENTS),
        (";a", OPERATOR),
        ("a;; b", OPERATOR),
    ] {
        assert_eq!(read(text, &environment), Err(error), "{text}");
    }
}

#[test]
fn an_atom_is_split_from_its_command() {
    let split = |text: &'static str| split_atom(text, usize::MAX, &environment);
    let (variables, rest) =
        split("export A=\"x;y\"; export B=\"$A/$PLAIN\"; run | cat; x").unwrap();
    assert_eq!(rest, "run | cat; x");
    assert_eq!(variables.len(), 2);
    assert_eq!((&*variables["A"], &*variables["B"]), ("x;y", "x;y/plain"));
    assert_eq!(split("run").unwrap(), (BTreeMap::new(), "run"));
    let (variables, rest) = split("export A=\"1\" B=\"2\"; export C=$A && run").unwrap();
    assert_eq!((variables.len(), rest), (2, "export C=$A && run"));
    split("export A=\"$(date)\"; run").unwrap_err();
    let first = split_atom("export A=\"1\"; export B=\"2\"; run", 1, &environment);
    let (variables, rest) = first.unwrap();
    assert_eq!((variables.len(), rest), (1, "export B=\"2\"; run"));
}
