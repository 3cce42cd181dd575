//! Staying in touch with the master: connecting, heartbeats, saying good-bye.

use crate::coordinator::WorkHandle;
use crate::data_directory::DataDirectory;
use crate::deliver::held_results::HeldResults;
use crate::master::api::{ConnectError, MasterApi};
use crate::master::registration::Registration;
use crate::master::retrying::{Backoff, Failures};
use crate::run::consoles::Consoles;
use crate::supervisor::Supervisor;
use crate::work::Command;
use clusterrunner_common::api::{ConnectAnswer, ErrorCode, PROTOCOL, SlaveState, StateReportBody};
use clusterrunner_common::caller::CallError;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::SlaveId;
use clusterrunner_common::process::stop_signals::Blame;
use reqwest::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often atoms are looked for whose start the master was not told: it hears of each within a second.
const NEWS: Duration = Duration::from_millis(750);

/// How long saying good-bye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

fn tell(failures: &mut Failures, error: &CallError) {
    if !failures.is_new(error) {
        tracing::debug!(%error, "the master is still unreachable");
    } else if error.is_for_another_life() {
        tracing::info!("the master was started again; retrying");
    } else if let Some(ErrorCode::UnknownSlaveKey | ErrorCode::InvalidJoinToken) = error.code() {
        tracing::error!(
            %error,
            "the master does not take this slave by what it shows: `clusterrunner token create --role slave` on the master \
             makes a join token, with which `clusterrunner slave --join-token-file` joins again; retrying"
        );
    } else if error.code() == Some(ErrorCode::OtherMaster) {
        tracing::error!(%error, "this slave has joined a master with another key and takes no orders from another; retrying");
    } else if error.code() == Some(ErrorCode::AddressOfOtherKey) {
        tracing::error!(%error, "another slave has this one's address; retrying");
    } else if error.status() == Some(StatusCode::UNAUTHORIZED) {
        tracing::error!(
            %error,
            "the master does not accept this slave's signature: both need the same `secret` in clusterrunner.conf, and clocks that agree; a master of an older version takes no keys \
             and no join tokens; retrying"
        );
    } else {
        tracing::warn!(%error, "no contact with the master; retrying");
    }
}

/// The same of a try to connect.
fn tell_of_connect(failures: &mut Failures, error: &ConnectError) {
    match error {
        ConnectError::Call(error) => tell(failures, error),
        ConnectError::NotTaken { refused, joined } if failures.is_new(refused) => tracing::error!(
            error = %refused,
            "the master does not take this slave by what it shows, and this slave has joined the one with the key {joined}. If \
             both are the same, `clusterrunner token create --role slave` on the master makes a join token, with which \
             `clusterrunner slave --join-token-file` joins again. If the master is another and meant, start the slave once with \
             --forget-master besides; retrying"
        ),
        ConnectError::NotTaken { .. } => tracing::debug!(%error, "still not taken by the master"),
        ConnectError::Master(error) if failures.is_other_master() => {
            tracing::error!("{error}; retrying");
        }
        ConnectError::Master(error) => tracing::debug!(%error, "still no master of this slave"),
    }
}

/// Whether the master knows neither the key of this slave nor what it joins with.
fn is_unknown(error: &ConnectError) -> bool {
    let (ConnectError::Call(refused) | ConnectError::NotTaken { refused, .. }) = error else {
        return false;
    };
    matches!(
        refused.code(),
        Some(ErrorCode::UnknownSlaveKey | ErrorCode::InvalidJoinToken)
    )
}

/// Whether an operator has revoked this slave's key: it ends, and does not try to get in again by itself.
fn is_revoked(error: &CallError) -> bool {
    error.code() == Some(ErrorCode::RevokedSlaveKey)
}

fn tell_of_end(failures: &mut Failures) {
    if failures.are_over() {
        tracing::info!("in contact with the master again");
    }
}

/// What is needed to stay connected.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) api: MasterApi,
    pub(crate) work: WorkHandle,
    pub(crate) supervisor: Supervisor,
    pub(crate) registration: Registration,
    pub(crate) space: DiskSpace,
    pub(crate) held: HeldResults,
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) consoles: Arc<Consoles>,
    /// The time between two heartbeats.
    pub(crate) interval: Duration,
    /// Whether the slave ends when the master knows neither its key nor what it joins with.
    pub(crate) ends_when_unknown: bool,
}

/// Keeps the slave connected until `stop`, then tells the master that it goes.
pub(crate) async fn keep(connection: &Connection, stop: &CancellationToken, blame: &Blame) {
    let Connection {
        api,
        work,
        registration,
        space,
        interval,
        ..
    } = connection;
    let connected = async {
        let mut failures = Failures::default();
        loop {
            // A slave in contact is given work.
            space.wait_for(0, "connecting to the master", stop).await;
            let Some(id) = connection.connect(&mut failures).await else {
                return;
            };
            let lasting = connection.hold(id, &mut failures);
            let no_space = async {
                while space.check(0).is_ok() || work.view().current_build.is_some() {
                    tokio::time::sleep(*interval).await;
                }
            };
            tokio::select! {
                () = lasting => {}
                () = no_space => {
                    tracing::warn!("this slave leaves the farm until there is space on its disk");
                    say_goodbye(api, id, None).await;
                }
            }
        }
    };
    let is_shut_out = tokio::select! {
        () = stop.cancelled() => false,
        () = connected => true,
    };
    // The master places instances elsewhere when it hears that this slave goes: nothing of them may run here then.
    connection.supervisor.end().await;
    // One that takes nothing of this slave any more knows that it goes.
    if let Some(id) = registration.id().filter(|_| !is_shut_out) {
        connection
            .supervisor
            .push_last_logs(api, registration)
            .await;
        say_goodbye(api, id, blame.reason()).await;
    }
}

