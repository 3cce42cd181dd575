//! Makes the archive of a build: finds out which pieces of its stored results it consists of. Where the build is to leave
//! a template, its snapshot is taken out of them.

use crate::effects::test_report::report_of;
use crate::read::builds::Builds;
use crate::store::results::{Results, block_of};
use crate::store::templates::{Kept, Snapshots, TakeError};
use clusterrunner_common::disk::space::{DiskSpace, is_disk_full};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::MadeResult;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the list of pieces takes, generously: so much, and so much for each subjob.
const LIST: u64 = 256 << 10;
const LIST_OF_SUBJOB: u64 = 128;
/// The pause after the disk was found full.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Makes archives, and takes out of results what they leave.
#[derive(Clone, Debug)]
pub(crate) struct Archiver {
    /// Where results lie.
    pub results: Results,
    /// Where the snapshots of templates lie.
    pub snapshots: Snapshots,
    /// How many bytes a snapshot may have.
    pub max_snapshot_bytes: u64,
    /// The space that is left for them.
    pub space: DiskSpace,
    /// The builds, whose tests are in their archives as one report; nothing for archives without.
    pub builds: Option<Builds>,
}

/// What is archived of a build.
#[derive(Debug)]
pub(crate) struct Archived {
    /// Each subjob and the hand-out whose result counts, in order.
    pub subjobs: Vec<(SubjobId, Attempt)>,
    /// The failed hand-outs after which their subjobs were run again, in order.
    pub failed_attempts: Vec<(SubjobId, Attempt)>,
    /// Names of the artifact directories of failed atoms, in order.
    pub failures: Vec<String>,
    /// Those of the results that no slave brought.
    pub made: Vec<MadeResult>,
    /// The result with a template.
    pub product: Option<(SubjobId, Attempt)>,
}

