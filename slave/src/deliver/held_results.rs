//! Results that outlived the process that made them.
//!
//! A result waits on the disk until the master has acknowledged it. If the slave's process ends before,
//! the next one finds it, tells the master when it connects, and delivers it if its hand-out still
//! counts; else it is dropped.

use crate::data_directory::DataDirectory;
use crate::deliver::delivery::{Deliveries, DeliveryEnd};
use crate::deliver::parcel::Parcel;
use crate::deliver::result_note::ResultNote;
use crate::master::lineage::Lineage;
use crate::master::registration::Registration;
use crate::work::HandOut;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::FinishedAttempt;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The results of earlier lives that are not delivered yet.
#[derive(Clone, Debug)]
pub(crate) struct HeldResults {
    /// Files by the first of their results, after which they are named.
    held: Arc<Mutex<BTreeMap<HandOut, Held>>>,
    /// Unbounded: each of the files passes once.
    wanted: mpsc::UnboundedSender<HandOut>,
}

/// A file of results. It is delivered as it is if any of them is wanted; the master refuses the others.
#[derive(Debug)]
struct Held {
    note: ResultNote,
    /// Those of its results of which there is still something to say.
    open: BTreeMap<HandOut, Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The master was not asked, or has not answered.
    Found,
    /// Its file is being delivered.
    Wanted,
    /// The same, for the sake of others.
    Unwanted,
    /// The master has it; an answer that was on its way meanwhile may still want it.
    Delivered,
}

impl Held {
    fn is_under_way(&self) -> bool {
        self.open.values().any(|stage| *stage != Stage::Found)
    }
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
        let mut number = 0;
        for path in data.left_results()? {
            match checked(&path) {
                Ok((first, note)) => {
                    let lasting = data.held_file(first);
                    if lasting != path {
                        std::fs::rename(&path, &lasting)?;
                    }
                    let open = note.hand_outs().map(|hand_out| (hand_out, Stage::Found));
                    let open: BTreeMap<_, _> = open.collect();
                    number += open.len();
                    held.insert(first, Held { note, open });
                }
                Err(error) => {
                    tracing::info!(path = %path.display(), %error, "a result of the previous process is unusable");
                    std::fs::remove_file(&path)?;
                }
            }
        }
        if !held.is_empty() {
            tracing::info!(number, "undelivered results of the previous process found");
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

    /// Takes note of what they say of masters.
    pub(crate) fn remember_in(&self, lineage: &Lineage) {
        for held in self.lock().values() {
            if let Some(seen) = held.note.seen() {
                lineage.remember(seen);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandOut, Held>> {
        lock(&self.held)
    }

    /// What to tell the master.
    pub(crate) fn to_tell(&self) -> Vec<FinishedAttempt> {
        let held = self.lock();
        let told = held.values().flat_map(|held| {
            let open = held.open.iter();
            let open = open.filter(|(_, stage)| **stage != Stage::Delivered);
            open.map(|(hand_out, _)| FinishedAttempt {
                build_id: hand_out.build,
                subjob_id: hand_out.subjob,
                attempt: hand_out.attempt,
                session_id: held.note.session.clone(),
                incarnation: held.note.incarnation().cloned(),
            })
        });
        told.collect()
    }

    /// Takes the master's answer: files of which nothing is wanted are dropped. Says whether all that it
    /// wants is here; where it is not, it must be told anew.
    pub(crate) async fn settle(
        &self,
        data: &Arc<DataDirectory>,
        wanted: &[(BuildId, SubjobId, Attempt)],
    ) -> bool {
        let mut unwanted = Vec::new();
        let mut missing: HashSet<_> = wanted.iter().collect();
        self.lock().retain(|first, held| {
            let was_under_way = held.is_under_way();
            let mut is_wanted = false;
            for (hand_out, stage) in &mut held.open {
                let name = (hand_out.build, hand_out.subjob, hand_out.attempt);
                let this_is_wanted = missing.remove(&name);
                is_wanted |= this_is_wanted;
                match stage {
                    Stage::Found | Stage::Unwanted if this_is_wanted => *stage = Stage::Wanted,
                    Stage::Found => *stage = Stage::Unwanted,
                    // The answer to the upload says what becomes of it.
                    Stage::Wanted | Stage::Unwanted | Stage::Delivered => {}
                }
            }
            if was_under_way {
                return true;
            }
            if is_wanted {
                // Its receiver is gone only when the slave ends.
                self.wanted.send(*first).ok();
            } else {
                unwanted.push((*first, held.open.len()));
            }
            is_wanted
        });
        for (first, number) in unwanted {
            tracing::info!(
                build.id = %first.build, subjob.id = %first.subjob, attempt = %first.attempt, number,
                "results of the previous process no longer count; dropping them"
            );
            remove(data, first).await;
        }
        missing.is_empty()
    }

    /// The note of a file that is to be delivered.
    fn note(&self, first: HandOut) -> Option<ResultNote> {
        self.lock().get(&first).map(|held| held.note.clone())
    }

    /// Notes how a delivery ended. Says whether that was its end: a registration that did not want
    /// something may be an old one. Then the newest decides, which perhaps wants it; it is set before
    /// its answer is settled, so either of the two sees what the other did.
    fn ended(
        &self,
        first: HandOut,
        ends: &[(HandOut, DeliveryEnd)],
        registration: &Registration,
    ) -> bool {
        let mut all_held = self.lock();
        let Some(held) = all_held.get_mut(&first) else {
            return true;
        };
        let mut is_over = true;
        for (hand_out, end) in ends {
            match end {
                DeliveryEnd::Taken => drop(held.open.insert(*hand_out, Stage::Delivered)),
                DeliveryEnd::Unwanted(id)
                    if registration.id() != Some(*id)
                        && held.open.get(hand_out) == Some(&Stage::Wanted) =>
                {
                    is_over = false;
                }
                DeliveryEnd::Unwanted(_) | DeliveryEnd::Rejected(_) => {
                    held.open.remove(hand_out);
                }
            }
        }
        if held.open.is_empty() {
            all_held.remove(&first);
        }
        is_over
    }
}

async fn remove(data: &Arc<DataDirectory>, first: HandOut) {
    let path = data.held_file(first);
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "could not remove a result");
        }
        Ok(()) | Err(_) => {}
    }
}

fn checked(path: &Path) -> io::Result<(HandOut, ResultNote)> {
    let file = regular_file::open_itself(path)?;
    let note = ResultNote::read_checked(BufReader::new(file))?;
    let first = note.first();
    let first = first.ok_or_else(|| io::Error::other("it names no hand-out"))?;
    Ok((first, note))
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
                    Some(first) = self.wanted.recv() => {
                        let (file, results) = (data.held_file(first), &self.results);
                        let Some(note) = results.note(first) else { continue };
                        let parcel = Arc::new(Parcel::found(file, note));
                        under_way.push(async move {
                            loop {
                                let ends = deliveries.deliver(&parcel).await;
                                if results.ended(first, &ends, registration) {
                                    return (first, ends);
                                }
                            }
                        });
                    }
                    Some((first, ends)) = under_way.next() => {
                        remove(&data, first).await;
                        let mut is_missed = false;
                        for (_, end) in ends {
                            if let DeliveryEnd::Rejected(reason) = end {
                                tracing::warn!(reason, "a result of the previous process cannot be delivered");
                                is_missed = true;
                            }
                        }
                        if is_missed {
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
