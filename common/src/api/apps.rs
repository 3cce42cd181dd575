//! Logs of apps, as `/v2/app_logs/<id>` shows them. All of it is ours.

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
