//! Those who are told of builds: webhooks, servers that show the status of commits, and the command `on_finish`.

mod commands;
mod example;
pub(crate) mod receiver;
mod secure;
mod standing;
mod statuses;
mod webhooks;
