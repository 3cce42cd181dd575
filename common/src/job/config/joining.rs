//! Commands of a list that the original, which writes ` && ` behind each and all of them on one line, runs otherwise.

use super::check::Check;
use super::document::{Node, Value};
use super::several::has_several_commands;
use super::shell_text::{End, end_of, ends_with_unescaped, has_only_comments};

/// How the original runs several commands in one element, behind the first element.
const SEVERAL: (&str, &str) = (
    "is several commands, of which the original runs all but the first even if an earlier command failed",
    "write each command as an element of its own, or '{ ' before and '; }' behind them",
);

impl Check<'_> {
    pub(super) fn warn_of_joining(&mut self, section: &str, elements: &[Node]) {
        let texts = elements.iter().filter_map(|element| match &element.value {
            Value::Text(text) => Some((element, text.trim())),
            _ => None,
        });
        let texts: Vec<(&Node, &str)> = texts.collect();
        for (index, (element, text)) in texts.iter().enumerate() {
            let is_last = index + 1 == texts.len();
            let told = otherwise(text, is_last, texts.len());
            let of_several = || (index > 0 && has_several_commands(text)).then_some(SEVERAL);
            let Some((what, cure)) = told.or_else(of_several) else {
                continue;
            };
            let message = format!(
                "Definition for job \"{}\" has a command in config section \"{section}\" that {what}.",
                self.job
            );
            let warning = self.problem(&element.place, message, cure);
            self.warnings.push(warning);
        }
    }
}

/// How the original runs an element otherwise, and what to write for both.
fn otherwise(text: &str, is_last: bool, elements: usize) -> Option<(&'static str, &'static str)> {
    if text.ends_with(';') && !ends_with_unescaped(text, ';') {
        return Some((
            "ends with \\;, of which the original takes the ; away",
            "write another word behind it, such as: \\; -print",
        ));
    }
    if has_only_comments(text) && elements > 1 {
        return Some((
            "is nothing but comments, which hide all later commands from the original",
            "write the comment outside of the quotes or the block, as one of YAML, or remove it",
        ));
    }
    if is_last {
        return None;
    }
    match end_of(text) {
        End::Plain => None,
        End::Comment => Some((
            "ends with a comment, which hides all later commands from the original",
            "write the comment on a line of its own before the command",
        )),
        End::HereDocument => Some((
            "ends with a here-document, whose end the original does not find, nor any later command",
            "write a last line behind it, such as: true",
        )),
        End::Quotes => Some((
            "has quotes that are not closed: to the original the next commands are in them",
            "close the quotes, or write a backslash before the quote",
        )),
        End::Backslash => Some((
            "ends with a backslash, which gives it an argument of one blank in the original",
            "remove the backslash",
        )),
        End::Ampersand => Some((
            "ends with \\&: to the original the next command is its arguments",
            "write '&' in quotes instead",
        )),
    }
}
