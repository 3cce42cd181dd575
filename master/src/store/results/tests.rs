mod damage;

use super::*;
use bytes::Bytes;
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, check_block};
use clusterrunner_common::turns::Turns;
use flate2::bufread::MultiGzDecoder;
use futures_util::{Stream, TryStreamExt as _};
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};
use tokio_util::sync::CancellationToken;

const BUILD: BuildId = BuildId(1);
const ATOM: AtomId = AtomId(0);

struct Scenario {
    directory: tempfile::TempDir,
    results: Results,
}

fn key(subjob: u32, attempt: u32) -> (SubjobId, Attempt) {
    (SubjobId(subjob), Attempt(attempt))
}

fn block(keys: &[(SubjobId, Attempt)]) -> Vec<u8> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    for (subjob, attempt) in keys {
        block.begin(*subjob, *attempt);
        let console = format!("subjob {subjob}, attempt {attempt}\n");
        let result = AtomResult {
            command: "true",
            exit_code: 0,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(console.as_bytes()),
            artifacts: None,
        };
        block.add(ATOM, &result).unwrap();
    }
    block.finish().unwrap().0
}

impl Scenario {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().join("results")).unwrap();
        Self { directory, results }
    }

    /// The same files, as a master finds them that was started again.
    fn restarted(self) -> Self {
        let results = Results::new(self.directory.path().join("results")).unwrap();
        Self { results, ..self }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("results/1").join(name)
    }

    async fn append(&self, keys: &[(SubjobId, Attempt)], is_large: bool) {
        let bytes = block(keys);
        let checked = check_block(&*bytes).unwrap();
        let results = checked
            .into_iter()
            .zip(keys.iter().map(|(_, attempt)| *attempt));
        let block = if is_large {
            let file = self.results.incoming(BUILD).unwrap();
            file.file().write_all(&bytes).unwrap();
            Block::File(file)
        } else {
            Block::Memory(bytes)
        };
        self.results
            .append(BUILD, block, results.collect())
            .await
            .unwrap();
    }

    fn console(&self, key: (SubjobId, Attempt)) -> Option<String> {
        let mut text = String::new();
        match self.results.console(BUILD, key.0, key.1, ATOM).ok()? {
            StoredConsole::Memory(mut found) => found.read_to_string(&mut text).unwrap(),
            StoredConsole::File(mut found) => found.read_to_string(&mut text).unwrap(),
        };
        Some(text)
    }

    async fn archived(&self, keys: &[(SubjobId, Attempt)]) -> BTreeMap<String, String> {
        let failures = ["artifact_0_0".to_owned()];
        let go_on = CancellationToken::new();
        let made = self.results.make_archive(BUILD, keys, &failures, &go_on);
        made.unwrap();
        let archive = || self.results.archive(BUILD).unwrap();
        let length = archive().tar_length();
        let tar = bytes_of(archive().tar(0..length)).await;
        assert_eq!(tar.len() as u64, length);
        for range in [0..1, 5..length - 3, length / 2..length, length - 1..length] {
            let part = bytes_of(archive().tar(range.clone())).await;
            let bounds = [range.start, range.end].map(|bound| usize::try_from(bound).unwrap());
            assert_eq!(part, tar[bounds[0]..bounds[1]], "{range:?}");
        }
        let mut consoles = BTreeMap::new();
        let mut read = tar::Archive::new(MultiGzDecoder::new(&*tar));
        let mut files = 0;
        for entry in read.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            files += usize::from(entry.header().entry_type().is_file());
            if let Some(name) = name.strip_suffix("/clusterrunner_console_output") {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                assert!(
                    consoles.insert(name.to_owned(), text).is_none(),
                    "{name} twice"
                );
            }
        }
        let mut zip =
            zip::ZipArchive::new(Cursor::new(bytes_of(archive().zip(Turns::default())).await))
                .unwrap();
        assert_eq!(zip.len(), files);
        let mut failures = String::new();
        zip.by_name("failures.txt")
            .unwrap()
            .read_to_string(&mut failures)
            .unwrap();
        assert_eq!(failures, "artifact_0_0");
        consoles
    }
}

