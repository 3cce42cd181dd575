//! Atoms that users write as shell text. The command of the job follows an atom on its line, so an atom must have an end:
//! else the command would be arguments of the atom's last command, and not run.

use super::commands::name_and_value;
use super::product::variables_of;
use super::shell_text::{End, end_of, ends_with_unescaped};
use crate::process::variables::is_name;
use std::borrow::Cow;

/// What the shell reads on behind at the end of a text.
const OPEN: [char; 4] = [';', '&', '|', '\n'];

/// An atom with an end. One that ends by itself, as `export A="1";` does, and one that only sets variables for the command
/// behind it, as `A=1`, stay as they are. `is_shell_text`: whether the value of an atom that sets a variable is, too.
#[must_use]
pub fn whole_atom(atom: &str, is_shell_text: bool) -> Cow<'_, str> {
    if !is_shell_text && (name_and_value(atom).is_some() || variables_of(atom).is_some()) {
        return Cow::Borrowed(atom);
    }
    let end = match end_of(atom) {
        // The shell refuses it.
        End::Quotes => return Cow::Borrowed(atom),
        End::Comment | End::HereDocument => "\n",
        // The first end of a line is nothing behind a backslash.
        End::Backslash => "\n\n",
        End::Ampersand => ";",
        End::Plain => {
            let text = atom.trim_end_matches([' ', '\t']);
            let is_open = OPEN.iter().any(|sign| ends_with_unescaped(text, *sign));
            if is_open || only_assigns(text) {
                return Cow::Borrowed(atom);
            }
            ";"
        }
    };
    Cow::Owned(format!("{atom}{end}"))
}

/// Whether a text is nothing but `NAME=VALUE`, once or several times: such a text before a command is for that command.
fn only_assigns(text: &str) -> bool {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once('=') else {
            return false;
        };
        let Some(after) = after_word(value).filter(|_| is_name(name)) else {
            return false;
        };
        rest = after.trim_start();
    }
    true
}

/// What is behind the first word of a text; none where that is no plain word.
fn after_word(text: &str) -> Option<&str> {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t') => return text.get(at..),
            (None, ';' | '&' | '|' | '<' | '>' | '(' | ')' | '\n') => return None,
            (_, '`') => return None,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                chars.next();
            }
            _ => {}
        }
    }
    Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(atom: &str, end: &str) {
        assert_eq!(whole_atom(atom, true), format!("{atom}{end}"));
    }

    #[test]
    fn an_atom_that_has_an_end_stays_as_it_is() {
        for atom in [
            r#"export A="1";"#,
            r#"export A="x # y; 'z"; export B=2; "#,
            r#"PY="3" T="a"; export PY T;"#,
            "export A=1\n",
            "cd x &&",
            "cd x ||",
            "server &",
            "echo a |",
            "",
            " ",
            "N='z z';",
            "N=1",
            "N='z z' M=\"a\\\"b\" L=a\\ b ",
            // The shell refuses these.
            "export A=\"1",
        ] {
            check(atom, "");
        }
    }

    #[test]
    fn an_atom_without_an_end_gets_one() {
        check("export Z=1", ";");
        check("export Z=1 ", ";");
        check(r#"export Z="a b""#, ";");
        check("A=1; export A", ";");
        check("A=1 export A", ";");
        check("A=$(cat x)", ";");
        check("cd x", ";");
        check(r"echo \;", ";");
        check(r"echo \&", ";");
        check("export Z=1 # x;", "\n");
        check("export Z=1; # why", "\n");
        check("cat <<E\nx\nE", "\n");
        check("export Z=1\\", "\n\n");
    }

    #[test]
    fn a_value_that_is_no_shell_text_needs_none() {
        for atom in [r#"export A="x" # y";"#, r#"A="x # " B="y"; export A B;"#] {
            assert_eq!(whole_atom(atom, false), atom);
        }
        assert_eq!(whole_atom("export Z=1", false), "export Z=1;");
    }

    #[test]
    fn the_command_behind_an_atom_is_run() {
        for atom in [
            "export Z=1",
            "export Z=1 # x;",
            "export Z=1\\",
            "cd /",
            "cat <<E\nx\nE",
            "Z=1",
        ] {
            let line = format!("{} exit 7", whole_atom(atom, true));
            let mut shell = std::process::Command::new("bash");
            let ended = shell.args(["-c", &line]).output().unwrap();
            assert_eq!(ended.status.code(), Some(7), "{atom}");
        }
    }
}
