//! Events as records: small ones that were appended together share one, since each record costs the
//! engine as much as many events do. A record with one event is the event, one with several a list; its
//! key is the number of the first.

use super::JournalError;
use clusterrunner_core::event::Event;
use serde::de::IgnoredAny;
use serde_json::Value;

/// How long a list may be: it is one piece, and damage to it costs no more than that.
const MAX_LIST: usize = 8 << 10;

/// Events that follow each other.
#[derive(Debug, Default)]
pub(super) struct EventRecord {
    pub(super) text: Vec<u8>,
    pub(super) num_events: u64,
}

/// The records of events that are appended together.
pub(super) fn of(events: &[Event]) -> Result<Vec<EventRecord>, JournalError> {
    let mut records = Vec::new();
    let mut list = EventRecord::default();
    for event in events {
        let before = list.text.len();
        list.text.push(match list.num_events {
            0 => b'[',
            _ => b',',
        });
        serde_json::to_writer(&mut list.text, event).map_err(JournalError::Encode)?;
        list.num_events += 1;
        if list.text.len() > MAX_LIST && list.num_events > 1 {
            let mut text = vec![b'['];
            text.extend_from_slice(&list.text[before + 1..]);
            list.text.truncate(before);
            list.num_events -= 1;
            let next = EventRecord {
                text,
                num_events: 1,
            };
            records.push(ended(std::mem::replace(&mut list, next)));
        }
    }
    if list.num_events > 0 {
        records.push(ended(list));
    }
    Ok(records)
}

fn ended(mut list: EventRecord) -> EventRecord {
    match list.num_events {
        1 => drop(list.text.remove(0)),
        _ => list.text.push(b']'),
    }
    list
}

/// Reads records as a start and an export do, and compares: what would not read back must not be acknowledged.
pub(super) fn check(records: &[EventRecord], events: &[Event]) -> Result<(), JournalError> {
    let mut expected = events.iter();
    for record in records {
        let read = self::events(&record.text).map_err(JournalError::Unreadable)?;
        let exported = texts(&record.text);
        let exported = exported
            .iter()
            .map(|text| serde_json::from_slice::<Event>(text));
        let exported = exported.collect::<Result<Vec<_>, _>>();
        let exported = exported.map_err(JournalError::Unreadable)?;
        let expected: Vec<&Event> = expected.by_ref().take(read.len()).collect();
        let is_same = |read: &[Event]| read.iter().eq(expected.iter().copied());
        if read.len() as u64 != record.num_events || !is_same(&read) || !is_same(&exported) {
            return Err(JournalError::Changed);
        }
    }
    match expected.next() {
        None => Ok(()),
        Some(_) => Err(JournalError::Changed),
    }
}

fn is_list(text: &[u8]) -> bool {
    text.first() == Some(&b'[')
}

/// The events of a record.
pub(super) fn events(text: &[u8]) -> Result<Vec<Event>, serde_json::Error> {
    match is_list(text) {
        true => serde_json::from_slice(text),
        false => Ok(vec![serde_json::from_slice(text)?]),
    }
}

/// How many events a record has, whatever they say.
pub(super) fn count(text: &[u8]) -> u64 {
    if !is_list(text) {
        return 1;
    }
    serde_json::from_slice::<Vec<IgnoredAny>>(text).map_or(1, |events| events.len() as u64)
}

/// The events of a record as JSON texts.
pub(super) fn texts(text: &[u8]) -> Vec<Vec<u8>> {
    let events = is_list(text).then(|| serde_json::from_slice::<Vec<Value>>(text).ok());
    match events.flatten() {
        Some(events) => events
            .iter()
            .map(|event| event.to_string().into_bytes())
            .collect(),
        None => vec![text.to_vec()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::BuildId;
    use clusterrunner_core::actor::Actor;
    use clusterrunner_core::event::{BuildFact, Fact};

    fn event(number: u64, length: usize) -> Event {
        let build = BuildId(number);
        let reason = "x".repeat(length);
        Event {
            at: Timestamp(number),
            by: Actor::Master,
            fact: Fact::Build(build, BuildFact::Failed { reason }),
        }
    }

    #[test]
    fn small_events_share_records_and_large_ones_do_not() {
        for (lengths, expected) in [
            (vec![], vec![]),
            (vec![3], vec![1]),
            (vec![3; 10], vec![10]),
            (vec![30_000], vec![1]),
            (vec![3, 30_000, 3, 3], vec![1, 1, 2]),
            (vec![30_000, 30_000], vec![1, 1]),
            (vec![3000; 5], vec![2, 2, 1]),
        ] {
            let events: Vec<Event> = (0..).zip(&lengths).map(|(n, l)| event(n, *l)).collect();
            let records = of(&events).unwrap();
            let numbers: Vec<u64> = records.iter().map(|record| record.num_events).collect();
            assert_eq!(numbers, expected, "{lengths:?}");
            let counted: Vec<u64> = records.iter().map(|record| count(&record.text)).collect();
            assert_eq!(counted, expected, "{lengths:?}");
            let mut read = Vec::new();
            for record in &records {
                assert!(record.num_events == 1 || record.text.len() <= MAX_LIST + 1);
                assert_eq!(is_list(&record.text), record.num_events > 1);
                read.extend(super::events(&record.text).unwrap());
                for text in texts(&record.text) {
                    serde_json::from_slice::<Event>(&text).unwrap();
                }
            }
            assert_eq!(read, events);
        }
    }
}