/// Tells the master not to count on us any more; and why, where what we ran may be to blame.
async fn say_goodbye(api: &MasterApi, id: SlaveId, reason: Option<&str>) {
    let report = StateReportBody {
        state: SlaveState::Disconnected,
        build_id: None,
        session_id: Some(api.session.clone()),
        reason: reason.map(str::to_owned),
    };
    match tokio::time::timeout(GOODBYE_TIMEOUT, api.report(id, report)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::info!(%error, "could not tell the master that this slave leaves");
        }
        Err(_) => tracing::info!("the master did not confirm in time that this slave leaves"),
    }
}

impl Connection {
    /// Connects, however long it takes. None where this slave's key was revoked, or is unknown and the slave is to end then: it
    /// ends.
    async fn connect(&self, failures: &mut Failures) -> Option<SlaveId> {
        let Self {
            api,
            registration,
            held,
            data,
            ..
        } = self;
        let mut backoff = Backoff::slow();
        loop {
            let closed = registration.close().await;
            match api.connect(registration.id(), held.to_tell()).await {
                Ok(answer) => match answer.slave_id.parse() {
                    Ok(id) => {
                        tell_of_end(failures);
                        let is_resumed = self.take_over(&answer, id);
                        drop(closed);
                        if answer.resumed && !is_resumed {
                            // It counts on work that was dropped: it must hear that.
                            registration.renounce();
                        }
                        if !held.settle(data, &answer.wanted).await {
                            // It waits for a result that is gone: it must hear that.
                            registration.renounce();
                        }
                        return Some(id);
                    }
                    Err(_) => tracing::warn!(
                        slave_id = answer.slave_id,
                        "the master gave an id that is not a number"
                    ),
                },
                Err(ConnectError::Call(error)) if is_revoked(&error) => {
                    self.end_revoked();
                    return None;
                }
                Err(error) if self.ends_when_unknown && is_unknown(&error) => {
                    self.data.give_up(format!(
                        "its master knows it no more, and it is to end then (end_when_unknown): {error}"
                    ));
                    return None;
                }
                Err(error) => tell_of_connect(failures, &error),
            }
            drop(closed);
            registration.pause(&mut backoff).await;
        }
    }

    /// Ends the slave; its atoms end with it.
    fn end_revoked(&self) {
        let directory = self.api.identity.directory().display();
        self.data.give_up(format!(
            "its key {} was revoked by an operator of the master. If this machine is to be a slave again: `clusterrunner \
             slaves revoke --undo` on the master, or remove {directory} and start the slave with a join token or the secret",
            self.api.identity.fingerprint()
        ));
    }

    /// Takes the registration for ours. Says whether all that was handed out before still counts.
    fn take_over(&self, answer: &ConnectAnswer, id: SlaveId) -> bool {
        let api = &self.api;
        tracing::info!(
            slave.id = %id,
            resumed = answer.resumed,
            "connected to the master"
        );
        if api.dialect.is_original() {
            tracing::info!("the master is one of the original ClusterRunner");
        } else if let Some(other) = answer.protocol.filter(|protocol| *protocol != PROTOCOL) {
            tracing::warn!(
                "the master speaks protocol {other} and not {PROTOCOL}: this slave can not work for it. Run the same version of ClusterRunner on both"
            );
        } else if answer.protocol.is_none() {
            tracing::warn!(
                "the master does not speak protocol {PROTOCOL}: this slave can not work for it. If it is one of the original ClusterRunner, set accept_legacy_peers = True"
            );
        }
        let is_known = api.lineage.meet(id, answer.master.clone());
        let resumed = answer.resumed && is_known;
        let connected = Command::Connected { resumed };
        if self.work.send(connected).is_err() {
            tracing::debug!("connected while the slave is ending");
        }
        self.registration.is_now(id);
        resumed
    }

    /// Waits until there is an atom to tell of whose start did not go along with results.
    async fn has_news(&self) {
        loop {
            // First of all, so that there are no two heartbeats within this.
            tokio::time::sleep(NEWS).await;
            if self.consoles.has_news() {
                return;
            }
        }
    }

    /// Gives signs of life until the master does not count on us any more.
    async fn hold(&self, id: SlaveId, failures: &mut Failures) {
        let (api, registration) = (&self.api, &self.registration);
        let mut backoff = Backoff::slow();
        loop {
            match api.heartbeat(id, self.consoles.running()).await {
                Ok(answer) if answer.is_alive => {
                    tell_of_end(failures);
                    backoff = Backoff::slow();
                    tokio::select! {
                        () = tokio::time::sleep(self.interval) => {}
                        () = self.has_news() => {}
                        () = registration.doubted() => {}
                    }
                    if registration.id() != Some(id) {
                        return;
                    }
                    continue;
                }
                Ok(_) => {
                    tracing::warn!(slave.id = %id, "the master counts this slave as lost; connecting again");
                    return;
                }
                Err(error) => {
                    let refused = error.status().is_some_and(|_| !error.is_passing());
                    let is_of_key = matches!(
                        error.code(),
                        Some(ErrorCode::RevokedSlaveKey | ErrorCode::UnknownSlaveKey)
                    );
                    // Another master in the place of one of the original asks for more proof than that did.
                    let may_be_clock = error.status() == Some(StatusCode::UNAUTHORIZED)
                        && !api.dialect.is_original();
                    if is_of_key || (refused && !may_be_clock) {
                        tracing::warn!(slave.id = %id, %error, "the master does not know this slave; connecting again");
                        return;
                    }
                    tell(failures, &error);
                }
            }
            registration.pause(&mut backoff).await;
        }
    }
}
