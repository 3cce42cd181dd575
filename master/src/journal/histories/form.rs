//! An entry as bytes: JSON of what is one of its kind, and the runs, of which there are many, as numbers of as many bytes
//! as they need.

use super::entry::{Entry, Kind, What};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::hunted::HuntTrials;
use clusterrunner_core::history::{Ended, Failure, Memory, Run, Tag, Trials};
use serde::{Deserialize, Serialize};

/// The first byte. Another one is of another version, which learns anew what this one wrote.
const FORM: u8 = 1;
/// The same where a run was hunted, which earlier versions can not read.
const FORM_WITH_HUNTS: u8 = 2;

/// What a run is, beside its numbers: how it ended in the low bits, and of its commit whether there is one and whether it
/// is that of the run before.
const ENDED: u8 = 0b11;
const HAS_COMMIT: u8 = 0b100;
const SAME_COMMIT: u8 = 0b1000;
/// Whether its build was told something beside its commit.
const WAS_TOLD: u8 = 0b1_0000;
/// Whether it ran again though it had passed.
const WAS_HUNTED: u8 = 0b10_0000;

/// All but the runs.
#[derive(Serialize, Deserialize)]
struct Head {
    kind: Kind,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    atom: Option<String>,
    last_at: Timestamp,
    #[serde(default)]
    older: Vec<u16>,
    /// The same without hunts, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older_alone: Option<Vec<u16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older_until: Option<BuildId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_failed: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failed: Option<Failure>,
}

pub(super) fn written(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let memory = &entry.memory;
    let head = Head {
        kind: entry.what.kind,
        name: entry.what.name.clone(),
        class: entry.what.class.clone(),
        atom: match entry.what.kind {
            Kind::Atom => None,
            Kind::Test => Some(entry.what.atom.to_string()),
        },
        last_at: entry.last_at,
        older: memory.older.passes().to_vec(),
        older_alone: (memory.older_alone != memory.older)
            .then(|| memory.older_alone.passes().to_vec()),
        older_until: memory.older_until,
        first_failed: memory.first_failed.clone(),
        last_failed: memory.last_failed.clone(),
    };
    let head = serde_json::to_vec(&head)?;
    let mut bytes = match memory.runs.iter().any(was_hunted) {
        false => vec![FORM],
        true => vec![FORM_WITH_HUNTS],
    };
    put(&mut bytes, head.len() as u64);
    bytes.extend_from_slice(&head);
    let (mut build, mut commit) = (0, None);
    for run in &memory.runs {
        put(&mut bytes, run.build.0 - build);
        let of_commit = match run.commit {
            None => 0,
            same if same == commit => HAS_COMMIT | SAME_COMMIT,
            Some(_) => HAS_COMMIT,
        };
        let ended = match run.ended {
            Ended::Passed => 0,
            Ended::Failed => 1,
            Ended::Skipped => 2,
        };
        let told = match run.told {
            0 => 0,
            _ => WAS_TOLD,
        };
        let hunted = if was_hunted(run) { WAS_HUNTED } else { 0 };
        bytes.extend([ended | of_commit | told | hunted, run.failed_before]);
        put(&mut bytes, run.ms);
        if let (HAS_COMMIT, Some(Tag(tag))) = (of_commit, run.commit) {
            bytes.extend(tag.to_be_bytes());
        }
        if run.told != 0 {
            bytes.extend(run.told.to_be_bytes());
        }
        if was_hunted(run) {
            bytes.extend([run.hunted.passes, run.hunted.flakes]);
        }
        (build, commit) = (run.build.0, run.commit);
    }
    Ok(bytes)
}

