//! Showing atoms that failed: a line for each, and what the atom printed.

use crate::command::progress::Progress;
use crate::options::FailureOutput;
use crate::output::again::command;
use crate::output::events::Event;
use crate::output::sections::Sections;
use crate::output::text::{atom_of_command, count, duration, how_it_ended, name, setting};
use crate::output::{self, BAD, FAINT, styled};
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomView, ConsoleBody};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::text::printable::ConsoleFilter;
use std::collections::HashSet;

/// Lines of output shown of a failed atom, where not all are.
const SHOWN_LINES: u64 = 20;

/// Characters shown of each of them.
const SHOWN_WIDTH: usize = 500;

/// Failed atoms shown with the end of their output; a build in which everything fails has one cause.
const SHOWN_WITH_OUTPUT: usize = 20;

/// Failed atoms shown while the build runs; the end has the command that shows all.
pub(super) const SHOWN_AT_ALL: usize = 200;

/// Lines fetched at a time where all are shown: more than fit into what is given at once.
const PAGE: u64 = 1_000_000;

/// A line of JSON has no more bytes of output than this: its reader takes the line as a whole.
const MOST_IN_A_LINE: usize = 8 << 20;

/// The failed atoms of a build that were shown.
pub(crate) struct Failures<'a> {
    client: &'a Client,
    build: BuildId,
    how: FailureOutput,
    sections: Sections,
    shown: HashSet<(SubjobId, AtomId)>,
}

impl<'a> Failures<'a> {
    pub(crate) fn new(client: &'a Client, build: BuildId, how: FailureOutput) -> Self {
        Self {
            client,
            build,
            how,
            sections: Sections::here(),
            shown: HashSet::new(),
        }
    }

    /// How many atoms were shown.
    pub(super) fn count(&self) -> usize {
        self.shown.len()
    }

    /// Whether no more atoms are shown.
    pub(super) fn is_full(&self) -> bool {
        let is_bounded = self.how != FailureOutput::Full && !output::is_json_lines();
        output::is_quiet() || is_bounded && self.shown.len() >= SHOWN_AT_ALL
    }

    /// Shows an atom that failed, unless only the result is wanted: its end lists them.
    pub(crate) async fn show(
        &mut self,
        progress: &Progress,
        atom: &AtomView,
    ) -> Result<(), ClientError> {
        let is_new = !output::is_quiet() && self.shown.insert((atom.subjob_id, atom.id));
        if !is_new {
            return Ok(());
        }
        let number = self.shown.len();
        if output::is_json_lines() {
            return self.emit(atom, number).await;
        }
        let is_all = self.how == FailureOutput::Full;
        if number > SHOWN_AT_ALL && !is_all {
            if number == SHOWN_AT_ALL + 1 {
                let all = command(format!("logs {} --failed", self.build));
                progress.note(format!(
                    "more than {SHOWN_AT_ALL} atoms have failed; further ones are not shown here, `{all}` lists them"
                ));
            }
            return Ok(());
        }
        let head = headline(atom);
        match self.how {
            FailureOutput::None => progress.say(head),
            FailureOutput::Tail if number > SHOWN_WITH_OUTPUT => progress.say(head),
            FailureOutput::Tail => {
                let end = self.end_of_output(atom).await?;
                let (begin, section) = self.sections.fold(&title(atom));
                progress.above(|| {
                    output::say(head);
                    begin.iter().for_each(|order| output::order(order));
                    end.iter().for_each(output::say);
                    section.end.iter().for_each(|order| output::order(order));
                });
            }
            FailureOutput::Full => {
                progress.say(head);
                self.show_all_output(progress, atom).await?;
            }
        }
        if number == SHOWN_WITH_OUTPUT && self.how == FailureOutput::Tail {
            let one = command(format!("logs {} {}", self.build, atom_of_command(atom)));
            progress.note(format!(
                "the output of further failed atoms is not shown here; `{one}` shows that of an atom"
            ));
        }
        Ok(())
    }

    /// Tells programs of it.
    async fn emit(&self, atom: &AtomView, number: usize) -> Result<(), ClientError> {
        let output = match self.how {
            FailureOutput::None => None,
            FailureOutput::Tail if number > SHOWN_WITH_OUTPUT => None,
            FailureOutput::Tail => {
                let console = self.console(atom, SHOWN_LINES, None).await?;
                console.map(|console| {
                    let mut end = Bounded::default();
                    end.add(&console);
                    end
                })
            }
            FailureOutput::Full => self.beginning_of_output(atom).await?,
        };
        let num_bytes_cut = output.as_ref().map_or(0, |output| output.num_bytes_cut);
        output::emit(&Event::AtomFailed {
            build_id: self.build,
            atom,
            output: output.as_ref().map(|output| output.text.as_str()),
            num_bytes_cut,
        });
        Ok(())
    }

    /// What an atom printed, as far as a line of JSON has it; `None` where not all of it can be looked at.
    async fn beginning_of_output(&self, atom: &AtomView) -> Result<Option<Bounded>, ClientError> {
        let mut output = Bounded::default();
        let mut line = 0;
        loop {
            let Some(page) = self.console(atom, PAGE, Some(line)).await? else {
                return Ok(None);
            };
            if page.num_lines == 0 || output::is_closed() {
                return Ok(Some(output));
            }
            output.add(&page);
            line = page.offset_line + page.num_lines;
        }
    }

