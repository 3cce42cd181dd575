//! Reads snapshot and events, and finds out what is wrong with them.

use super::record::{Record, Records, leading};
use super::snapshot::{self, Meta};
use super::store::Store;
use super::{JournalError, acknowledged, event_records};
use clusterrunner_core::Cluster;
use sled::IVec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The part of the journal that is damaged.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What is lost if it is left out.
    pub lost: String,
}

/// What snapshot and events say.
#[derive(Debug)]
pub(super) struct Live {
    /// What can be relied on: everything, or all before the first problem.
    pub(super) cluster: Cluster,
    pub(super) meta: Option<Meta>,
    /// The number of the next event.
    pub(super) next: u64,
    pub(super) num_events: u64,
    pub(super) event_bytes: u64,
    /// The last event was never written to its end.
    pub(super) is_torn: bool,
    pub(super) problems: Vec<Problem>,
    /// The last piece of an event, key and value.
    last: Option<(IVec, IVec)>,
}

pub(super) fn read(store: &Store) -> Result<Live, JournalError> {
    let mut live = Live {
        cluster: Cluster::default(),
        meta: snapshot::read_meta(store)?,
        next: 0,
        num_events: 0,
        event_bytes: 0,
        is_torn: false,
        problems: Vec::new(),
        last: store.events.last().map_err(JournalError::Read)?,
    };
    if let Some(meta) = &live.meta {
        live.next = meta.events;
        let loaded = snapshot::load(store, meta)?;
        let is_whole = loaded.damages.is_empty();
        for (place, what) in loaded.damages {
            let lost = "what it says, and where each slave and each unfinished build stands";
            live.problems.push(Problem {
                place,
                what,
                lost: lost.to_owned(),
            });
        }
        let builds = loaded.builds.into_values();
        let cluster = loaded.cluster.unwrap_or_default();
        live.cluster = if is_whole {
            cluster.restore(builds)
        } else {
            cluster.restore_damaged(builds)
        };
    }
    read_events(store, &mut live)?;
    find_lost_end(store, &mut live);
    Ok(live)
}

fn read_events(store: &Store, live: &mut Live) -> Result<(), JournalError> {
    let mut broken: Option<String> = None;
    // The number behind the last event that is there.
    let mut end = live.next;
    for record in Records::from(&store.events, &live.next.to_be_bytes()) {
        let record = record?;
        let (key, num_events) = match &record {
            Ok(record) => (&record.key, event_records::count(&record.text)),
            Err(damage) => (&damage.key, 1),
        };
        end = end.max(leading(key).unwrap_or(0).saturating_add(num_events));
        // Facts after one that is not known mean nothing certain.
        if broken.is_some() || !live.problems.is_empty() {
            continue;
        }
        let place = |number: u64| format!("event {number}");
        match record {
            Ok(record) => {
                if let Err(what) = live.take(&record) {
                    broken = Some(what);
                }
            }
            Err(damage) if damage.is_torn => live.is_torn = true,
            Err(damage) => {
                let number = leading(&damage.key).unwrap_or(live.next);
                let what = if number == live.next {
                    damage.what.to_owned()
                } else {
                    format!("it is missing, and {} is damaged", place(number))
                };
                broken = Some(what);
            }
        }
    }
    let num_after = end.saturating_sub(live.next);
    if let Some(what) = broken {
        // A damaged record does not say how many events it had.
        let acknowledged = store.were_acknowledged.unwrap_or(0);
        let num_after = num_after.max(acknowledged.saturating_sub(live.next));
        let num_after = num_after.saturating_sub(1);
        live.problems.push(Problem {
            place: format!("event {}", live.next),
            what,
            lost: match num_after {
                0 => "what it says".to_owned(),
                1 => "what it and the event after it say".to_owned(),
                _ => format!("what it and the {num_after} events after it say"),
            },
        });
    } else if num_after > 0 {
        let lost = format!("the {num_after} events after the snapshot");
        if let Some(problem) = live.problems.last_mut() {
            problem.lost = format!("{}, and {lost}", problem.lost);
        }
    }
    Ok(())
}

/// Reports acknowledged events that are missing at the end, or that their number can not be read.
fn find_lost_end(store: &Store, live: &mut Live) {
    let acknowledged = match store.were_acknowledged {
        Ok(acknowledged) => acknowledged,
        Err(what) => {
            live.problems.push(Problem {
                place: format!("the file `{}`", acknowledged::FILE),
                what: what.to_owned(),
                lost: "the number of events that were acknowledged: some may be missing at the end, and nothing \
                       tells how many"
                    .to_owned(),
            });
            return;
        }
    };
    if live.problems.is_empty() && live.next < acknowledged {
        let (first, last) = (live.next, acknowledged - 1);
        live.is_torn = false;
        live.problems.push(Problem {
            place: "the end".to_owned(),
            what: format!(
                "events {first} to {last} were acknowledged and are not there, so the disk has lost or \
                 damaged them"
            ),
            lost: "what they say".to_owned(),
        });
    }
}

impl Live {
    /// Whether another store ends with the same event and snapshot, so that it need not be read again.
    pub(super) fn is_of(&self, store: &Store) -> Result<bool, JournalError> {
        let last = store.events.last().map_err(JournalError::Read)?;
        Ok(last == self.last && snapshot::read_meta(store)? == self.meta)
    }

    fn take(&mut self, record: &Record) -> Result<(), String> {
        if leading(&record.key) != Some(self.next) {
            return Err("it is missing".to_owned());
        }
        for event in event_records::events(&record.text).map_err(|e| e.to_string())? {
            // The core panics on an event that can not follow from the state.
            let applied = catch_unwind(AssertUnwindSafe(|| self.cluster.apply(&event)));
            applied.map_err(|_| "it does not fit what came before it".to_owned())?;
            self.next += 1;
            self.num_events += 1;
        }
        self.event_bytes += record.text.len() as u64;
        Ok(())
    }
}
