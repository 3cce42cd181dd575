//! What is damaged is found, named, and left out only when somebody asks for it.

use super::*;
use clusterrunner_core::slaves::slave::Presence;
use examine::{Findings, examine};
use export::{ExportError, export};
use repair::Repair;
use std::fs;

fn refusal(directory: &Path) -> String {
    match Master::start(directory) {
        Ok(_) => panic!("it starts on a damaged journal"),
        Err(error) => error.to_string(),
    }
}

fn event_key(event: u64, piece: u16) -> Vec<u8> {
    piece_key(&event.to_be_bytes(), piece)
}

/// Spoils one byte of a record.
fn spoil(tree: &sled::Tree, key: &[u8]) {
    let mut value = tree.get(key).unwrap().unwrap().to_vec();
    let last = value.len() - 1;
    value[last] ^= 1;
    tree.insert(key, value).unwrap();
    tree.flush().unwrap();
}

async fn with_events(directory: &Path, number: u64) -> Master {
    let mut master = Master::start(directory).unwrap();
    for build in 1..=number {
        master.happen([queued(build)]).await;
    }
    master
}

#[tokio::test]
async fn a_damaged_or_missing_event_is_named_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    let facts: Vec<Fact> = (1..6)
        .flat_map(|n| [queued(n), failed(n, "x".repeat(30_000))])
        .collect();
    master.happen(facts).await;
    let key = event_key(3, 1);
    let good = master.journal.store.events.get(&key).unwrap().unwrap();
    spoil(&master.journal.store.events, &key);
    drop(master);
    let error = refusal(directory.path());
    assert!(
        error.contains("event 3 of the journal is damaged (its checksum"),
        "{error}"
    );
    assert!(error.contains("clusterrunner journal repair"), "{error}");
    for (missing, named) in [
        (event_key(3, 1), 3),
        (event_key(3, 0), 3),
        (event_key(4, 0), 4),
    ] {
        let files = Files(directory.path().to_owned());
        let store = Store::open(directory.path()).unwrap();
        store.events.insert(&key, good.clone()).unwrap();
        let removed = store.events.remove(&missing).unwrap().unwrap();
        drop((store, files));
        let error = refusal(directory.path());
        assert!(
            error.contains(&format!("event {named} ")) && error.contains("missing"),
            "{error}"
        );
        let _files = Files(directory.path().to_owned());
        let store = Store::open(directory.path()).unwrap();
        store.events.insert(&missing, removed).unwrap();
    }
    Master::start(directory.path()).unwrap();
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = with_events(directory.path(), 3).await;
    let before = master.cluster.clone();
    master.happen([failed(1, "x".repeat(30_000))]).await;
    let removed = master.journal.store.events.remove(event_key(3, 2)).unwrap();
    assert!(removed.is_some());
    master.journal.store.acknowledged.write(3).unwrap();
    drop(master);
    assert!(examine(directory.path()).unwrap().is_torn);
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    master.happen([queued(4)]).await;
    drop(master);
    let findings = examine(directory.path()).unwrap();
    assert_eq!(
        (findings.events, findings.problems, findings.is_torn),
        (4, vec![], false)
    );
}

#[tokio::test]
async fn facts_that_can_not_be_are_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = with_events(directory.path(), 1).await;
    let event = Event {
        at: Timestamp(1),
        by: Actor::Master,
        fact: failed(9, String::new()),
    };
    master.journal.append(&[event]).await.unwrap();
    drop(master);
    let error = refusal(directory.path());
    assert!(
        error.contains("event 1 ") && error.contains("does not fit"),
        "{error}"
    );
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = with_events(directory.path(), 1).await;
    master.snapshot();
    let meta = json!({"format": FORMAT + 1, "events": 1, "records": 1, "bytes": 1});
    ended::insert(&master.journal.store.meta, b"snapshot", &meta).unwrap();
    drop(master);
    let error = refusal(directory.path());
    assert!(error.contains("has format 2"), "{error}");
}

