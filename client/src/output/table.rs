//! Tables of aligned columns.

use crate::output::{self, STRONG, styled};
use anstyle::Style;
use clusterrunner_common::text::printable::plain;
use console::{Term, measure_text_width, truncate_str};

/// Blanks between two columns.
const GAP: usize = 2;

/// No column is cut below this width: rather the terminal breaks the lines.
const NARROWEST: usize = 12;

/// A table, mostly with a title above each column.
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    /// The column that is cut where a terminal is too narrow: what is in others may be meant to be copied.
    cut: Option<usize>,
    /// What is before each row.
    indent: &'static str,
}

/// One cell: its text and how it is shown.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style. A text of several lines, or with what a terminal obeys, has that written out.
    pub(crate) fn styled(style: Style, text: impl Into<String>) -> Self {
        Self {
            text: plain(&text.into()).into_owned(),
            style,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(Style::new(), text)
    }
}

impl Table {
    /// A table with these titles and no rows.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let titles = titles.iter().map(|title| Cell::styled(STRONG, *title));
        Self {
            rows: vec![titles.collect()],
            cut: None,
            indent: "",
        }
    }

    /// A table without titles below a line that says what it has.
    pub(crate) fn indented() -> Self {
        Self {
            rows: Vec::new(),
            cut: None,
            indent: "  ",
        }
    }

    /// Has this column, counted from 0, cut where a terminal is too narrow.
    pub(crate) fn cutting(self, column: usize) -> Self {
        Self {
            cut: Some(column),
            ..self
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        let terminal = output::is_on_terminal().then(Term::stdout);
        let size = terminal.and_then(|terminal| terminal.size_checked());
        for line in self.lines(size.map(|(_, columns)| usize::from(columns))) {
            if output::is_closed() {
                return;
            }
            output::say(line);
        }
    }

    fn lines(&self, most: Option<usize>) -> impl Iterator<Item = String> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(&cell.text));
            }
        }
        let gaps = GAP * widths.len().saturating_sub(1);
        let whole = self.indent.len() + gaps + widths.iter().sum::<usize>();
        let too_much = most.map_or(0, |most| whole.saturating_sub(most));
        if let Some(width) = self.cut.and_then(|column| widths.get_mut(column)) {
            *width = (*width).min(NARROWEST).max(width.saturating_sub(too_much));
        }
        self.rows.iter().map(move |row| {
            let mut line = self.indent.to_owned();
            for (index, (width, cell)) in widths.iter().zip(row).enumerate() {
                let text = truncate_str(&cell.text, *width, "…");
                line.push_str(&styled(cell.style, &text));
                if index + 1 < row.len() {
                    let missing = width.saturating_sub(measure_text_width(&text)) + GAP;
                    line.push_str(&" ".repeat(missing));
                }
            }
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["Id", "Job"]);
        table.add([Cell::from("1"), Cell::from("größer")]);
        table.add([Cell::from("1234"), Cell::from("x")]);
        let all = ["Id    Job", "1     größer", "1234  x"];
        assert_eq!(lines(&table, None), all);
        assert_eq!(lines(&table, Some(12)), all);
        assert_eq!(lines(&table, Some(5)), all);
    }

    #[test]
    fn a_column_is_cut_where_a_terminal_is_narrow() {
        let mut table = Table::new(&["Build", "State", "Project"]).cutting(2);
        table.add(["7", "passed", "Unit of /home/user/projects/a"].map(Cell::from));
        table.add(["8", "passed", "größer ☃"].map(Cell::from));
        let cut = [
            "Build  State   Project",
            "7      passed  Unit of /home/us…",
            "8      passed  größer ☃",
        ];
        assert_eq!(lines(&table, Some(32)), cut);
        assert!(lines(&table, Some(9))[1].ends_with("Unit of /ho…"));
    }

    fn lines(table: &Table, most: Option<usize>) -> Vec<String> {
        let plain = |line: String| anstream::adapter::strip_str(&line).to_string();
        table.lines(most).map(plain).collect()
    }
}
