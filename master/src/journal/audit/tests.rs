//! What is found again, and what shows.

use super::*;
use crate::journal::tests::open;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::event::{Event, Fact, FarmFact};
use std::path::Path;

fn asked(number: u64) -> Asked {
    let from = IpAddr::from([10, 0, 0, 1]);
    let what = format!("thing {number}");
    Asked::new(
        Timestamp(number),
        (Actor::User(UserId(number % 2)), None),
        Some(from),
        what,
    )
}

fn numbers(entries: &[AuditEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

/// A journal with links of so many entries each, which goes when all is on disk.
async fn filled(directory: &Path, kept: u64, links: &[u64]) {
    let mut journal = open(directory).keeping_audit(kept);
    journal.recover().unwrap();
    for number in links {
        journal.audit((0..*number).map(asked).collect()).unwrap();
        let life = clusterrunner_common::ids::SessionId("life".to_owned());
        let event = Event {
            at: Timestamp(1),
            by: Actor::Master,
            fact: Fact::Farm(FarmFact::MasterStarted { life, after: 0 }),
        };
        journal.append(&[event]).await.unwrap();
    }
}

fn log(directory: &Path) -> AuditLog {
    open(directory).audit_log()
}

#[tokio::test]
async fn entries_are_found_newest_first_and_by_who_asked() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1000, &[1, 3]).await;
    filled(directory.path(), 1000, &[2]).await;
    let log = log(directory.path());
    let all = log.newest(None, 100, |_| true).unwrap();
    assert_eq!(numbers(&all), [5, 4, 3, 2, 1, 0]);
    assert_eq!(all[2].asked, asked(2));
    let some = log.newest(Some(4), 2, |_| true).unwrap();
    assert_eq!(numbers(&some), [3, 2]);
    let of_one = log.newest(None, 100, |asked| asked.by == Actor::User(UserId(1)));
    assert_eq!(numbers(&of_one.unwrap()), [5, 2]);
    let verified = log.verify(None).unwrap();
    assert_eq!(
        (verified.entries, verified.first, verified.fault),
        (6, 0, None)
    );
}

#[tokio::test]
async fn what_is_changed_left_out_or_cut_off_shows() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1000, &[2, 2, 2]).await;
    let good = log(directory.path()).verify(None).unwrap();
    assert_eq!(good.fault, None);
    // Changed, with a good checksum.
    let journal = open(directory.path());
    let link = Records::below(&journal.store.audit, &2_u64.to_be_bytes());
    let text = link.into_iter().next().unwrap().unwrap().unwrap().text;
    let forged = String::from_utf8(text.clone())
        .unwrap()
        .replace("thing 1", "thing 9");
    let write = |text: &[u8]| {
        let (key, value) = only_piece(&2_u64.to_be_bytes(), text).unwrap();
        journal.store.audit.insert(key, value).unwrap();
    };
    write(forged.as_bytes());
    let fault = journal.audit_log().verify(None).unwrap().fault.unwrap();
    assert!(fault.0 == 4 && fault.1.contains("changed"), "{fault:?}");
    write(b"{");
    let fault = journal.audit_log().verify(None).unwrap().fault.unwrap();
    assert_eq!(fault.0, 2, "{fault:?}");
    write(&text);
    assert_eq!(journal.audit_log().verify(None).unwrap(), good);
    // Left out.
    let remove = |number: u64| {
        let part = journal.store.audit.scan_prefix(number.to_be_bytes());
        crate::journal::store::remove(&journal.store.audit, part).unwrap();
    };
    remove(2);
    let fault = journal.audit_log().verify(None).unwrap().fault.unwrap();
    assert!(fault.0 == 4 && fault.1.contains("missing"), "{fault:?}");
    // Cut off at the end: only a hash that was noted before tells.
    write(&text);
    remove(4);
    let cut = journal.audit_log().verify(Some(&good.head)).unwrap();
    assert_eq!((cut.fault, cut.has_expected), (None, Some(false)));
    let before = journal.audit_log().verify(Some(&cut.head)).unwrap();
    assert_eq!(before.has_expected, Some(true));
}

#[tokio::test]
async fn a_beginning_that_was_cut_off_shows() {
    let cut = |directory: &Path, links: &[u64]| {
        let journal = open(directory);
        for number in links {
            let part = journal.store.audit.scan_prefix(number.to_be_bytes());
            crate::journal::store::remove(&journal.store.audit, part).unwrap();
        }
        journal.audit_log().verify(None).unwrap().fault
    };
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10, &[1; 8]).await;
    assert_eq!(cut(directory.path(), &[]), None);
    let (number, what) = cut(directory.path(), &[0, 1]).unwrap();
    assert!(number == 2 && what.contains("from 0 on"), "{what}");
    // A log that goes on does not hide it, until there is no room for what is missing.
    for kept in [10, 1000] {
        filled(directory.path(), kept, &[1]).await;
        let (number, _) = cut(directory.path(), &[]).unwrap();
        assert_eq!(number, 2);
    }
    filled(directory.path(), 10, &[1; 8]).await;
    assert_eq!(cut(directory.path(), &[]), None);
    // Where older ones have made room.
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10, &[1; 25]).await;
    filled(directory.path(), 1000, &[1]).await;
    assert_eq!(cut(directory.path(), &[]), None);
    let (number, what) = cut(directory.path(), &[15]).unwrap();
    assert!(number == 16 && what.contains("from 15 on"), "{what}");
}

#[tokio::test]
async fn the_oldest_make_room_and_the_rest_still_fits_together() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10, &[1; 25]).await;
    let verified = log(directory.path()).verify(None).unwrap();
    assert_eq!(
        (verified.entries, verified.first, verified.fault),
        (10, 15, None)
    );
    // A smaller bound is reached little by little.
    filled(directory.path(), 4, &[1; 8]).await;
    let verified = log(directory.path()).verify(None).unwrap();
    assert_eq!(
        (verified.entries, verified.first, verified.fault),
        (4, 29, None)
    );
    filled(directory.path(), 0, &[1; 3]).await;
    assert_eq!(log(directory.path()).verify(None).unwrap().entries, 0);
}

#[tokio::test]
async fn a_turn_of_many_entries_is_one_link() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10_000, &[500, 1]).await;
    let log = log(directory.path());
    assert_eq!(log.verify(None).unwrap().entries, 501);
    assert_eq!(log.newest(None, 1000, |_| true).unwrap().len(), 501);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = Asked::new(
        Timestamp(0),
        (Actor::Master, None),
        None,
        "ä".repeat(MAX_TEXT),
    );
    assert!(long.what.len() <= MAX_TEXT + 3 && long.what.ends_with("ä…"));
}
