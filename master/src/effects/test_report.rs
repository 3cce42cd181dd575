//! One JUnit report of all tests of a build, for its archive.

use crate::read::builds::Builds;
use crate::read::tested::{TestsError, TestsOfAtom, Walk};
use crate::store::results::{Incoming, Results};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit;
use clusterrunner_common::results::block::whole_report;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::ops::ControlFlow;
use tokio::task::spawn_blocking;

/// A report on its way to a file.
struct Writing {
    out: BufWriter<File>,
    space: DiskSpace,
    /// The first thing that went wrong.
    failed: io::Result<()>,
}

/// The report of a build as a part of an archive; none where no atom left a report. It leaves the reserve of `space`
/// untouched.
///
/// # Errors
/// The build can not be read, the disk refuses, or there is no space.
pub(super) async fn report_of(
    builds: Builds,
    results: Results,
    build: BuildId,
    space: DiskSpace,
) -> io::Result<Option<Incoming>> {
    let mut walk = Walk::begin(builds, results.clone(), build).await;
    let walk = match &mut walk {
        Ok(walk) if !walk.has_reports() => return Ok(None),
        Ok(walk) => walk,
        Err(_) => return walk.map(|_| None).map_err(disk),
    };
    let incoming = results.clone();
    let begun = spawn_blocking(move || {
        let text = incoming.incoming(build)?;
        let mut out = BufWriter::new(text.file().try_clone()?);
        out.write_all(junit::beginning(&format!("build {build}")).as_bytes())?;
        Ok::<_, io::Error>((text, out))
    });
    let (text, out) = begun.await.map_err(io::Error::other)??;
    let mut writing = Writing {
        out,
        space: space.clone(),
        failed: Ok(()),
    };
    while !walk.is_over() && writing.failed.is_ok() {
        writing = walk.go_on(None, writing, add).await.map_err(disk)?;
    }
    writing.failed?;
    let mut out = writing.out;
    let packed = spawn_blocking(move || {
        out.write_all(junit::end().as_bytes())?;
        let mut written = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let length = written.stream_position()?;
        written.rewind()?;
        space.check(length).map_err(io::Error::other)?;
        let report = results.incoming(build)?;
        let mut packed = BufWriter::new(report.file());
        let at = Timestamp::now().0 / 1000;
        whole_report(BufReader::new(written), length, at, &mut packed)?;
        packed.flush()?;
        drop(packed);
        drop(text);
        Ok(Some(report))
    });
    packed.await.map_err(io::Error::other)?
}

fn add(writing: &mut Writing, tests: TestsOfAtom) -> ControlFlow<()> {
    let suite = tests.suite();
    let room = writing.space.check(suite.len() as u64);
    let room = room.map_err(io::Error::other);
    writing.failed = room.and_then(|()| writing.out.write_all(suite.as_bytes()));
    match writing.failed {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

fn disk(error: TestsError) -> io::Error {
    match error {
        TestsError::Disk(error) => error,
        TestsError::Build(error) => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tested::EndedAtom;
    use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
    use clusterrunner_common::junit::TestOutcome;

    #[test]
    fn a_report_leaves_the_reserve_of_the_disk() {
        let file = tempfile::tempfile().unwrap();
        for (reserve, is_written) in [(0, true), (u64::MAX, false)] {
            let mut writing = Writing {
                out: BufWriter::new(file.try_clone().unwrap()),
                space: DiskSpace::new(&std::env::temp_dir(), reserve),
                failed: Ok(()),
            };
            let atom = EndedAtom {
                subjob: SubjobId(0),
                atom: AtomId(0),
                attempt: Attempt(1),
                value: "a".to_owned(),
                command: "export A=a;".to_owned(),
                outcome: TestOutcome::Passed,
                message: None,
                time: 1.0,
                failed_attempts: Vec::new(),
                is_flaky: false,
            };
            let tests = TestsOfAtom {
                atom,
                tests: Vec::new(),
                failed_before: Vec::new(),
            };
            assert_eq!(add(&mut writing, tests).is_continue(), is_written);
            assert_eq!(writing.failed.is_ok(), is_written);
        }
    }
}