    async fn show_all_output(
        &self,
        progress: &Progress,
        atom: &AtomView,
    ) -> Result<(), ClientError> {
        let (begin, section) = self.sections.fold(&title(atom));
        if let Some(begin) = begin {
            progress.above(|| output::order(&begin));
        }
        let mut line = 0;
        while !output::is_closed() {
            let Some(page) = self.console(atom, PAGE, Some(line)).await? else {
                progress.say(unavailable());
                break;
            };
            if page.num_lines == 0 {
                break;
            }
            progress.say(indented(&page.content, usize::MAX));
            if page.num_bytes_cut > 0 {
                let all = command(format!("logs {} {}", self.build, atom_of_command(atom)));
                let cut = page.num_bytes_cut;
                progress.say(styled(
                    FAINT,
                    format!("    ... {cut} more bytes of this line, see `{all}`"),
                ));
            }
            line = page.offset_line + page.num_lines;
        }
        if let Some(end) = section.end {
            progress.above(|| output::order(&end));
        }
        Ok(())
    }

    /// The last lines that an atom printed, each indented; `None` where it printed nothing.
    async fn end_of_output(&self, atom: &AtomView) -> Result<Option<String>, ClientError> {
        let Some(console) = self.console(atom, SHOWN_LINES, None).await? else {
            return Ok(Some(unavailable()));
        };
        let left_out = (console.offset_line > 0).then(|| {
            let all = command(format!("logs {} {}", self.build, atom_of_command(atom)));
            let left_out = count(console.offset_line, "line");
            styled(FAINT, format!("    ... {left_out} before, see `{all}`"))
        });
        let shown = Some(indented(&console.content, SHOWN_WIDTH)).filter(|text| !text.is_empty());
        let lines: Vec<String> = left_out.into_iter().chain(shown).collect();
        Ok(Some(lines.join("\n")).filter(|text| !text.is_empty()))
    }

    /// Lines that an atom printed; `None` where the master has none to give. The output is a courtesy: the build goes
    /// on, and the results will have it.
    async fn console(
        &self,
        atom: &AtomView,
        max_lines: u64,
        offset: Option<u64>,
    ) -> Result<Option<ConsoleBody>, ClientError> {
        let console = self
            .client
            .console(self.build, atom.subjob_id, atom.id, max_lines, offset)
            .await;
        match console {
            Ok(console) => Ok(Some(console)),
            Err(ClientError::Call(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// The beginning of a text that may be long.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bounded {
    /// At most [`MOST_IN_A_LINE`] bytes.
    text: String,
    /// How many bytes follow that are not there.
    num_bytes_cut: u64,
}

impl Bounded {
    /// Adds a page of it. Once something is left out, all that follows is.
    fn add(&mut self, page: &ConsoleBody) {
        let content = page.content.as_str();
        let room = match self.num_bytes_cut {
            0 => MOST_IN_A_LINE - self.text.len(),
            _ => 0,
        };
        let kept = content.floor_char_boundary(room);
        self.text.push_str(&content[..kept]);
        self.num_bytes_cut += (content.len() - kept) as u64 + page.num_bytes_cut;
    }
}

fn headline(atom: &AtomView) -> String {
    let mut how = how_it_ended(atom);
    if let Some(seconds) = atom.actual_time {
        how = format!("{how}, {}", duration(seconds));
    }
    let (failed, name, setting) = (styled(BAD, "FAILED"), name(atom), setting(atom));
    format!("{failed} {name}  {setting}  ({how})")
}

/// What the section with the output of an atom is called.
fn title(atom: &AtomView) -> String {
    format!("output of {}  {}", name(atom), setting(atom))
}

fn unavailable() -> String {
    styled(FAINT, "    (no output available)")
}

/// Lines that an atom printed, each indented and with so many of its characters.
fn indented(content: &str, width: usize) -> String {
    let mut text = String::new();
    for line in content.lines() {
        let (beginning, rest) = match line.char_indices().nth(width) {
            None => (line, ""),
            Some((end, _)) => (&line[..end], " ..."),
        };
        let mut filter = ConsoleFilter::new();
        let shown = filter.pass(beginning).replace('\n', "\n    ");
        let separator = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{separator}    {shown}{}{rest}", filter.end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let page = |content: String, num_bytes_cut| ConsoleBody {
            offset_line: 0,
            num_lines: 1,
            total_num_lines: 1,
            content,
            num_bytes_cut,
        };
        let mut output = Bounded::default();
        output.add(&page("x".repeat(MOST_IN_A_LINE - 1), 0));
        assert_eq!(output.num_bytes_cut, 0);
        // No half of a character is kept.
        output.add(&page("\u{e9}yz".to_owned(), 0));
        assert_eq!(output.text.len(), MOST_IN_A_LINE - 1);
        assert_eq!(output.num_bytes_cut, 4);
        output.add(&page("more".to_owned(), 3));
        assert_eq!(output.text.len(), MOST_IN_A_LINE - 1, "no gap in the text");
        assert_eq!(output.num_bytes_cut, 11);
        // What the master cut from a line lies between that line and the next ones.
        let mut output = Bounded::default();
        output.add(&page("long".to_owned(), 5));
        output.add(&page("next".to_owned(), 0));
        assert_eq!((output.text.as_str(), output.num_bytes_cut), ("long", 9));
    }

    #[test]
    fn lines_are_indented_and_cut() {
        assert_eq!(indented("", 3), "");
        assert_eq!(indented("a\nb\n", 3), "    a\n    b");
        assert_eq!(indented("abcd", 3), "    abc ...");
        assert_eq!(indented("\n\nx", 3), "    \n    \n    x");
        assert_eq!(
            indented("\u{1b}[31mred\nplain", 9),
            "    \u{1b}[31mred\u{1b}[0m\n    plain"
        );
        assert_eq!(indented("a\rb\u{1b}[2J", 9), "    a\n    b");
    }
}
