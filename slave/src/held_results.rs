//! Results that outlived the process that made them.
//!
//! A result waits on the disk until the master has acknowledged it. If the slave's process ends before,
//! the next one finds it, tells the master when it connects, and delivers it if its hand-out still
//! counts; else it is dropped.

use crate::connection::Registration;
use crate::data_directory::DataDirectory;
use crate::delivery::{Deliveries, DeliveryEnd};
use crate::result_note::ResultNote;
use crate::work::HandOut;
use clusterrunner_common::api::FinishedAttempt;
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The results of earlier lives that are not delivered yet.
#[derive(Clone, Debug)]
pub(crate) struct HeldResults {
    held: Arc<Mutex<BTreeMap<HandOut, Held>>>,
    /// Unbounded: each of the results passes once.
    wanted: mpsc::UnboundedSender<HandOut>,
}

#[derive(Debug)]
struct Held {
    note: ResultNote,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The master was not asked, or has not answered.
    Found,
    /// It is being delivered.
    Wanted,
    /// The master has it; an answer that was on its way meanwhile may still want it.
    Delivered,
}

/// Delivers what is found to be wanted.
#[derive(Debug)]
pub(crate) struct HeldDeliveries {
    results: HeldResults,
    wanted: mpsc::UnboundedReceiver<HandOut>,
}

impl HeldResults {
    /// Collects what earlier lives left in the directory, and removes what is of no use: results
    /// that are half written or damaged. To be called before the directory is emptied. Blocks.
    ///
    /// # Errors
    /// When the directory can not be read or changed.
    pub(crate) fn collect(data: &DataDirectory) -> io::Result<(Self, HeldDeliveries)> {
        let mut held = BTreeMap::new();
        for path in data.left_results()? {
            match checked(&path) {
                Ok(note) => {
                    let lasting = data.held_file(note.hand_out());
                    if lasting != path {
                        std::fs::rename(&path, &lasting)?;
                    }
                    let stage = Stage::Found;
                    held.insert(note.hand_out(), Held { note, stage });
                }
                Err(error) => {
                    tracing::info!(path = %path.display(), %error, "a result of an earlier life is of no use");
                    std::fs::remove_file(&path)?;
                }
            }
        }
        if !held.is_empty() {
            tracing::info!(
                number = held.len(),
                "results of an earlier life were not delivered yet"
            );
        }
        let (wanted, wanted_receiver) = mpsc::unbounded_channel();
        let results = Self {
            held: Arc::new(Mutex::new(held)),
            wanted,
        };
        let deliveries = HeldDeliveries {
            results: results.clone(),
            wanted: wanted_receiver,
        };
        Ok((results, deliveries))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandOut, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to tell the master.
    pub(crate) fn to_tell(&self) -> Vec<FinishedAttempt> {
        let held = self.lock();
        let open = held
            .iter()
            .filter(|(_, held)| held.stage != Stage::Delivered);
        let told = open.map(|(hand_out, held)| FinishedAttempt {
            build_id: hand_out.build,
            subjob_id: hand_out.subjob,
            attempt: hand_out.attempt,
            session_id: held.note.session.clone(),
        });
        told.collect()
    }

    /// Takes the master's answer: the others are dropped. Says whether all that it wants is here;
    /// where it is not, it must be told anew.
    pub(crate) async fn settle(
        &self,
        data: &Arc<DataDirectory>,
        wanted: &[(BuildId, SubjobId, Attempt)],
    ) -> bool {
        let mut unwanted = Vec::new();
        let mut num_here = 0;
        self.lock().retain(|hand_out, held| {
            let name = (hand_out.build, hand_out.subjob, hand_out.attempt);
            let is_wanted = wanted.contains(&name);
            num_here += usize::from(is_wanted);
            match held.stage {
                Stage::Found if is_wanted => {
                    held.stage = Stage::Wanted;
                    // Its receiver is gone only when the slave ends.
                    self.wanted.send(*hand_out).ok();
                    true
                }
                Stage::Found => {
                    unwanted.push(*hand_out);
                    false
                }
                // The answer to the upload says what becomes of it.
                Stage::Wanted | Stage::Delivered => true,
            }
        });
        for hand_out in unwanted {
            tracing::info!(
                build.id = %hand_out.build, subjob.id = %hand_out.subjob, attempt = %hand_out.attempt,
                "a result of an earlier life does not count any more and is dropped"
            );
            remove(data, hand_out).await;
        }
        num_here == wanted.len()
    }

    /// Notes how a delivery ended. Says whether that was its end: a registration that did not want it
    /// may be an old one. Then the newest decides, which perhaps wants it; it is set before its
    /// answer is settled, so either of the two sees what the other did.
    fn ended(&self, hand_out: HandOut, end: &DeliveryEnd, registration: &Registration) -> bool {
        let mut held = self.lock();
        match end {
            DeliveryEnd::Taken => {
                if let Some(held) = held.get_mut(&hand_out) {
                    held.stage = Stage::Delivered;
                }
            }
            DeliveryEnd::Unwanted(id) if registration.id() != Some(*id) => return false,
            DeliveryEnd::Unwanted(_) | DeliveryEnd::Rejected(_) => {
                held.remove(&hand_out);
            }
        }
        true
    }
}

async fn remove(data: &Arc<DataDirectory>, hand_out: HandOut) {
    let path = data.held_file(hand_out);
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "could not remove a result");
        }
        Ok(()) | Err(_) => {}
    }
}

fn checked(path: &Path) -> io::Result<ResultNote> {
    let found = path.symlink_metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    ResultNote::read_checked(BufReader::new(File::open(path)?))
}

impl HeldDeliveries {
    /// Delivers until `stop`; what is not acknowledged then stays for the next life.
    pub(crate) async fn run(
        mut self,
        data: Arc<DataDirectory>,
        deliveries: &Deliveries,
        registration: &Registration,
        stop: &CancellationToken,
    ) {
        let delivering = async {
            let mut under_way = FuturesUnordered::new();
            loop {
                tokio::select! {
                    Some(hand_out) = self.wanted.recv() => {
                        let (path, results) = (data.held_file(hand_out), &self.results);
                        under_way.push(async move {
                            loop {
                                let end = deliveries.deliver_held(&path, hand_out).await;
                                if results.ended(hand_out, &end, registration) {
                                    return (hand_out, end);
                                }
                            }
                        });
                    }
                    Some((hand_out, end)) = under_way.next() => {
                        remove(&data, hand_out).await;
                        if let DeliveryEnd::Rejected(reason) = end {
                            tracing::warn!(reason, "a result of an earlier life can not be delivered");
                            // Connecting without it tells the master not to wait for it.
                            registration.renounce();
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = delivering => {}
        }
    }
}
