//! How a command gets a password: from standard input, or asked for at the terminal without being shown.

use crate::options::PasswordOptions;
use crate::trouble::Trouble;
use console::Term;
use std::io::{IsTerminal as _, Read as _};

/// More than any password and its line end: what is longer is read no further and is refused by the master.
const MOST_READ: u64 = 16 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The new password.
    Once,
    /// The present password, and then the new one.
    WithThePresentOne,
}

/// Passwords that the user gave.
pub(super) struct Given {
    pub(super) present: Option<String>,
    pub(super) new: String,
}

/// The new password of a user.
pub(super) fn new(options: &PasswordOptions, name: &str, asked: Asked) -> Result<Given, Trouble> {
    if options.password_stdin {
        return from_lines(std::io::stdin().lock().take(MOST_READ), asked);
    }
    let terminal = Term::stderr();
    if !terminal.is_term() || !std::io::stdin().is_terminal() {
        let trouble = Trouble::usage("there is no terminal to ask for the password at");
        return Err(trouble.hint("--password-stdin reads it from standard input"));
    }
    let present = match asked {
        Asked::WithThePresentOne => Some(ask(&terminal, &format!("Present password of {name}: "))?),
        Asked::Once => None,
    };
    let new = ask(&terminal, &format!("New password of {name}: "))?;
    match ask(&terminal, "The same again: ")? == new {
        true => Ok(Given { present, new }),
        false => Err(Trouble::usage(
            "the two passwords differ; nothing was changed",
        )),
    }
}

fn ask(terminal: &Term, question: &str) -> Result<String, Trouble> {
    let failed = |error| Trouble::new(format!("could not ask for the password: {error}"));
    terminal.write_str(question).map_err(failed)?;
    terminal.read_secure_line().map_err(failed)
}

fn from_lines(mut input: impl std::io::BufRead, asked: Asked) -> Result<Given, Trouble> {
    let present = match asked {
        Asked::WithThePresentOne => Some(line(&mut input)?),
        Asked::Once => None,
    };
    let new = line(&mut input)?;
    match (new.is_empty(), asked) {
        (false, _) => Ok(Given { present, new }),
        (true, Asked::Once) => Err(Trouble::usage("standard input has no password")),
        (true, Asked::WithThePresentOne) => Err(Trouble::usage(
            "standard input must have two lines: the present password, and the new one",
        )),
    }
}

fn line(input: &mut impl std::io::BufRead) -> Result<String, Trouble> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|error| {
        Trouble::usage(format!(
            "could not read the password from standard input: {error}"
        ))
    })?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_lines() {
        for (input, asked, expected) in [
            ("secret 12\n", Asked::Once, Some((None, "secret 12"))),
            (" blanks \r\nmore", Asked::Once, Some((None, " blanks "))),
            ("no end", Asked::Once, Some((None, "no end"))),
            ("", Asked::Once, None),
            ("\n", Asked::Once, None),
            (
                "old\nnew\n",
                Asked::WithThePresentOne,
                Some((Some("old"), "new")),
            ),
            ("new\n", Asked::WithThePresentOne, None),
        ] {
            let given = from_lines(input.as_bytes(), asked).ok();
            let given = given
                .as_ref()
                .map(|given| (given.present.as_deref(), given.new.as_str()));
            assert_eq!(given, expected, "{input:?}");
        }
        assert!(from_lines(&b"\xff\xfe\n"[..], Asked::Once).is_err());
    }
}