/// `None` where it is not what [`written`] makes.
pub(super) fn read(bytes: &[u8]) -> Option<Entry> {
    let (form, mut rest) = bytes.split_first()?;
    if ![FORM, FORM_WITH_HUNTS].contains(form) {
        return None;
    }
    let length = usize::try_from(take(&mut rest)?).ok()?;
    let (head, mut rest) = rest.split_at_checked(length)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let (mut runs, mut build, mut commit) = (Vec::new(), 0_u64, None);
    while !rest.is_empty() {
        build = build.checked_add(take(&mut rest)?)?;
        let (&[kind, failed_before], after) = rest.split_first_chunk()?;
        rest = after;
        let ms = take(&mut rest)?;
        commit = match (kind & HAS_COMMIT, kind & SAME_COMMIT) {
            (0, _) => None,
            (_, 0) => {
                let (tag, after) = rest.split_first_chunk()?;
                rest = after;
                Some(Tag(u32::from_be_bytes(*tag)))
            }
            _ => commit,
        };
        let told = match kind & WAS_TOLD {
            0 => 0,
            _ => {
                let (told, after) = rest.split_first_chunk()?;
                rest = after;
                u32::from_be_bytes(*told)
            }
        };
        let hunted = match kind & WAS_HUNTED {
            0 => HuntTrials::default(),
            _ => {
                let (&[passes, flakes], after) = rest.split_first_chunk()?;
                rest = after;
                HuntTrials { passes, flakes }
            }
        };
        runs.push(Run {
            hunted,
            build: BuildId(build),
            commit,
            told,
            ended: match kind & ENDED {
                0 => Ended::Passed,
                1 => Ended::Failed,
                2 => Ended::Skipped,
                _ => return None,
            },
            failed_before,
            ms,
        });
    }
    let older = Trials::from_passes(head.older)?;
    let older_alone = match head.older_alone {
        Some(alone) => Trials::from_passes(alone)?,
        None => older.clone(),
    };
    let atom = head.atom.unwrap_or_else(|| head.name.clone());
    Some(Entry {
        what: What {
            kind: head.kind,
            name: head.name,
            class: head.class,
            atom: atom.into(),
        },
        last_at: head.last_at,
        memory: Memory {
            runs,
            older,
            older_alone,
            older_until: head.older_until,
            first_failed: head.first_failed,
            last_failed: head.last_failed,
        },
    })
}

fn was_hunted(run: &Run) -> bool {
    run.hunted != HuntTrials::default()
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        let commit = prop::option::of(prop::sample::select(vec![Tag(1), Tag(u32::MAX)]));
        let told = prop::sample::select(vec![0, 1, u32::MAX]);
        let run = (
            1..1000_u64,
            commit,
            told,
            0..3_usize,
            any::<u8>(),
            any::<u64>(),
            prop::option::weighted(0.2, (any::<u8>(), any::<u8>())),
        );
        prop::collection::vec(run, 0..50).prop_map(|runs| {
            let mut build = 0;
            let runs = runs.into_iter();
            let run = |(after, commit, told, ended, failed_before, ms, hunted)| {
                let (passes, flakes): (u8, u8) = Option::unwrap_or_default(hunted);
                build += after;
                Run {
                    build: BuildId(build),
                    commit,
                    told,
                    ended: [Ended::Passed, Ended::Failed, Ended::Skipped][ended],
                    failed_before,
                    ms,
                    hunted: HuntTrials { passes, flakes },
                }
            };
            runs.map(run).collect()
        })
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(
            runs in runs(),
            is_test in any::<bool>(),
            is_same in any::<bool>(),
        ) {
            let mut older = Trials::default();
            older.add(true);
            let mut older_alone = older.clone();
            if is_same {
                older.add(false);
            }
            older_alone.add(false);
            let failure = Failure { build: BuildId(3), commit: Some("c".to_owned()), at: Timestamp(4) };
            let entry = Entry {
                what: What {
                    kind: if is_test { Kind::Test } else { Kind::Atom },
                    name: "n".to_owned(),
                    class: is_test.then(|| "c".to_owned()),
                    atom: if is_test { "a" } else { "n" }.into(),
                },
                last_at: Timestamp(5),
                memory: Memory {
                    runs,
                    older,
                    older_alone,
                    older_until: Some(BuildId(2)),
                    first_failed: None,
                    last_failed: Some(failure),
                },
            };
            prop_assert_eq!(read(&written(&entry).unwrap()), Some(entry));
        }

        #[test]
        fn whatever_the_bytes_are_nothing_breaks(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            read(&[&[FORM][..], &bytes].concat());
            let head = br#"{"kind":"atom","name":"a","last_at":1,"older":[0]}"#;
            let length = u8::try_from(head.len()).unwrap();
            read(&[&[FORM, length], &head[..], &bytes].concat());
        }
    }
}
