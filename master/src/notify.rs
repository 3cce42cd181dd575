//! Tells others of builds: webhooks, servers that show the status of commits, and a command on this machine.
//!
//! What is to be told follows from what builds have come to (`reached`) and from marks of what was told (in the journal's
//! `notified`). So a notice is never lost with the process, and one that may have arrived is sent again under the same id.
//! Each receiver has a queue and a task of its own. Decisions are pure: what builds have come to, what waits and in which
//! order (`queue`), the requests (`webhook`, `statuses`). `sender` and `command` carry them out.

mod answer;
mod attempt;
mod command;
mod newest;
mod ping;
mod queue;
mod reached;
mod request;
mod sender;
mod start;
mod statuses;
mod subject;
mod target;
mod watcher;
mod webhook;
mod worker;

pub use ping::{PingError, ping};
pub use sender::SenderError;
pub use start::{Begun, NotifyError, Surroundings, begin};
pub use watcher::Watcher;
pub use worker::Workers;
