//! What others print on its way to standard output, piece by piece.

use super::pass_on;
use super::sections::Sections;

/// Passes on what others print. Where standard output becomes a log whose reader obeys orders, such as `::add-mask::`,
/// the reader obeys none of it.
pub(crate) struct Relay {
    sections: Sections,
    /// What lets the reader obey again, once something is passed on.
    end: Option<String>,
    is_within_line: bool,
}

impl Relay {
    /// Nothing is passed on yet. What is raw goes to standard output alone, with no line of this program.
    pub(crate) fn new(is_raw: bool) -> Self {
        let sections = match is_raw {
            true => Sections::Absent,
            false => Sections::here(),
        };
        Self::to(sections)
    }

    fn to(sections: Sections) -> Self {
        Self {
            sections,
            end: None,
            is_within_line: false,
        }
    }

    /// Passes on a piece.
    pub(crate) fn print(&mut self, text: &[u8]) {
        if let Some(begin) = self.before(text) {
            pass_on(begin.as_bytes());
        }
        if !text.is_empty() {
            pass_on(text);
        }
    }

    /// What must be printed before a piece.
    fn before(&mut self, text: &[u8]) -> Option<String> {
        let last = *text.last()?;
        self.is_within_line = last != b'\n';
        if self.end.is_some() {
            return None;
        }
        let (begin, end) = self.sections.unheeded()?;
        self.end = Some(end);
        Some(format!("{begin}\n"))
    }

    /// What must be printed after all pieces, in lines of its own.
    fn after(&mut self) -> Option<String> {
        let end = self.end.take()?;
        let separator = if self.is_within_line { "\n" } else { "" };
        Some(format!("{separator}{end}\n"))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(end) = self.after() {
            pass_on(end.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_lies_between_two_orders() {
        let mut relay = Relay::to(Sections::GitHub);
        assert_eq!(relay.before(b""), None);
        assert_eq!(relay.after(), None, "nothing was passed on");
        let begin = relay.before(b"::add-mask::x\n").unwrap();
        let token = begin.trim_end().strip_prefix("::stop-commands::").unwrap();
        assert_eq!(relay.before(b"no line feed"), None);
        assert_eq!(relay.after(), Some(format!("\n::{token}::\n")));
        relay.before(b"a line\n").unwrap();
        assert!(relay.after().unwrap().starts_with("::"));
        for sections in [Sections::Absent, Sections::Buildkite] {
            let mut relay = Relay::to(sections);
            assert_eq!((relay.before(b"x"), relay.after()), (None, None));
        }
    }
}