#[tokio::test]
async fn what_a_failed_attempt_left_is_beside_what_counts_unless_it_is_damaged() {
    let scenario = Scenario::new();
    scenario.append(&[key(1, 1)], true).await;
    let files = std::fs::read_dir(scenario.file("")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_large = |path: &PathBuf| path.to_str().unwrap().contains("/block-");
    let large = files.find(is_large).unwrap();
    let mut damaged = std::fs::read(&large).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    std::fs::write(&large, damaged).unwrap();
    scenario.append(&[key(0, 1)], true).await;
    scenario.append(&[key(0, 2), key(1, 2)], false).await;
    let counted = vec![key(0, 2), key(1, 2)];
    let go_on = CancellationToken::new();
    let all = || {
        let failed = [key(0, 1), key(1, 1), key(7, 1)];
        let results = &scenario.results;
        results.with_failed_attempts(BUILD, counted.clone(), &failed, &go_on)
    };
    let results = all().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(all().unwrap(), results, "a second try makes no second copy");
    let consoles = scenario.archived(&results).await;
    let names: Vec<&str> = consoles.keys().map(String::as_str).collect();
    let expected = [
        "./artifact_0_0",
        "./artifact_0_0.attempt_1",
        "./artifact_1_0",
    ];
    assert_eq!(names, expected);
}

async fn bytes_of(stream: impl Stream<Item = io::Result<Bytes>>) -> Vec<u8> {
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    chunks.concat()
}

fn expected(keys: &[(SubjobId, Attempt)]) -> BTreeMap<String, String> {
    let console = |(subjob, attempt): &(SubjobId, Attempt)| {
        let text = format!("subjob {subjob}, attempt {attempt}\n");
        (format!("./artifact_{subjob}_0"), text)
    };
    keys.iter().map(console).collect()
}

#[tokio::test]
async fn results_are_read_back_one_by_one_and_as_archives() {
    let scenario = Scenario::new();
    let keys = [key(2, 1), key(0, 1), key(1, 3), key(7, 1)];
    scenario.append(&keys[..2], false).await;
    scenario.append(&keys[2..3], true).await;
    scenario.append(&keys[3..], false).await;
    let scenario = scenario.restarted();
    for key in keys {
        let text = format!("subjob {}, attempt {}\n", key.0, key.1);
        assert_eq!(scenario.console(key), Some(text));
    }
    assert_eq!(scenario.console(key(2, 2)), None);
    assert_eq!(scenario.archived(&keys).await, expected(&keys));
    scenario.results.remove(BUILD).unwrap();
    assert!(!scenario.file("").exists());
}

#[tokio::test]
async fn builds_that_are_written_together_fail_each_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let results = Results::new(directory.path().to_owned()).unwrap();
    // A file is in the way of one build's directory. All have the same thread.
    std::fs::write(directory.path().join("5"), "").unwrap();
    let append = async |build: u64| {
        let bytes = block(&[key(0, 1)]);
        let found = check_block(&*bytes).unwrap().into_iter();
        let placed = found.map(|result| (result, Attempt(1))).collect();
        let appended = results.append(BuildId(build), Block::Memory(bytes), placed);
        appended.await.is_ok()
    };
    let appended = tokio::join!(append(1), append(5), append(9), append(9));
    assert_eq!(appended, (true, false, true, true));
    for (build, is_there) in [(1, true), (5, false), (9, true)] {
        let has = results.has(BuildId(build), SubjobId(0), Attempt(1));
        assert_eq!(has.unwrap_or(false), is_there, "build {build}");
    }
}