/// Why a build can not be archived. The text goes to its user.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("The archive of the results could not be made: {0}.")]
    Results(#[from] io::Error),
    #[error("No template can be made of what the build left: {0}.")]
    Template(#[from] TakeError),
}

impl ArchiveError {
    fn is_disk_full(&self) -> bool {
        match self {
            Self::Results(error) | Self::Template(TakeError::Disk(error)) => is_disk_full(error),
            Self::Template(_) => false,
        }
    }
}

impl Archiver {
    /// Makes the archive and says how it went; `None` if it was told to stop. Waits while the disk has
    /// no place for it. A snapshot that was stored is held until what comes with it is dropped.
    pub(crate) async fn archive(
        self,
        build: BuildId,
        archived: Archived,
        stop: CancellationToken,
    ) -> Option<(Command, Option<Kept>)> {
        let num_subjobs = archived.subjobs.len() as u64;
        let needed = LIST.saturating_add(LIST_OF_SUBJOB.saturating_mul(num_subjobs));
        let archived = Arc::new(archived);
        let what = format!("archiving build {build}");
        let done = loop {
            if !self.space.wait_for(needed, &what, &stop).await {
                return None;
            }
            match self.try_to_archive(build, &archived, &stop).await {
                // The space was taken meanwhile; what was written of the archive is gone.
                Err(error) if error.is_disk_full() && !stop.is_cancelled() => {
                    tracing::warn!(build.id = build.0, %error, "no space for the archive; retrying");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                done => break done,
            }
        };
        match done {
            _ if stop.is_cancelled() => None,
            Ok(kept) => {
                let template = kept.as_ref().map(content_of).map(Box::new);
                Some((Command::ReportArchived { build, template }, kept))
            }
            Err(error) => {
                let reason = error.to_string();
                Some((Command::ReportArchivingFailed { build, reason }, None))
            }
        }
    }

    async fn try_to_archive(
        &self,
        build: BuildId,
        archived: &Arc<Archived>,
        stop: &CancellationToken,
    ) -> Result<Option<Kept>, ArchiveError> {
        write_archive(self, build, archived, stop).await?;
        let Some(product) = archived.product else {
            return Ok(None);
        };
        let (this, stop) = (self.clone(), stop.clone());
        let taken = tokio::task::spawn_blocking(move || {
            let bounds = (this.max_snapshot_bytes, &this.space);
            let snapshots = &this.snapshots;
            snapshots.take(&this.results, build, product, bounds, &stop)
        });
        Ok(Some(taken.await.map_err(io::Error::other)??))
    }
}

fn content_of(kept: &Kept) -> TemplateContent {
    TemplateContent {
        digest: kept.digest.clone(),
        bytes: kept.bytes,
        description: kept.description.clone(),
    }
}

async fn write_archive(
    archiver: &Archiver,
    build: BuildId,
    archived: &Arc<Archived>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let results = &archiver.results;
    for made in &archived.made {
        let (store, subjob, attempt) = (results.clone(), made.subjob, made.attempt);
        let is_there = tokio::task::spawn_blocking(move || store.has(build, subjob, attempt));
        // An earlier attempt may not have come to its end.
        if !is_there.await.map_err(io::Error::other)?? {
            store_made(results, build, made).await?;
        }
    }
    let report = match &archiver.builds {
        Some(builds) => {
            let space = archiver.space.clone();
            report_of(builds.clone(), results.clone(), build, space).await
        }
        None => Ok(None),
    };
    let report = match report {
        // Its results fit, and the archive does without it.
        Err(error) => {
            tracing::warn!(build.id = build.0, %error, "the archive has no report of tests");
            None
        }
        Ok(report) => report,
    };
    let (results, stop) = (results.clone(), stop.clone());
    let archived = Arc::clone(archived);
    let work = tokio::task::spawn_blocking(move || {
        let (subjobs, failed) = (archived.subjobs.clone(), &archived.failed_attempts);
        let subjobs = results.with_failed_attempts(build, subjobs, failed, &stop)?;
        results.make_archive_with(build, &subjobs, &archived.failures, report, &stop)
    });
    work.await.map_err(io::Error::other)?
}

/// Stores a result that no slave brought.
///
/// # Errors
/// The disk refuses.
pub(crate) async fn store_made(
    results: &Results,
    build: BuildId,
    made: &MadeResult,
) -> io::Result<()> {
    let (block, result) = block_of(made)?;
    let append = results.append(build, block, vec![(result, made.attempt)]);
    append.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::{Block, StoredConsole};
    use clusterrunner_common::ids::AtomId;
    use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, check_block};
    use clusterrunner_common::turns::Turns;
    use clusterrunner_core::effect::MadeAtom;
    use flate2::read::MultiGzDecoder;
    use futures_util::TryStreamExt as _;
    use std::io::{Cursor, Read as _};
    use std::path::Path;

    const BUILD: BuildId = BuildId(7);

    async fn add_subjob(results: &Results, subjob: u32, content: &[u8], artifacts: &Path) {
        let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
        block.begin(SubjobId(subjob), Attempt(1));
        let result = AtomResult {
            command: "true",
            exit_code: 0,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(content),
            artifacts: Some(artifacts),
        };
        block.add(AtomId(0), &result).unwrap();
        let (bytes, _) = block.finish().unwrap();
        let checked = check_block(&*bytes).unwrap().remove(0);
        let appended = results.append(BUILD, Block::Memory(bytes), vec![(checked, Attempt(1))]);
        appended.await.unwrap();
    }

    async fn tar_names(results: &Results) -> Vec<String> {
        let archive = results.archive(BUILD).unwrap();
        let length = archive.tar_length();
        let chunks: Vec<_> = archive.tar(0..length).try_collect().await.unwrap();
        let bytes = chunks.concat();
        let mut archive = tar::Archive::new(MultiGzDecoder::new(&*bytes));
        let entries = archive.entries().unwrap();
        let name = |entry: io::Result<tar::Entry<'_, _>>| {
            String::from_utf8(entry.unwrap().path_bytes().to_vec()).unwrap()
        };
        entries.map(name).collect()
    }

    fn console(results: &Results, subjob: u32, attempt: u32) -> Vec<u8> {
        let (subjob, attempt) = (SubjobId(subjob), Attempt(attempt));
        let mut text = Vec::new();
        match results.console(BUILD, subjob, attempt, AtomId(0)).unwrap() {
            StoredConsole::Memory(mut console) => console.read_to_end(&mut text),
            StoredConsole::File(mut console) => console.read_to_end(&mut text),
        }
        .unwrap();
        text
    }

    #[tokio::test]
    async fn both_archives_have_the_originals_layout() {
        let directory = tempfile::tempdir().unwrap();
        let left = tempfile::tempdir().unwrap();
        let long_name = "long".repeat(40);
        std::fs::write(left.path().join(&long_name), "abc").unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        let long = b"line\n".repeat(500_000);
        add_subjob(&results, 0, b"hello\n", left.path()).await;
        add_subjob(&results, 1, &long, left.path()).await;
        let subjobs = (0..3).map(|subjob| (SubjobId(subjob), Attempt(1)));
        let failures = vec!["artifact_1_0".to_owned()];
        let stop = CancellationToken::new();
        let space = DiskSpace::new(directory.path(), 0);
        let made = vec![MadeResult {
            subjob: SubjobId(2),
            attempt: Attempt(1),
            atoms: vec![MadeAtom {
                command: "false".to_owned(),
                exit_code: 125,
                console: "poison\n".to_owned(),
            }],
        }];
        let archived = Archived {
            failed_attempts: Vec::new(),
            subjobs: subjobs.collect(),
            failures,
            made,
            product: None,
        };
        let archiver = Archiver {
            results: results.clone(),
            snapshots: Snapshots::open(left.path().join("templates")).unwrap(),
            max_snapshot_bytes: 1,
            space,
            builds: None,
        };
        let (command, kept) = archiver.archive(BUILD, archived, stop).await.unwrap();
        assert!(kept.is_none());
        let archived = Command::ReportArchived {
            build: BUILD,
            template: None,
        };
        assert_eq!(command, archived);
        let files = [
            "clusterrunner_console_output",
            "clusterrunner_command",
            "clusterrunner_exit_code",
            "clusterrunner_time",
        ];
        let mut expected_in_tar = Vec::new();
        let mut expected_in_zip = Vec::new();
        for subjob in 0..3 {
            expected_in_tar.push(format!("./artifact_{subjob}_0/"));
            let left = (subjob < 2).then_some(long_name.as_str());
            for file in files.into_iter().chain(left) {
                expected_in_tar.push(format!("./artifact_{subjob}_0/{file}"));
                expected_in_zip.push(format!("artifact_{subjob}_0/{file}"));
            }
        }
        expected_in_tar.push("./failures.txt".to_owned());
        expected_in_zip.push("failures.txt".to_owned());
        assert_eq!(tar_names(&results).await, expected_in_tar);
        let zip = results.archive(BUILD).unwrap().zip(Turns::default());
        let zip: Vec<_> = zip.try_collect().await.unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(zip.concat())).unwrap();
        let names: Vec<String> = zip
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        assert_eq!(names, expected_in_zip);
        let mut failures = String::new();
        zip.by_name("failures.txt")
            .unwrap()
            .read_to_string(&mut failures)
            .unwrap();
        assert_eq!(failures, "artifact_1_0");

        results.clear_unused(BUILD).unwrap();
        assert_eq!(console(&results, 1, 1), long);
        assert_eq!(console(&results, 2, 1), b"poison\n");
        let left = std::fs::read_dir(directory.path().join("7")).unwrap();
        let mut left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["archive.json", "blocks", "index"]);
    }
}