/// Builds 1 (in work), 2 (queued) in a snapshot, 3 since; 4 is over and put away.
pub(super) async fn full(directory: &Path) -> Master {
    let mut master = Master::start(directory).unwrap();
    master.happen([connected()]).await;
    master.happen(running(1, 150)).await;
    master
        .happen([
            handed_out(1, 0),
            finished(1, 0),
            handed_out(1, 1),
            queued(2),
        ])
        .await;
    master.snapshot();
    for fact in [queued(3), queued(4), failed(4, "no".to_owned())] {
        master.happen([fact]).await;
    }
    master
        .journal
        .ended()
        .keep(&[master.build(4).clone()])
        .unwrap();
    master
}

#[tokio::test]
async fn an_export_says_all_and_brings_all_back() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let before = full(&journal).await.cluster;
    let mut text = Vec::new();
    let exported = export(&journal, &mut text).unwrap();
    assert!(exported.damages.is_empty());
    let file = directory.path().join("export.jsonl");
    fs::write(&file, &text).unwrap();
    let kinds: Vec<String> = String::from_utf8(text.clone())
        .unwrap()
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object().unwrap().keys().next().unwrap().clone()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "journal", "cluster", "build", "build", "subjobs", "subjobs", "subjobs", "event",
            "event", "event", "ended", "end"
        ]
    );
    fs::remove_dir_all(&journal).unwrap();
    let repair = Repair::of_export(&journal, &file).unwrap();
    assert_eq!(repair.findings.problems, []);
    assert_eq!(repair.commit().unwrap(), None);
    let master = Master::start(&journal).unwrap();
    check_repaired(&before, &master.cluster);
    let ended = master.journal.ended().build(BuildId(4)).await.unwrap();
    assert_eq!(ended.unwrap().build.id, BuildId(4));
    drop(master);
    let mut again = Vec::new();
    export(&journal, &mut again).unwrap();
    let (again, same) = (
        String::from_utf8(again).unwrap(),
        String::from_utf8(text.clone()).unwrap(),
    );
    // All of it, and that a new incarnation began.
    let is_new = |line: &&str| {
        let is_event = line.starts_with("{\"event\"") && line.contains("incarnation");
        is_event || line.starts_with("{\"end\"")
    };
    let old: Vec<&str> = again.lines().filter(|line| !is_new(line)).collect();
    let before_end = same.lines().filter(|line| !line.starts_with("{\"end\""));
    assert_eq!(old, before_end.collect::<Vec<_>>());

    // Half an export is none.
    for end in [0, 1, kinds.len() / 2, kinds.len() - 1] {
        let text = String::from_utf8(text.clone()).unwrap();
        let half: String = text.split_inclusive('\n').take(end).collect();
        fs::write(&file, half).unwrap();
        let refused = Repair::of_export(&journal, &file);
        assert!(
            matches!(refused, Err(ExportError::Line { .. })),
            "{end} lines"
        );
    }
    assert_eq!(entries(directory.path()), ["export.jsonl", "journal"]);
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn problems(findings: &Findings) -> Vec<String> {
    let texts = findings.problems.iter();
    texts
        .map(|p| format!("{}: {} - {}", p.place, p.what, p.lost))
        .collect()
}

/// Damages a full journal, checks what is said of it, repairs it and starts on the rest.
async fn check_repair(
    spoil: impl FnOnce(&Store),
    expected: &[&str],
    check: impl FnOnce(&mut Master),
) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let master = full(&journal).await;
    spoil(&master.journal.store);
    drop(master);
    let found = examine(&journal).unwrap();
    assert_eq!(problems(&found), expected);
    assert_eq!(entries(directory.path()), ["journal"]);
    let repair = Repair::of_damaged(&journal).unwrap();
    assert_eq!(problems(&repair.findings), expected);
    let kept = repair.commit().unwrap().unwrap();
    assert_eq!(
        problems(&examine(&kept).unwrap()),
        expected,
        "the old one is kept"
    );
    assert_eq!(examine(&journal).unwrap().problems, []);
    let mut master = Master::start(&journal).unwrap();
    check(&mut master);
    assert_eq!(entries(directory.path()).len(), 2);
}

