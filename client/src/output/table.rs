//! Tables of aligned columns.

use crate::output::{self, STRONG, styled};
use anstyle::Style;
use clusterrunner_common::text::printable::plain;

/// Blanks between two columns.
const GAP: usize = 2;

/// A table, mostly with a title above each column.
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
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
            indent: "",
        }
    }

    /// A table without titles below a line that says what it has.
    pub(crate) fn indented() -> Self {
        Self {
            rows: Vec::new(),
            indent: "  ",
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        for line in self.lines() {
            if output::is_closed() {
                return;
            }
            output::say(line);
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        self.rows.iter().map(move |row| {
            let mut line = self.indent.to_owned();
            for (index, (width, cell)) in widths.iter().zip(row).enumerate() {
                line.push_str(&styled(cell.style, &cell.text));
                if index + 1 < row.len() {
                    let missing = width - cell.text.chars().count() + GAP;
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
        let lines: Vec<String> = table
            .lines()
            .map(|line| anstream::adapter::strip_str(&line).to_string())
            .collect();
        assert_eq!(lines, ["Id    Job", "1     größer", "1234  x"]);
    }
}
