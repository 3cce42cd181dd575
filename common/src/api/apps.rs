//! Logs of apps, as `/v2/app_logs/<id>` shows them, and what comes of a command while it runs. All of it is ours.

use serde::{Deserialize, Serialize};

/// A part of the log of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppLogBody {
    /// The number of the first line: the one that was asked for, or a later one if that is not kept any more.
    pub first: u64,
    /// The lines, the oldest first.
    pub lines: Vec<AppLogLine>,
    /// The number of the line after them.
    pub next: u64,
}

/// A line of the log of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppLogLine {
    /// When the master got it, in seconds since 1970.
    pub at: f64,
    /// The process that printed it, such as `web.1`; null where the master says it of the app.
    pub process: Option<String>,
    /// The line, without its end.
    pub text: String,
}

/// What comes of a command that runs in an app: a line of JSON each, `{"output": "..."}` again and again, and one of the
/// others last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// The next of what it prints.
    Output(String),
    /// It has ended, with this exit code: 128 + n by signal n.
    Rc(i32),
    /// It could not be run to its end: why, for the user.
    Error(String),
}
