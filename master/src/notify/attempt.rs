//! One attempt to tell a receiver of something.

use super::answer::{beginning, without_secrets};
use super::command;
use super::queue::{Failure, Notice};
use super::sender::{Sender, Sent};
use super::statuses;
use super::subject::Subject;
use super::webhook;
use super::worker::{Means, Outcome, Worker};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::command::Ended;
use clusterrunner_common::settings::NotifyReceiver;
use std::time::Duration;

/// How long the master waits at its end for a request under way.
const LAST: Duration = Duration::from_secs(5);

impl Worker {
    /// Tells the receiver of a notice, once.
    pub(super) async fn attempt(&self, notice: &Notice) -> Outcome {
        let id = notice.build;
        let subject = match self.subject(id).await {
            Ok(Some(subject)) => subject,
            Ok(None) => return Outcome::Nothing("the build is not kept any more"),
            Err(error) => {
                let what = format!("the build can not be read: {error}");
                return Outcome::Failed(Failure::Unreadable, what, String::new());
            }
        };
        let page = format!("{}/ui/builds/{id}", self.public_url);
        match &self.means {
            Means::Command(on_finish, surroundings) => {
                let told = (notice, &subject, page.as_str());
                let ran = command::run(on_finish, surroundings, told, &self.stop).await;
                match ran {
                    Ok((Ended::Canceled, _)) => Outcome::Stopped,
                    // Such as where the system has no process left.
                    Err(error) => {
                        let what = format!("on_finish could not be run: {error}");
                        Outcome::Failed(Failure::Unreachable(None), what, String::new())
                    }
                    Ok(ran) => {
                        command::log(id, ran);
                        Outcome::Told("the command was run".to_owned())
                    }
                }
            }
            Means::Request(receiver, sender) => {
                self.send(notice, (receiver, sender), (&subject, &page))
                    .await
            }
        }
    }

    async fn send(
        &self,
        notice: &Notice,
        (receiver, sender): (&NotifyReceiver, &Sender),
        told: (&Subject, &str),
    ) -> Outcome {
        let name = &self.target.name;
        let outgoing = match receiver {
            NotifyReceiver::Webhook(to) => {
                webhook::request(to, name, notice, told, Timestamp::now())
            }
            NotifyReceiver::CommitStatuses(to) => match statuses::request(to, notice, told) {
                Some(_)
                    if self
                        .newest
                        .is_newer(&statuses::name(to, told.0), notice.build) =>
                {
                    return Outcome::Nothing("a newer build of the same commit was told of");
                }
                Some(outgoing) => outgoing,
                None => return Outcome::Nothing("its commit is not known"),
            },
        };
        let last = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let sent = tokio::select! {
            sent = sender.send(outgoing) => sent,
            () = last => return Outcome::Stopped,
        };
        let told_of = || {
            if let NotifyReceiver::CommitStatuses(to) = receiver {
                let name = statuses::name(to, told.0);
                self.newest.told(&name, notice.build);
            }
        };
        match sent {
            Sent::Taken(status) => {
                told_of();
                Outcome::Told(format!("status {status}"))
            }
            Sent::NotTaken {
                status: Some(status),
                answer,
                ..
            } if is_known_already(receiver, status, &answer) => {
                told_of();
                Outcome::Told("it was known already".to_owned())
            }
            Sent::NotTaken {
                failure,
                what,
                answer,
                ..
            } => {
                let answer = without_secrets(answer.trim(), receiver);
                Outcome::Failed(failure, what, beginning(&answer))
            }
        }
    }

    /// A build, wherever it is. Also one that a user has deleted: its end is told.
    async fn subject(&self, id: BuildId) -> Result<Option<Subject>, String> {
        let live = self.builds.cluster.read(move |cluster| {
            let build = cluster.build(id)?;
            Some(Subject::of_live(cluster, build))
        });
        if let Some(subject) = live.await.map_err(|gone| gone.to_string())? {
            return Ok(Some(subject));
        }
        let ended = self.builds.archived.build(id).await;
        let ended = ended.map_err(|error| error.to_string())?;
        Ok(ended.as_ref().map(Subject::of_ended))
    }
}

fn is_known_already(receiver: &NotifyReceiver, status: u16, answer: &str) -> bool {
    match receiver {
        NotifyReceiver::Webhook(_) => false,
        NotifyReceiver::CommitStatuses(to) => statuses::is_known_already(to.forge, status, answer),
    }
}
