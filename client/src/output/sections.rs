//! Sections that the log of a CI system folds: those of GitHub Actions and of Buildkite.

use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::text::printable::plain;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Whose log standard output becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sections {
    /// One without sections.
    Absent,
    /// GitHub Actions.
    GitHub,
    /// Buildkite.
    Buildkite,
}

/// What a line begins with that begins a section at Buildkite, or unfolds the one before.
const HEADS: [&str; 4] = ["---", "+++", "~~~", "^^^"];

/// A section that is open.
#[derive(Debug)]
pub(crate) struct Section {
    /// What ends it, if anything does.
    pub(crate) end: Option<String>,
}

impl Sections {
    /// The log of this process, as its environment says.
    pub(crate) fn here() -> Self {
        static HERE: LazyLock<Sections> = LazyLock::new(|| {
            Sections::of(|name| std::env::var(name).is_ok_and(|value| value == "true"))
        });
        *HERE
    }

    fn of(is_set: impl Fn(&str) -> bool) -> Self {
        match (is_set("GITHUB_ACTIONS"), is_set("BUILDKITE")) {
            (true, _) => Self::GitHub,
            (false, true) => Self::Buildkite,
            (false, false) => Self::Absent,
        }
    }

    /// The line that begins a folded section of what others have written, and the section.
    pub(crate) fn fold(self, title: &str) -> (Option<String>, Section) {
        self.fold_with(title, &token())
    }

    fn fold_with(self, title: &str, token: &str) -> (Option<String>, Section) {
        let title = plain(title);
        match self {
            Self::Absent => (None, Section { end: None }),
            Self::GitHub => {
                let title = title.replace('%', "%25");
                let (stop, resume) = stop_commands(token);
                let begin = format!("::group::{title}\n{stop}");
                let end = Some(format!("{resume}\n::endgroup::"));
                (Some(begin), Section { end })
            }
            // Its sections end where the next one begins.
            Self::Buildkite => (Some(format!("--- {title}")), Section { end: None }),
        }
    }

    /// The lines between which the log's reader obeys nothing, where it obeys what others have written.
    pub(crate) fn unheeded(self) -> Option<(String, String)> {
        match self {
            Self::GitHub => Some(stop_commands(&token())),
            Self::Absent | Self::Buildkite => None,
        }
    }

    /// A text in which the log's reader finds no orders.
    pub(crate) fn without_orders(self, text: &str) -> String {
        let may_order = match self {
            Self::Absent => false,
            Self::GitHub => text.contains("::") || text.contains("##["),
            Self::Buildkite => HEADS.iter().any(|head| text.contains(head)),
        };
        if !may_order {
            return text.to_owned();
        }
        let lines = text.split('\n').map(|line| self.without_order(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A line without orders. GitHub looks for them behind blanks, and for older ones anywhere; Buildkite only at the
    /// beginning.
    fn without_order(self, line: &str) -> String {
        let visible = console::strip_ansi_codes(line);
        match self {
            Self::GitHub => {
                let is_order = visible.trim_start().starts_with("::");
                let line = line.replace("##[", "## [");
                match is_order {
                    true => line.replacen("::", ": :", 1),
                    false => line,
                }
            }
            Self::Buildkite if HEADS.iter().any(|head| visible.starts_with(head)) => {
                format!(" {line}")
            }
            Self::Absent | Self::Buildkite => line.to_owned(),
        }
    }

    /// The line before what is to be seen at once, where a section must begin for that.
    pub(crate) fn unfolded(self, title: &str) -> Option<String> {
        match self {
            Self::Absent | Self::GitHub => None,
            Self::Buildkite => Some(format!("+++ {}", plain(title))),
        }
    }
}

/// GitHub obeys lines of a log such as `::set-env::`. Between these two it does not.
fn stop_commands(token: &str) -> (String, String) {
    (format!("::stop-commands::{token}"), format!("::{token}::"))
}

/// A word that no atom can know.
fn token() -> String {
    let mut token = String::new();
    for byte in random_bytes::<16>() {
        // Writing to a text does not fail.
        write!(token, "{byte:02x}").unwrap_or_default();
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_known_by_its_variable() {
        assert_eq!(Sections::of(|_| false), Sections::Absent);
        assert_eq!(
            Sections::of(|name| name == "GITHUB_ACTIONS"),
            Sections::GitHub
        );
        assert_eq!(
            Sections::of(|name| name == "BUILDKITE"),
            Sections::Buildkite
        );
    }

    #[test]
    fn what_atoms_print_is_folded_and_not_obeyed() {
        let (begin, section) = Sections::GitHub.fold_with("100 %\n::error::", "t0ken");
        let begin = begin.unwrap();
        assert_eq!(
            begin,
            "::group::100 %25\\n::error::\n::stop-commands::t0ken"
        );
        assert_eq!(section.end.unwrap(), "::t0ken::\n::endgroup::");
        let (begin, section) = Sections::Buildkite.fold("atom");
        assert_eq!((&*begin.unwrap(), section.end), ("--- atom", None));
        let (begin, section) = Sections::Absent.fold("atom");
        assert_eq!((begin, section.end), (None, None));
        assert_ne!(token(), token());
    }

    #[test]
    fn no_order_stays_in_a_text_of_others() {
        let text = "a ::b\n  ::add-mask::x\n\u{1b}[31m::error::y\u{1b}[0m\nz ##[command]q";
        let expected = "a ::b\n  : :add-mask::x\n\u{1b}[31m: :error::y\u{1b}[0m\nz ## [command]q";
        assert_eq!(Sections::GitHub.without_orders(text), expected);
        assert_eq!(Sections::Absent.without_orders(text), text);
        assert_eq!(Sections::Buildkite.without_orders(text), text);
        let text = "a ---\n--- a/file\n\u{1b}[31m+++ b/file\n  --- c\n~~~";
        let expected = "a ---\n --- a/file\n \u{1b}[31m+++ b/file\n  --- c\n ~~~";
        assert_eq!(Sections::Buildkite.without_orders(text), expected);
        assert_eq!(Sections::GitHub.without_orders(text), text);
    }

    #[test]
    fn the_end_is_seen_at_once() {
        let title = Sections::Buildkite.unfolded("Build 1");
        assert_eq!(title.as_deref(), Some("+++ Build 1"));
        assert_eq!(Sections::GitHub.unfolded("Build 1"), None);
        assert_eq!(Sections::Absent.unfolded("Build 1"), None);
    }
}
