//! Bringing packed results to the master, however often that takes.

use super::parcel::Parcel;
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::{Backoff, Failures};
use crate::master::upload::Upload;
use crate::run::consoles::Consoles;
use crate::work::HandOut;
use clusterrunner_common::api::{ErrorCode, RejectedResult, ResultsReport};
use clusterrunner_common::caller::CallError;
use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
use reqwest::StatusCode;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How often a result is offered to a master of the original that refuses it.
const TRIES_OF_THE_ORIGINAL: u32 = 5;

/// Bodies up to this size are made where they are sent from: that takes less than a hop to a thread
/// that may block.
const TINY: usize = 1 << 16;

/// How many uploads of many small results there may be at a time: while these are under way, more
/// results gather for the next.
const SHARED_UPLOADS: usize = 3;

/// Uploads of large results beside one for each executor: a few slow ones do not hold up the rest.
const SPARE_UPLOADS: usize = 2;

/// Everything that deliveries share.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(crate) api: MasterApi,
    pub(crate) registration: Registration,
    consoles: Arc<Consoles>,
    shared: Semaphore,
    own: Semaphore,
}

/// How trying to deliver a result ended.
#[derive(Clone, Debug)]
pub(crate) enum DeliveryEnd {
    /// The master has it.
    Taken,
    /// The master does not want it from this registration.
    Unwanted(SlaveId),
    /// The master will never take it as it is.
    Rejected(String),
}

/// What becomes of a result, or of the output of a step, that was not taken.
pub(super) enum Verdict {
    TryAgain,
    Unwanted,
    Rejected,
}

pub(super) fn verdict(error: &CallError) -> Verdict {
    match error.status() {
        Some(status) if is_unwanted(status) => Verdict::Unwanted,
        // The clock, or the registration, may come right.
        Some(StatusCode::UNAUTHORIZED | StatusCode::PRECONDITION_FAILED) | None => {
            Verdict::TryAgain
        }
        Some(_) if error.is_passing() => Verdict::TryAgain,
        Some(_) => Verdict::Rejected,
    }
}

/// Whether a refusal is about this slave, and not about what it brings: connecting shows what the master thinks of it, and
/// ends it at once where its key was revoked.
pub(super) fn is_of_registration(error: &CallError) -> bool {
    error.status() == Some(StatusCode::PRECONDITION_FAILED)
        || matches!(
            error.code(),
            Some(ErrorCode::RevokedSlaveKey | ErrorCode::UnknownSlaveKey)
        )
}

/// Another attempt counts, or the build is over.
fn is_unwanted(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE
    )
}

impl Deliveries {
    pub(crate) fn new(api: MasterApi, registration: Registration, consoles: Arc<Consoles>) -> Self {
        let own = usize::try_from(api.num_executors).unwrap_or(1) + SPARE_UPLOADS;
        Self {
            api,
            registration,
            consoles,
            shared: Semaphore::new(SHARED_UPLOADS),
            own: Semaphore::new(own),
        }
    }

    /// Delivers results until the master has said what it thinks of each; a file stays.
    pub(crate) async fn deliver(&self, parcel: &Arc<Parcel>) -> Vec<(HandOut, DeliveryEnd)> {
        let mut backoff = Backoff::quick();
        let mut failures = Failures::default();
        let (mut refused, mut is_spooled) = (0, false);
        let all = |end: DeliveryEnd| {
            let hand_outs = parcel.note.hand_outs();
            hand_outs.map(|hand_out| (hand_out, end.clone())).collect()
        };
        let (build, num_results) = (parcel.note.build, parcel.note.results.len());
        loop {
            let id = self.registration.some_id().await;
            if self.api.dialect.is_original() && num_results != 1 {
                // It takes the place of one of ours, and knows nothing of these.
                return all(DeliveryEnd::Unwanted(id));
            }
            let error = match self.deliver_once(parcel, id).await {
                Ok(Ok(rejected)) => return self.ends(parcel, &rejected, id),
                Ok(Err(error)) => error,
                Err(error) => {
                    let file = parcel.file.display();
                    return all(DeliveryEnd::Rejected(format!(
                        "could not read {file}: {error}"
                    )));
                }
            };
            self.consoles.tell_again();
            // A master of the original counts each upload that it refuses, and may never take it.
            refused += u32::from(error.status().is_some());
            if self.api.dialect.is_original() && refused >= TRIES_OF_THE_ORIGINAL {
                tracing::error!(
                    build.id = %build, %error,
                    "the master refused a result too often; dropping it, as the original does"
                );
                return all(DeliveryEnd::Unwanted(id));
            }
            match verdict(&error) {
                Verdict::TryAgain => {
                    // Now that it has to wait it must survive the machine too. Results that are taken
                    // at once, nearly all, do not pay for that.
                    if !std::mem::replace(&mut is_spooled, true) {
                        spool_for_good(parcel).await;
                    }
                    if failures.is_new(&error) {
                        tracing::warn!(
                            build.id = %build, num_results, slave.id = %id, %error,
                            "a result was not delivered; retrying"
                        );
                    }
                    if is_of_registration(&error) {
                        self.registration.doubt();
                    }
                }
                Verdict::Unwanted => {
                    tracing::info!(
                        build.id = %build, num_results, slave.id = %id, %error,
                        "the master refused these results; dropping them"
                    );
                    // If that is since it forgot us, connecting again sets things right.
                    self.registration.doubt();
                    return all(DeliveryEnd::Unwanted(id));
                }
                Verdict::Rejected => {
                    let subjobs = parcel.note.results.iter();
                    let subjobs: Vec<_> = subjobs.map(|r| r.subjob_id.to_string()).collect();
                    let subjobs = subjobs.join(", ");
                    return all(DeliveryEnd::Rejected(format!(
                        "the result of subjob {subjobs} can not be delivered: {error}"
                    )));
                }
            }
            backoff.pause().await;
        }
    }

