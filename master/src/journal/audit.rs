//! The audit log: who asked for what, when and from where. Beside the events, and never compacted into a snapshot.
//!
//! All that one turn asks for is a link: a list of entries with the SHA-256 of the link before. So a link that is changed,
//! left out or put in later shows, up to the newest hash that somebody has noted elsewhere. A link is given to the engine
//! before the events that follow from it, so the flush of the events brings it to disk, too. A master that dies between the
//! two leaves a link of what was asked and had no effect.
//!
//! Each link also says where the log begins, since the oldest links make room for new ones: so a beginning that somebody has cut
//! off shows as well.

use super::JournalError;
use super::record::{Record, Records, leading, only_piece, put};
use super::store;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::actor::Actor;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sled::{Batch, Tree};
use std::net::IpAddr;

/// How long the text of an entry may be, in bytes.
const MAX_TEXT: usize = 1000;

/// How many of the oldest links one new link can push out. More than one, so that a log that is to hold less shrinks.
const PUSHED_OUT: usize = 2;

/// What somebody has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When the master decided it.
    pub at: Timestamp,
    /// The actor that asked.
    pub by: Actor,
    /// What a user was called then, or the key of a slave that connected by it and where that was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The address that the request came from; `None` if it came by no connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<IpAddr>,
    /// What came of it, in words.
    pub what: String,
}

impl Asked {
    /// An entry; a long text is cut.
    #[must_use]
    pub fn new(
        at: Timestamp,
        (by, name): (Actor, Option<String>),
        from: Option<IpAddr>,
        mut what: String,
    ) -> Self {
        if what.len() > MAX_TEXT {
            what.truncate(what.floor_char_boundary(MAX_TEXT));
            what.push('…');
        }
        Self {
            at,
            by,
            name,
            from,
            what,
        }
    }
}

/// What one turn asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Link {
    /// The hash of the link before, in hex. Zeros at the beginning.
    previous: String,
    /// The number of the oldest entry that is kept once this link is there. Links of older versions do not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    oldest: Option<u64>,
    entries: Vec<Asked>,
}

/// The end of the log, where it grows.
#[derive(Debug)]
pub(super) struct AuditEnd {
    links: Tree,
    /// The numbers of the oldest entry that is to be kept, and of the next one.
    first: u64,
    next: u64,
    /// The hash of the newest link.
    head: String,
    /// How many entries are kept.
    kept: u64,
}

impl AuditEnd {
    /// Finds the end. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn of(links: &Tree, kept: u64) -> Result<Self, JournalError> {
        if kept == 0 {
            links.clear().map_err(JournalError::Append)?;
        }
        let mut end = Self {
            links: links.clone(),
            first: first_number(links)?.unwrap_or(0),
            next: 0,
            head: hash(None),
            kept,
        };
        if let Some((number, newest)) = link_before(links, u64::MAX)? {
            // A damaged link hides how many entries it had. The next one takes the number after it, and breaks the chain.
            let entries = newest.as_ref().map_or(1, |link| link.entries.len() as u64);
            end.next = number + entries;
            // What somebody has cut off is missing until there were no room for it.
            let oldest = newest.as_ref().and_then(|link| link.oldest);
            end.first = oldest.unwrap_or(end.first).min(end.first);
            end.head = newest.map_or_else(|| hash(None), |link| link.hash);
        }
        Ok(end)
    }

    /// Adds what one turn asked for. It is on disk with the events that are appended next. Blocks hardly: the engine takes
    /// it into memory.
    ///
    /// # Errors
    /// The engine refuses.
    pub(super) fn add(&mut self, entries: Vec<Asked>) -> Result<(), JournalError> {
        if entries.is_empty() || self.kept == 0 {
            return Ok(());
        }
        let number = entries.len() as u64;
        let (pushed_out, oldest) = self.without_room(number)?;
        let link = Link {
            previous: std::mem::take(&mut self.head),
            oldest: Some(oldest),
            entries,
        };
        let text = serde_json::to_vec(&link).map_err(JournalError::Encode)?;
        self.head = hash(Some(&text));
        let key = self.next.to_be_bytes();
        let added = match only_piece(&key, &text) {
            Some((key, value)) => self.links.insert(key, value).map(drop),
            None => {
                let mut batch = Batch::default();
                put(&mut batch, &key, &text)?;
                self.links.apply_batch(batch)
            }
        };
        added.map_err(JournalError::Append)?;
        self.next += number;
        // Only now: a log that begins before what its end says is whole.
        for first in pushed_out {
            let link = self.links.scan_prefix(first.to_be_bytes());
            store::remove(&self.links, link)?;
        }
        self.first = oldest;
        Ok(())
    }

    /// The links for which there is no room beside one with so many entries, and the number of the oldest entry without them.
    fn without_room(&self, number: u64) -> Result<(Vec<u64>, u64), JournalError> {
        let next = self.next + number;
        let (mut pushed_out, mut oldest) = (Vec::new(), self.first);
        while pushed_out.len() < PUSHED_OUT && oldest < self.next && next - oldest > self.kept {
            // Behind the last link comes the new one.
            let second = number_after(&self.links, oldest)?.unwrap_or(self.next);
            if next - second < self.kept {
                break;
            }
            pushed_out.push(oldest);
            oldest = second;
        }
        Ok((pushed_out, oldest))
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number: each is one more than the one before.
    pub number: u64,
    /// What it says.
    pub asked: Asked,
}