#[tokio::test]
async fn a_place_that_was_made_ready_is_used() {
    let scenario = Scenario::new();
    scenario.results.get_ready(BUILD).await;
    assert!(scenario.file("blocks").exists() && scenario.file("index").exists());
    let no_archive = scenario.results.archive(BUILD).unwrap_err();
    assert_eq!(no_archive.kind(), io::ErrorKind::NotFound);
    assert_eq!(scenario.results.remove_partial(BUILD).unwrap(), 3);
    scenario.results.get_ready(BUILD).await;
    assert!(scenario.results.is_tidy(BUILD));
    let keys = [key(0, 1)];
    scenario.append(&keys, false).await;
    assert!(scenario.results.is_tidy(BUILD));
    scenario.results.get_ready(BUILD).await;
    let scenario = scenario.restarted();
    assert_eq!(scenario.archived(&keys).await, expected(&keys));
    assert!(
        !scenario.results.is_tidy(BUILD),
        "there was something before"
    );
}

#[tokio::test]
async fn what_does_not_count_is_not_in_the_archive() {
    let scenario = Scenario::new();
    scenario
        .append(&[key(0, 1), key(1, 1), key(2, 1)], false)
        .await;
    scenario.append(&[key(1, 2)], false).await;
    // A master that was killed before it answered gets it once more.
    scenario.append(&[key(1, 2), key(3, 1)], false).await;
    scenario.append(&[key(4, 1)], false).await;
    let counted = [key(0, 1), key(1, 2), key(2, 1), key(3, 1)];
    assert_eq!(scenario.archived(&counted).await, expected(&counted));
    let missing = [key(5, 1)];
    let made = scenario
        .results
        .make_archive(BUILD, &missing, &[], &CancellationToken::new());
    assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn what_was_torn_at_the_end_is_written_over() {
    for (file, cut) in [("index", 1), ("blocks", 1)] {
        let scenario = Scenario::new();
        scenario.append(&[key(0, 1)], false).await;
        scenario.append(&[key(1, 1)], false).await;
        let torn = std::fs::File::options()
            .write(true)
            .open(scenario.file(file))
            .unwrap();
        torn.set_len(torn.metadata().unwrap().len() - cut).unwrap();
        let scenario = scenario.restarted();
        assert!(scenario.console(key(0, 1)).is_some());
        // A whole block is read without its record; half a block is none.
        let is_whole = scenario.console(key(1, 1)).is_some();
        assert_eq!(is_whole, file == "index", "{file}");
        scenario.append(&[key(1, 1)], false).await;
        let keys = [key(0, 1), key(1, 1)];
        assert_eq!(scenario.archived(&keys).await, expected(&keys));
    }
}

#[tokio::test]
async fn an_empty_build_has_an_archive() {
    let scenario = Scenario::new();
    assert_eq!(scenario.archived(&[]).await, BTreeMap::new());
}

#[tokio::test]
async fn a_download_keeps_its_bytes_when_its_build_is_removed() {
    let scenario = Scenario::new();
    let keys = [key(0, 1), key(1, 1), key(2, 1)];
    for (key, is_large) in keys.iter().zip([false, true, true]) {
        scenario.append(&[*key], is_large).await;
    }
    let stop = CancellationToken::new();
    scenario
        .results
        .make_archive(BUILD, &keys, &[], &stop)
        .unwrap();
    let archive = || scenario.results.archive(BUILD).unwrap();
    let length = archive().tar_length();
    let zip = || archive().zip(Turns::at_a_time(1));
    let (tar, made) = (bytes_of(archive().tar(0..length)).await, zip());
    let made = bytes_of(made).await;
    // Whoever reads slowly keeps nobody: there is one turn for all of these.
    let mut slow: Vec<_> = (0..20).map(|_| Box::pin(zip())).collect();
    for slow in &mut slow {
        assert!(slow.try_next().await.unwrap().is_some());
    }
    assert_eq!(bytes_of(zip()).await, made);
    let mut begun = Box::pin(archive().tar(0..length));
    let first = begun.try_next().await.unwrap().unwrap();
    let (late, late_zip) = (archive().tar(0..length), zip());
    scenario.results.remove(BUILD).unwrap();
    assert!(!scenario.file("blocks").exists());
    assert_eq!([&first[..], &bytes_of(begun).await].concat(), tar);
    assert_eq!(bytes_of(late).await, tar);
    assert_eq!(bytes_of(late_zip).await, made);
}