    /// What a master that took the upload thinks of each result.
    fn ends(
        &self,
        parcel: &Parcel,
        rejected: &[RejectedResult],
        id: SlaveId,
    ) -> Vec<(HandOut, DeliveryEnd)> {
        let rejected: HashMap<(SubjobId, Attempt), _> = rejected
            .iter()
            .map(|rejected| ((rejected.subjob_id, rejected.attempt), rejected))
            .collect();
        let end = |hand_out: HandOut| {
            let HandOut {
                build,
                subjob,
                attempt,
            } = hand_out;
            let Some(rejected) = rejected.get(&(subjob, attempt)) else {
                return DeliveryEnd::Taken;
            };
            let (status, error) = (rejected.status, &rejected.error);
            if StatusCode::from_u16(status).is_ok_and(is_unwanted) {
                tracing::info!(
                    build.id = %build, subjob.id = %subjob, %attempt, slave.id = %id, %error,
                    "the master refused this result; dropping it"
                );
                self.registration.doubt();
                return DeliveryEnd::Unwanted(id);
            }
            DeliveryEnd::Rejected(format!(
                "the result of subjob {subjob} can not be delivered: the master refused it with {status}: {error}"
            ))
        };
        let hand_outs = parcel.note.hand_outs();
        hand_outs
            .map(|hand_out| (hand_out, end(hand_out)))
            .collect()
    }

    /// Makes one try; says what the master did not take of what it took. The outer error says that the
    /// file can not be read.
    async fn deliver_once(
        &self,
        parcel: &Parcel,
        id: SlaveId,
    ) -> io::Result<Result<Vec<RejectedResult>, CallError>> {
        let slots = match parcel.is_small {
            true => &self.shared,
            false => &self.own,
        };
        // The semaphores are never closed; were they, the bound would be all that is lost.
        let _slot = slots.acquire().await;
        let is_original = self.api.dialect.is_original();
        let has_news = !is_original && self.consoles.has_news();
        let running = has_news.then(|| self.consoles.running());
        let report = match parcel.note.first() {
            Some(hand_out) if is_original => {
                let report = self.api.result_report(id, hand_out, parcel.executor);
                serde_json::to_string(&report)?
            }
            _ => serde_json::to_string(&ResultsReport {
                slave_id: id,
                session_id: self.api.session.clone(),
                incarnation: parcel.note.incarnation().cloned(),
                results: parcel.note.results.clone(),
                running: running.map(|atoms| self.api.of_master(atoms)),
            })?,
        };
        let content = parcel.packed();
        let upload = match content {
            Some(content) if content.len() <= TINY => Upload::of_bytes(&report, &content),
            content => {
                let path = parcel.file.clone();
                let read = spawn_blocking(move || match content {
                    Some(content) => Ok(Upload::of_bytes(&report, &content)),
                    None => Upload::of_file(&report, &path),
                });
                read.await.map_err(io::Error::other)??
            }
        };
        Ok(match parcel.note.first() {
            Some(hand_out) if is_original => {
                let taken = self.api.upload_to_original(hand_out, upload).await;
                taken.map(|()| Vec::new())
            }
            _ => {
                let answer = self.api.upload_results(parcel.note.build, upload).await;
                answer.map(|answer| answer.rejected)
            }
        })
    }
}

/// Has results that are not taken outlive this machine's crash, too.
async fn spool_for_good(parcel: &Arc<Parcel>) {
    let waiting = Arc::clone(parcel);
    let synced = spawn_blocking(move || waiting.spool_for_good()).await;
    if let Err(error) = synced.map_err(io::Error::other).and_then(|done| done) {
        let path = parcel.file.display();
        tracing::warn!(%path, %error, "could not write a waiting result to disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_slave_is_told_from_one_of_what_it_brings() {
        let refused = |status, code| CallError::Refused {
            url: "http://m/v1/build/1/results".to_owned(),
            status,
            error: "no".to_owned(),
            code,
            is_explained: true,
        };
        for (status, code, expected) in [
            (StatusCode::PRECONDITION_FAILED, None, true),
            (
                StatusCode::UNAUTHORIZED,
                Some(ErrorCode::RevokedSlaveKey),
                true,
            ),
            (
                StatusCode::UNAUTHORIZED,
                Some(ErrorCode::UnknownSlaveKey),
                true,
            ),
            (StatusCode::UNAUTHORIZED, None, false),
            (StatusCode::CONFLICT, None, false),
        ] {
            let error = refused(status, code);
            assert_eq!(is_of_registration(&error), expected, "{error}");
        }
    }
}
