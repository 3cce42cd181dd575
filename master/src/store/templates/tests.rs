use super::*;
use crate::store::results::{Block, Results};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, check_block};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const BUILD: BuildId = BuildId(3);
const HAND_OUT: (SubjobId, Attempt) = (SubjobId(0), Attempt(2));
const DESCRIPTION: &str = r#"{"form": "workspace", "root": "/var/tmp/cr/0123456789abcdef"}"#;

/// The stores of a master.
struct Stores {
    directory: TempDir,
    results: Results,
    snapshots: Snapshots,
    space: DiskSpace,
}

impl Stores {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            results: Results::new(directory.path().join("results")).unwrap(),
            snapshots: Snapshots::open(directory.path().join("templates")).unwrap(),
            space: DiskSpace::new(directory.path(), 0),
            directory,
        }
    }

    /// Stores the result of an atom that left these files.
    async fn left(&self, files: &[(&str, &[u8])]) {
        let artifacts = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(artifacts.path().join(name), content).unwrap();
        }
        let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
        block.begin(HAND_OUT.0, HAND_OUT.1);
        let result = AtomResult {
            command: "true",
            exit_code: 0,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(b"built\n"),
            artifacts: Some(artifacts.path()),
        };
        block.add(AtomId(0), &result).unwrap();
        let (bytes, _) = block.finish().unwrap();
        let checked = check_block(&*bytes).unwrap().remove(0);
        let placed = vec![(checked, HAND_OUT.1)];
        let appended = self.results.append(BUILD, Block::Memory(bytes), placed);
        appended.await.unwrap();
    }

    fn take(&self, most: u64) -> Result<Kept, TakeError> {
        let stop = CancellationToken::new();
        let bounds = (most, &self.space);
        self.snapshots
            .take(&self.results, BUILD, HAND_OUT, bounds, &stop)
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path().join("templates")).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn snapshot() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b];
    bytes.extend((0..300_000_u32).flat_map(u32::to_le_bytes));
    bytes
}

async fn rest(snapshots: &Snapshots, kept: &Kept, offset: u64) -> Vec<u8> {
    let open = snapshots.open_at(&kept.digest, kept.bytes, offset).unwrap();
    assert_eq!(open.rest(), kept.bytes - offset);
    let pieces: Vec<_> = open.stream().try_collect().await.unwrap();
    pieces.concat()
}

#[tokio::test]
async fn a_template_is_taken_and_given_from_any_byte_on() {
    let stores = Stores::new();
    let snapshot = snapshot();
    let files = [
        ("template.json", DESCRIPTION.as_bytes()),
        ("snapshot.tar.gz", &snapshot),
        ("other", b"x"),
    ];
    stores.left(&files).await;
    let kept = stores.take(u64::MAX).unwrap();
    assert_eq!(kept.digest, hex::encode(Sha256::digest(&snapshot)));
    assert_eq!(kept.bytes, snapshot.len() as u64);
    assert_eq!(stores.names(), [&*kept.digest]);
    for offset in [0, 1, 200_000, kept.bytes] {
        let expected = &snapshot[usize::try_from(offset).unwrap()..];
        assert!(rest(&stores.snapshots, &kept, offset).await == expected);
    }
    let opened = |digest: &str, bytes, offset| {
        let opened = stores.snapshots.open_at(digest, bytes, offset);
        opened.map(|open| open.rest()).map_err(|error| error.kind())
    };
    let digest = &kept.digest;
    assert_eq!(
        opened(digest, kept.bytes, kept.bytes + 1),
        Err(io::ErrorKind::InvalidInput)
    );
    assert_eq!(
        opened(digest, kept.bytes + 1, 0),
        Err(io::ErrorKind::InvalidData)
    );
    let other = "0".repeat(64);
    for unknown in [
        other.as_str(),
        "../results",
        &digest[1..],
        &digest.to_uppercase(),
    ] {
        assert_eq!(
            opened(unknown, 0, 0),
            Err(io::ErrorKind::NotFound),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn what_is_no_template_is_named_and_leaves_nothing() {
    let snapshot = snapshot();
    let description = DESCRIPTION.as_bytes();
    for (files, most, expected) in [
        (
            vec![("other", description)],
            u64::MAX,
            "no file template.json",
        ),
        (
            vec![("template.json", description)],
            u64::MAX,
            "no file snapshot.tar.gz",
        ),
        (
            vec![("template.json", b"{}"), ("snapshot.tar.gz", &*snapshot)],
            u64::MAX,
            "template.json: missing field `form`",
        ),
        (
            vec![
                ("template.json", description),
                ("snapshot.tar.gz", b"plain"),
            ],
            u64::MAX,
            "not compressed with gzip",
        ),
        (
            vec![("template.json", description), ("snapshot.tar.gz", b"")],
            u64::MAX,
            "not compressed with gzip",
        ),
        (
            vec![
                ("template.json", description),
                ("snapshot.tar.gz", &*snapshot),
            ],
            1000,
            "at most 1000 are kept (max_snapshot_bytes",
        ),
    ] {
        let stores = Stores::new();
        stores.left(&files).await;
        let failure = stores.take(most).unwrap_err().to_string();
        assert!(failure.contains(expected), "{failure} lacks {expected}");
        assert_eq!(stores.names(), [""; 0]);
    }
}

#[tokio::test]
async fn a_snapshot_goes_unless_it_was_put_there_again() {
    let stores = Stores::new();
    let snapshot = snapshot();
    let files = [
        ("template.json", DESCRIPTION.as_bytes()),
        ("snapshot.tar.gz", &snapshot),
    ];
    stores.left(&files).await;
    let kept = stores.take(u64::MAX).unwrap();
    let digest = kept.digest.clone();
    assert!(stores.snapshots.begin_removal(&digest).is_none());
    drop(kept);
    let going = stores.snapshots.begin_removal(&digest).unwrap();
    // It is damaged, too: the new one counts.
    let file = stores.directory.path().join("templates").join(&digest);
    std::fs::write(&file, "damage").unwrap();
    let again = stores.take(u64::MAX).unwrap();
    stores.snapshots.remove(going).unwrap();
    assert!(rest(&stores.snapshots, &again, 0).await == snapshot);
    drop(again);
    let going = stores.snapshots.begin_removal(&digest).unwrap();
    stores.snapshots.give_removal_up(&going);
    stores.snapshots.remove(going).unwrap();
    assert_eq!(stores.names(), [&*digest]);
    let going = stores.snapshots.begin_removal(&digest).unwrap();
    stores.snapshots.remove(going).unwrap();
    assert_eq!(stores.names(), [""; 0]);
}

#[test]
fn a_start_removes_what_nobody_needs() {
    let stores = Stores::new();
    let directory = stores.directory.path().join("templates");
    let (needed, other) = ("a".repeat(64), "b".repeat(64));
    for name in [&*needed, &*other, ".incoming-x", "notes"] {
        std::fs::write(directory.join(name), "x").unwrap();
    }
    let snapshots = Snapshots::open(directory).unwrap();
    assert_eq!(snapshots.keep_only(&[needed.clone()].into()).unwrap(), 1);
    let mut names = stores.names();
    names.sort();
    assert_eq!(names, [needed.as_str(), "notes"]);
}
