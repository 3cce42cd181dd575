//! The steps of builds: two files for each, `step-<number>.output` and `step-<number>.json`, beside the results. The
//! second is written last: a step without it is none.

use super::{Block, Incoming, Results, entries, incoming};
use clusterrunner_common::api::{StepEnd, StepKind};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::process::console::Capped;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::PathBuf;

/// What the names of their files begin with.
const STEP: &str = "step-";

/// The number of the atomizers of a build among its steps.
pub const ATOMIZERS: u64 = 0;

/// The number of the fetch: no slave has so high ones, and a reader in a browser can tell it from others.
pub const FETCH: u64 = (1 << 53) - 1;

/// How many bytes are kept of what atomizers print: as many as of an atom by default.
const MOST_OF_ATOMIZERS: u64 = 64 << 20;

/// The longest description of a step that is read: it is written here, and has a short text in it.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStep {
    /// Which kind of step it is.
    pub kind: StepKind,
    /// The slave that did it, and its address; none for the master.
    pub slave: Option<(SlaveId, String)>,
    /// How it ended.
    pub end: StepEnd,
}

impl Results {
    /// Stores a step with its output; one of the same number is replaced. It is no result, so nothing waits for the
    /// disk: a power cut may take it along. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_step(
        &self,
        build: BuildId,
        number: u64,
        step: &StoredStep,
        output: Block,
    ) -> io::Result<()> {
        let output = match output {
            Block::File(file) => file,
            Block::Memory(text) => self.written(build, &text)?,
        };
        let description = self.written(build, &serde_json::to_vec(step)?)?;
        output.keep_unsynced(&self.step_file(build, number, "output"))?;
        description.keep_unsynced(&self.step_file(build, number, "json"))
    }

    /// The steps of a build that have ended, by their numbers. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn steps(&self, build: BuildId) -> io::Result<Vec<(u64, StoredStep)>> {
        let mut steps = Vec::new();
        for file in entries(&self.stores.of_build(build))? {
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(STEP));
            let number = number.and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(number) = number else { continue };
            let mut text = Vec::new();
            let description = File::open(file.path())?;
            description.take(MAX_DESCRIPTION).read_to_end(&mut text)?;
            match serde_json::from_slice(&text) {
                Ok(step) => steps.push((number, step)),
                Err(error) => {
                    tracing::error!(build.id = build.0, step = number, %error, "the description of a step is damaged");
                }
            }
        }
        steps.sort_by_key(|(number, _)| *number);
        Ok(steps)
    }

    /// What a step printed that has ended. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or there is none (`NotFound`).
    pub fn step_output(&self, build: BuildId, number: u64) -> io::Result<BufReader<File>> {
        File::open(self.step_file(build, number, "output")).map(BufReader::new)
    }

    /// Where is said how the fetch of a build went: its output, what becomes its description, and that.
    #[must_use]
    pub fn fetch_files(&self, build: BuildId) -> [PathBuf; 3] {
        let directory = self.stores.of_build(build);
        [
            self.step_file(build, FETCH, "output"),
            incoming::under_way(&directory, "fetch.json"),
            self.step_file(build, FETCH, "json"),
        ]
    }

    /// Where is copied what the atomizers of a build print while they run, and where is said how they ended. The next
    /// start of the master removes what is left there.
    #[must_use]
    pub fn atomizers_files(&self, build: BuildId) -> [PathBuf; 2] {
        let directory = self.stores.of_build(build);
        ["atomizers", "atomizers.json"].map(|name| incoming::under_way(&directory, name))
    }

    /// Keeps what the atomizers of a build have printed that are over; nothing where none ran, or it is not known how
    /// they ended. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_atomizers(&self, build: BuildId) -> io::Result<()> {
        let [output, description] = self.atomizers_files(build);
        if !description.exists() {
            return gone(std::fs::remove_file(output));
        }
        let kept = self.step_file(build, ATOMIZERS, "output");
        let text = File::open(&output)?;
        if text.metadata()?.len() <= MOST_OF_ATOMIZERS {
            std::fs::rename(output, kept)?;
        } else {
            let cut = self.incoming(build)?;
            io::copy(
                &mut Capped::new(text, Some(MOST_OF_ATOMIZERS))?,
                &mut cut.file(),
            )?;
            cut.keep_unsynced(&kept)?;
            std::fs::remove_file(output)?;
        }
        std::fs::rename(description, self.step_file(build, ATOMIZERS, "json"))
    }

    /// What atomizers have printed that run. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn atomizers_under_way(&self, build: BuildId) -> io::Result<Option<File>> {
        let [output, _] = self.atomizers_files(build);
        match File::open(output) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn step_file(&self, build: BuildId, number: u64, kind: &str) -> PathBuf {
        let directory = self.stores.of_build(build);
        directory.join(format!("{STEP}{number}.{kind}"))
    }

    fn written(&self, build: BuildId, content: &[u8]) -> io::Result<Incoming> {
        let file = self.incoming(build)?;
        file.file().write_all(content)?;
        Ok(file)
    }
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;

    const BUILD: BuildId = BuildId(7);

    fn step(exit_code: i32) -> StoredStep {
        StoredStep {
            kind: StepKind::Setup,
            slave: Some((SlaveId(3), "h:1".to_owned())),
            end: StepEnd {
                exit_code: Some(exit_code),
                trouble: None,
                began_at_ms: Timestamp(1),
                ended_at_ms: Timestamp(2),
                output_bytes: 5,
            },
        }
    }

    fn output(results: &Results, number: u64) -> String {
        io::read_to_string(results.step_output(BUILD, number).unwrap()).unwrap()
    }

    #[test]
    fn what_atomizers_print_becomes_a_step_when_it_is_known_how_they_ended() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        results.keep_atomizers(BUILD).unwrap();
        std::fs::create_dir(directory.path().join("7")).unwrap();
        let [text, description] = results.atomizers_files(BUILD);
        let print = || std::fs::write(&text, "hi").unwrap();
        // They were killed.
        print();
        assert!(results.atomizers_under_way(BUILD).unwrap().is_some());
        results.keep_atomizers(BUILD).unwrap();
        assert!(results.atomizers_under_way(BUILD).unwrap().is_none());
        assert_eq!(results.steps(BUILD).unwrap(), []);
        // So was the master.
        print();
        results.remove_incoming().unwrap();
        assert!(!text.exists());
        std::fs::create_dir(directory.path().join("7")).unwrap();
        print();
        std::fs::write(&description, serde_json::to_vec(&step(0)).unwrap()).unwrap();
        results.keep_atomizers(BUILD).unwrap();
        assert_eq!(results.steps(BUILD).unwrap(), [(ATOMIZERS, step(0))]);
        assert_eq!(output(&results, ATOMIZERS), "hi");
        assert!(results.atomizers_under_way(BUILD).unwrap().is_none());
    }

    #[test]
    fn steps_lie_beside_the_results_until_these_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        assert_eq!(results.steps(BUILD).unwrap(), []);
        let missing = results.step_output(BUILD, 5).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        for (number, exit_code, text) in [(6, 0, "six"), (5, 0, "first"), (5, 1, "again")] {
            let text = Block::Memory(text.into());
            results
                .keep_step(BUILD, number, &step(exit_code), text)
                .unwrap();
        }
        let file = results.incoming(BUILD).unwrap();
        file.file().write_all(b"large").unwrap();
        results
            .keep_step(BUILD, 7, &step(2), Block::File(file))
            .unwrap();
        let all = vec![(5, step(1)), (6, step(0)), (7, step(2))];
        // Neither a restart nor what clears results away takes them along.
        results.remove_incoming().unwrap();
        results.clear_unused(BUILD).unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        assert_eq!(results.steps(BUILD).unwrap(), all);
        assert_eq!(
            [5, 6, 7].map(|number| output(&results, number)),
            ["again", "six", "large"]
        );
        // One that is damaged hides no other.
        std::fs::write(directory.path().join("7/step-6.json"), "{").unwrap();
        let left: Vec<u64> = results
            .steps(BUILD)
            .unwrap()
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(left, [5, 7]);
        results.remove(BUILD).unwrap();
        assert_eq!(results.steps(BUILD).unwrap(), []);
    }
}
