//! What is wrong in a job configuration, where, and what to write instead.

use std::fmt;

/// Where in a job configuration something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// In `clusterrunner.yaml`; both count from 1, columns in characters.
    Line {
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// In the `config` of a build request, such as `config.commands[0]`.
    Path(String),
}

/// One thing that is wrong.
///
/// Displays as one line: the original's message, then in brackets the place and the cure, such as `Definition
/// for job "X" contains an invalid config section "comands". (clusterrunner.yaml:3:3: write "commands")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it was given; unused for a [`Position::Path`].
    pub file: String,
    /// Where; `None` when it is about the file as a whole.
    pub place: Option<Position>,
    /// What is wrong, in the original's words where it has words for it.
    pub message: String,
    /// What to write instead.
    pub cure: String,
}

impl Problem {
    /// The line, from 1; `None` for a problem of the whole file or of a build request's `config`.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        match self.place {
            Some(Position::Line { line, .. }) => Some(line),
            _ => None,
        }
    }

    /// The column, from 1, in characters; `None` like [`Problem::line`].
    #[must_use]
    pub fn column(&self) -> Option<u64> {
        match self.place {
            Some(Position::Line { column, .. }) => Some(column),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            place,
            message,
            cure,
        } = self;
        match place {
            Some(Position::Line { line, column }) => {
                write!(f, "{message} ({file}:{line}:{column}: {cure})")
            }
            Some(Position::Path(path)) => write!(f, "{message} ({path}: {cure})"),
            None => write!(f, "{message} ({file}: {cure})"),
        }
    }
}

/// `['A', 'B']`: a list of names as Python prints it, because the original's messages contain it.
pub(super) fn python_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names
        .into_iter()
        .map(|name| {
            let name = name.replace('\\', "\\\\");
            if name.contains('\'') && !name.contains('"') {
                format!("\"{name}\"")
            } else {
                format!("'{}'", name.replace('\'', "\\'"))
            }
        })
        .collect();
    format!("[{}]", quoted.join(", "))
}
