//! What the atomizers of a build print, as a step of the build. What they print is in the memory of their parent: while
//! they run it copies what is new to a file, and at their end it says in another how they ended.
//!
//! The build does not depend on it: what can not be written is missing.

use super::output::Output;
use crate::store::results::StoredStep;
use clusterrunner_common::api::{StepEnd, StepKind};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::process::command::Ended;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// How often new output is to be copied. An atomizer that is over sooner costs one copy.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Where a step is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepFiles {
    /// What is printed.
    pub(super) output: PathBuf,
    /// How it ended, as [`StoredStep`].
    pub(super) description: PathBuf,
}

/// A step that is under way.
#[derive(Debug)]
pub(super) struct Step {
    files: StepFiles,
    /// None before the first output, and after the disk has refused it.
    file: Option<File>,
    is_refused: bool,
    began_at: Timestamp,
    length: u64,
    /// How much of the outputs of the running atomizer was copied.
    copied: [usize; 2],
    ended: Option<(Ended, Option<Duration>)>,
}

impl Step {
    pub(super) fn begin(files: StepFiles) -> Self {
        Self {
            files,
            file: None,
            is_refused: false,
            began_at: Timestamp::now(),
            length: 0,
            copied: [0; 2],
            ended: None,
        }
    }

    /// The next atomizer begins; its name is given where there are several.
    pub(super) fn next(&mut self, name: Option<&str>) {
        self.copied = [0; 2];
        if let Some(name) = name {
            let line = format!("clusterrunner: the atomizer of {name}\n");
            self.write(|file| file.write_all(line.as_bytes()).map(|()| line.len() as u64));
        }
    }

    /// Copies what is new.
    pub(super) fn copy(&mut self, outputs: [&Output; 2]) {
        for (index, output) in outputs.into_iter().enumerate() {
            let new = &output.bytes()[self.copied[index]..];
            if !new.is_empty() {
                self.copied[index] += new.len();
                self.write(|file| file.write_all(new).map(|()| new.len() as u64));
            }
        }
    }

    /// An atomizer has ended so.
    pub(super) fn note(&mut self, ended: Ended, limit: Option<Duration>) {
        self.ended = Some((ended, limit));
    }

    /// All of them are over.
    pub(super) fn end(mut self) {
        self.write(|_| Ok(0));
        let Some((ended, limit)) = self.ended.filter(|_| !self.is_refused) else {
            return;
        };
        let step = StoredStep {
            kind: StepKind::Atomizer,
            slave: None,
            end: StepEnd {
                exit_code: ended.exit_code(),
                trouble: match (ended, limit) {
                    (Ended::Exited(_) | Ended::Signaled(_), _) => None,
                    (Ended::TimedOut, Some(limit)) => {
                        Some(format!("timed out after {} s", limit.as_secs()))
                    }
                    (Ended::TimedOut, None) => Some("timed out".to_owned()),
                    (Ended::Canceled, _) => Some("canceled".to_owned()),
                },
                began_at_ms: self.began_at,
                ended_at_ms: Timestamp::now(),
                output_bytes: self.length,
            },
        };
        if let Ok(text) = serde_json::to_vec(&step) {
            // Without it there is no step.
            std::fs::write(&self.files.description, text).ok();
        }
    }

    /// Lets `write` write to the file and say how much that was.
    fn write(&mut self, write: impl FnOnce(&mut File) -> io::Result<u64>) -> u64 {
        if self.is_refused {
            return 0;
        }
        let written = self.open().and_then(write);
        self.is_refused = written.is_err();
        let written = written.unwrap_or(0);
        self.length += written;
        written
    }

    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            if let Some(directory) = self.files.output.parent() {
                std::fs::create_dir_all(directory)?;
            }
            self.file = Some(File::create(&self.files.output)?);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_several_atomizers_print_is_one_text() {
        let directory = tempfile::tempdir().unwrap();
        let files = |name: &str| StepFiles {
            output: directory.path().join("7").join(name),
            description: directory.path().join("7").join(format!("{name}.json")),
        };
        let mut step = Step::begin(files("step"));
        for (name, text) in [("TEST", "a\n"), ("OTHER", "b\n")] {
            let [(mut output, to), (mut errors, to_errors)] =
                [(); 2].map(|()| Output::new(100).unwrap());
            let (mut to, mut to_errors) = (File::from(to), File::from(to_errors));
            step.next(Some(name));
            for (is_output, text) in [(true, text), (false, "oops\n"), (true, "more\n")] {
                let (file, read) = match is_output {
                    true => (&mut to, &mut output),
                    false => (&mut to_errors, &mut errors),
                };
                file.write_all(text.as_bytes()).unwrap();
                read.more().await.unwrap();
                step.copy([&output, &errors]);
            }
            step.note(Ended::Exited(0), None);
        }
        step.end();
        let files = files("step");
        let text = std::fs::read_to_string(&files.output).unwrap();
        let expected = "clusterrunner: the atomizer of TEST\na\noops\nmore\n\
                        clusterrunner: the atomizer of OTHER\nb\noops\nmore\n";
        assert_eq!(text, expected);
        let description = std::fs::read(&files.description).unwrap();
        let step: StoredStep = serde_json::from_slice(&description).unwrap();
        assert_eq!(
            (step.kind, step.end.exit_code),
            (StepKind::Atomizer, Some(0))
        );
        assert_eq!(step.end.output_bytes, text.len() as u64);
    }

    #[test]
    fn a_disk_that_refuses_harms_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().to_owned();
        let description = directory.path().join("step.json");
        let mut step = Step::begin(StepFiles {
            output,
            description,
        });
        step.next(Some("TEST"));
        step.note(Ended::Exited(0), None);
        step.end();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