/// What a look at the whole log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the oldest one.
    pub first: u64,
    /// The hash of the newest link, in hex: 64 zeros if there is none.
    pub head: String,
    /// Whether a link of the expected hash is there; `None` if none was expected.
    pub has_expected: Option<bool>,
    /// The first fault: the number of the entry that it is found at, and what is wrong.
    pub fault: Option<(u64, String)>,
}

/// The log, to be read. Clones share it.
#[derive(Clone, Debug)]
pub struct AuditLog {
    links: Tree,
}

impl AuditLog {
    pub(super) fn new(links: Tree) -> Self {
        Self { links }
    }

    /// The newest entries that `is_wanted`, of those before number `before`: at most `limit`, newest first. Damaged links
    /// are left out. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn newest(
        &self,
        before: Option<u64>,
        limit: usize,
        is_wanted: impl Fn(&Asked) -> bool,
    ) -> Result<Vec<AuditEntry>, JournalError> {
        let end = before.unwrap_or(u64::MAX);
        let (mut found, mut before) = (Vec::new(), end);
        while found.len() < limit
            && let Some((first, link)) = link_before(&self.links, before)?
        {
            let entries = link.into_iter().flat_map(|link| link.entries);
            let mut wanted: Vec<AuditEntry> = (first..)
                .zip(entries)
                .map(|(number, asked)| AuditEntry { number, asked })
                .filter(|entry| entry.number < end && is_wanted(&entry.asked))
                .collect();
            wanted.reverse();
            found.extend(wanted);
            before = first;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Reads all links and compares each with the hash that the next one has of it. `expected` is the hash of a link that
    /// should be there. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn verify(&self, expected: Option<&str>) -> Result<Verified, JournalError> {
        let mut verified = Verified {
            entries: 0,
            first: 0,
            head: hash(None),
            has_expected: expected.map(|expected| expected == hash(None)),
            fault: None,
        };
        let (mut next, mut oldest) = (None, None);
        for record in Records::from(&self.links, &[]) {
            let record = record?;
            let key = record
                .as_ref()
                .map_or_else(|damage| &damage.key, |record| &record.key);
            let number = leading(key).unwrap_or(0);
            let read = record
                .as_ref()
                .map_err(|damage| damage.what.to_owned())
                .and_then(ReadLink::of);
            let fault = match (&read, next) {
                (Err(what), _) => Some(what.clone()),
                (Ok(_), Some(next)) if next != number => {
                    Some(format!("entries from {next} on are missing"))
                }
                (Ok(link), Some(_)) if link.previous != verified.head => Some(
                    "it does not follow from what stands before it: one of the two was changed"
                        .to_owned(),
                ),
                (Ok(link), None) if number == 0 && link.previous != verified.head => {
                    Some("it is not the beginning of the log, as its number says".to_owned())
                }
                _ => None,
            };
            if verified.fault.is_none() {
                verified.fault = fault.map(|what| (number, what));
            }
            if next.is_none() {
                verified.first = number;
            }
            let entries = read.as_ref().map_or(1, |link| link.entries.len() as u64);
            oldest = read.as_ref().ok().and_then(|link| link.oldest).or(oldest);
            verified.entries += entries;
            verified.head = read.map_or_else(|_| hash(None), |link| link.hash);
            let is_expected = expected.is_some_and(|expected| expected == verified.head);
            verified.has_expected = verified.has_expected.map(|has| has || is_expected);
            next = Some(number + entries);
        }
        if let Some(oldest) = oldest.filter(|oldest| *oldest < verified.first) {
            let what = format!("entries from {oldest} on are missing before it");
            verified.fault = Some((verified.first, what));
        }
        Ok(verified)
    }
}

/// A link with its own hash.
struct ReadLink {
    previous: String,
    oldest: Option<u64>,
    hash: String,
    entries: Vec<Asked>,
}

impl ReadLink {
    fn of(record: &Record) -> Result<Self, String> {
        let link: Link = serde_json::from_slice(&record.text).map_err(|error| error.to_string())?;
        Ok(Self {
            previous: link.previous,
            oldest: link.oldest,
            hash: hash(Some(&record.text)),
            entries: link.entries,
        })
    }
}

/// The last link that begins before an entry, with the number of its first entry; `None` in its place if it is damaged.
fn link_before(links: &Tree, number: u64) -> Result<Option<(u64, Option<ReadLink>)>, JournalError> {
    let last = links.get_lt(number.to_be_bytes());
    let Some((key, _)) = last.map_err(JournalError::Read)? else {
        return Ok(None);
    };
    let first = leading(&key).unwrap_or(0);
    let record = Records::below(links, &first.to_be_bytes()).next();
    let link = record.transpose()?.and_then(Result::ok);
    let link = link.and_then(|record| ReadLink::of(&record).ok());
    Ok(Some((first, link)))
}

fn first_number(links: &Tree) -> Result<Option<u64>, JournalError> {
    let first = links.first().map_err(JournalError::Read)?;
    Ok(first.and_then(|(key, _)| leading(&key)))
}

/// The number of the first entry of the link behind the one that begins with this number.
fn number_after(links: &Tree, number: u64) -> Result<Option<u64>, JournalError> {
    let next = links.get_gt([&number.to_be_bytes()[..], &[u8::MAX; 3]].concat());
    Ok(next
        .map_err(JournalError::Read)?
        .and_then(|(key, _)| leading(&key)))
}

/// The hash of a link; without one that of the beginning.
fn hash(link: Option<&[u8]>) -> String {
    match link {
        Some(text) => hex::encode(Sha256::digest(text)),
        None => "0".repeat(64),
    }
}

/// What a record of the audit log is called.
pub(super) fn audit_place(key: &[u8]) -> String {
    format!(
        "entry {} of the audit log",
        leading(key).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
