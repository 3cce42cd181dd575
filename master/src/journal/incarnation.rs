//! The incarnation of a journal that is made of another one: of a damaged one, or of an export. Slaves and
//! stored results may know more than it.

use super::record::put;
use super::store::Store;
use super::{JournalError, event_records, live};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::Incarnation;
use clusterrunner_core::command::Command;

/// Begins a new incarnation in a journal that is not damaged. Blocks.
pub(super) fn begin(store: &Store, reason: &str) -> Result<(), JournalError> {
    let live = live::read(store)?;
    let begin = Command::BeginIncarnation {
        fresh: Incarnation::from_random(random_bytes()),
        reason: reason.to_owned(),
    };
    let events = live.cluster.decide(begin, Timestamp::now());
    // It is refused in no state; were it, the next start would begin one.
    let events = events.unwrap_or_default();
    let mut batch = sled::Batch::default();
    let mut next = live.next;
    for record in event_records::of(&events)? {
        put(&mut batch, &next.to_be_bytes(), &record.text)?;
        next += record.num_events;
    }
    store
        .events
        .apply_batch(batch)
        .map_err(JournalError::Append)?;
    store.sync()?;
    let acknowledged = store.acknowledged.write(next);
    acknowledged.map_err(JournalError::Sync)?;
    store.sync()
}