#[tokio::test]
async fn what_comes_before_a_damaged_event_is_saved() {
    let lost = "event 11: its checksum does not fit - what it and the event after it say";
    check_repair(
        |store| spoil(&store.events, &event_key(11, 0)),
        &[lost],
        |master| {
            assert_eq!(master.cluster.builds().count(), 3);
            // Nobody knows what the slave was given since.
            assert_eq!(master.build(1).num_running(), 0);
            assert!(master.cluster.lineage().incarnation().is_some());
            // Build 4 is put away, so its id is taken.
            assert_eq!(master.cluster.slaves().count(), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn damage_to_the_audit_log_is_named() {
    let damaged =
        "entry 7 of the audit log: its checksum does not fit - who asked for what in that turn";
    check_repair(
        |store| {
            for number in [3_u64, 7] {
                let (key, value) = record::only_piece(&number.to_be_bytes(), b"{}").unwrap();
                store.audit.insert(key, value).unwrap();
            }
            spoil(&store.audit, &piece_key(&7_u64.to_be_bytes(), 0));
        },
        &[damaged],
        |master| assert_eq!(master.journal.store.audit.len(), 1),
    )
    .await;
}

#[tokio::test]
async fn events_that_share_a_record_are_lost_together_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = with_events(directory.path(), 2).await;
    let before = master.cluster.clone();
    master.happen((3..=7).map(queued)).await;
    master.happen([queued(8)]).await;
    let events = &master.journal.store.events;
    assert_eq!(events.len(), 4);
    spoil(events, &event_key(2, 0));
    drop(master);
    let findings = examine(directory.path()).unwrap();
    let lost =
        "event 2: its checksum does not fit - what it and the 5 events after it say".to_owned();
    assert_eq!(
        (problems(&findings), findings.cluster),
        (vec![lost], before)
    );
}

#[tokio::test]
async fn builds_of_which_a_part_of_the_snapshot_is_damaged_are_left_out() {
    let mut lost = "subjobs 64 to 127 of build 1 in the snapshot: its checksum does not fit - what it says, and \
                    where each slave and each unfinished build stands"
        .to_owned();
    lost.push_str(", and the 3 events after the snapshot");
    check_repair(
        |store| {
            let keys = store.snapshots.iter().keys().map(Result::unwrap);
            let of_subjobs = |key: &sled::IVec| {
                snapshot::subjobs_at(&key[..key.len() - 2]) == Some((BuildId(1), 1))
            };
            let key = keys.into_iter().find(of_subjobs).unwrap();
            spoil(&store.snapshots, &key);
        },
        &[
            &lost.replace(", and the 3 events after the snapshot", ""),
            "subjobs 128 to 191 of build 1 in the snapshot: subjobs before it are missing - what it says, and \
             where each slave and each unfinished build stands, and the 3 events after the snapshot",
        ],
        |master| {
            let ids: Vec<u64> = master.cluster.builds().map(|build| build.id.0).collect();
            assert_eq!(ids, [2]);
            assert_eq!(master.cluster.slaves().count(), 0);
        },
    )
    .await;
}

#[tokio::test]
async fn an_ended_build_that_is_damaged_is_left_out() {
    check_repair(
        |store| spoil(&store.ended, &event_key(4, 0)),
        &[
            "the ended build 4: its checksum does not fit - this build's page and its list of atoms; its \
           archives stay on disk",
        ],
        |master| assert_eq!(master.cluster.builds().count(), 4),
    )
    .await;
}

/// The engine itself can not read it: nothing is guessed, and an export helps.
#[tokio::test]
async fn a_journal_that_can_not_be_opened_is_made_anew_from_an_export() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let before = full(&journal).await.cluster;
    let file = directory.path().join("export.jsonl");
    let mut text = Vec::new();
    export(&journal, &mut text).unwrap();
    fs::write(&file, &text).unwrap();
    // The engine panics where the same piece of its log is there twice.
    let mut db = fs::read(journal.join("db")).unwrap();
    db.resize(1 << 20, 0);
    db.extend_from_within(..);
    fs::write(journal.join("db"), db).unwrap();
    let error = refusal(&journal);
    assert!(error.contains("journal repair` says"), "{error}");
    for refused in [
        Repair::of_damaged(&journal).map(drop).unwrap_err(),
        examine(&journal).map(drop).unwrap_err(),
    ] {
        let error = refused.to_string();
        assert!(error.contains("journal repair --from FILE"), "{error}");
        assert!(
            !error.contains("repair` "),
            "a way that does not help: {error}"
        );
    }
    let repair = Repair::of_export(&journal, &file).unwrap();
    repair.commit().unwrap().unwrap();
    check_repaired(&before, &Master::start(&journal).unwrap().cluster);
}

/// All is as it was, but in a new incarnation: what slaves had is void.
fn check_repaired(before: &Cluster, after: &Cluster) {
    let slave = &after.slave(SlaveId(1)).unwrap().presence;
    let Presence::Lost { at, .. } = slave else {
        panic!("{slave:?}");
    };
    let fresh = after.lineage().incarnation().unwrap().clone();
    assert_eq!(fresh.0.len(), 32);
    let reason = "the journal was brought back from an export".to_owned();
    let mut expected = before.clone();
    let begin = Command::BeginIncarnation { fresh, reason };
    for event in before.decide(begin, *at).unwrap() {
        expected.apply(&event);
    }
    assert_eq!(*after, expected);
}

/// A page of a build that is over is no fact that has a number.
#[tokio::test]
async fn an_ended_build_that_is_gone_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut master = full(&journal).await;
    master
        .happen([Fact::Build(BuildId(4), BuildFact::Retired)])
        .await;
    master.snapshot();
    master.journal.store.ended.remove(event_key(4, 0)).unwrap();
    drop(master);
    let error = refusal(&journal);
    assert!(
        error.contains("the ended build 4 of the journal is damaged (it is missing)"),
        "{error}"
    );
    let repair = Repair::of_damaged(&journal).unwrap();
    let missing = "the ended build 4: it is missing - this build's page and its list of atoms; its archives stay \
                   on disk";
    assert_eq!(problems(&repair.findings), [missing]);
    let file = directory.path().join("export.jsonl");
    export(&journal, &mut fs::File::create(&file).unwrap()).unwrap();
    repair.commit().unwrap();
    for _ in 0..2 {
        let master = Master::start(&journal).unwrap();
        assert!(master.cluster.is_forgotten(BuildId(4)));
        assert_eq!(master.cluster.builds().count(), 3);
        drop(master);
        // An export without it brings the rest back too.
        Repair::of_export(&journal, &file)
            .unwrap()
            .commit()
            .unwrap();
    }
}

/// The engine cuts its log at the first record that it finds damaged, and says nothing.
#[tokio::test]
async fn whatever_byte_of_the_disk_is_damaged_no_acknowledged_event_is_lost_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let before = with_events(&journal, 20).await.cluster;
    let length = fs::metadata(journal.join("db")).unwrap().len();
    let copy = directory.path().join("copy");
    let (mut damaged, mut whole) = (0, 0);
    for at in (0..length).step_by(97) {
        fs::create_dir_all(&copy).unwrap();
        for name in ["conf", "db", "acknowledged"] {
            fs::copy(journal.join(name), copy.join(name)).unwrap();
        }
        let mut bytes = fs::read(copy.join("db")).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 0x55;
        fs::write(copy.join("db"), bytes).unwrap();
        match Master::start(&copy) {
            Ok(master) => {
                assert_eq!(master.cluster, before, "byte {at}");
                whole += 1;
            }
            Err(_) => damaged += 1,
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    assert!(damaged > whole, "{damaged} damaged, {whole} whole");
}

#[tokio::test]
async fn a_lost_end_is_named_and_repaired() {
    check_repair(
        |store| {
            store.events.remove(event_key(12, 0)).unwrap();
            store.sync().unwrap();
        },
        &[
            "the end: events 12 to 12 were acknowledged and are not there, so the disk has lost or damaged \
           them - what they say",
        ],
        |master| assert_eq!(master.cluster.builds().count(), 4),
    )
    .await;
}
