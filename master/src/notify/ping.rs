//! A try of a receiver, for those who operate the farm: whether it is reached, and takes what the master sends.

use super::answer::{beginning, without_secrets};
use super::sender::{Sender, SenderError, Sent};
use super::{statuses, webhook};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::settings::{NotifyReceiver, NotifyTarget};
use clusterrunner_common::text::printable::plain;

/// Why a receiver does not take what the master sends.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// Nothing can be sent.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// It was not reached, or refused.
    #[error("{what}{}", said(.answer))]
    NotTaken {
        /// What is wrong; nothing secret.
        what: String,
        /// The beginning of its answer.
        answer: String,
    },
}

fn said(answer: &str) -> String {
    match answer.trim() {
        "" => String::new(),
        answer => format!(": {}", plain(answer)),
    }
}

/// Sends a webhook the event `ping`, signed as others; asks a server of statuses whose token it is, which changes nothing
/// there. Returns the status of the answer.
///
/// # Errors
/// See [`PingError`].
pub async fn ping(target: &NotifyTarget) -> Result<u16, PingError> {
    let sender = Sender::new(&target.authorities)?;
    let sent = match &target.receiver {
        NotifyReceiver::Webhook(to) => {
            let id = format!("msg_{}", hex::encode(random_bytes::<16>()));
            sender.send(webhook::ping(to, &id, Timestamp::now())).await
        }
        NotifyReceiver::CommitStatuses(to) => sender.ask(statuses::question(to)).await,
    };
    match sent {
        Sent::Taken(status) => Ok(status),
        Sent::NotTaken { what, answer, .. } => {
            let answer = without_secrets(&answer, &target.receiver);
            let answer = beginning(&answer);
            Err(PingError::NotTaken { what, answer })
        }
    }
}
