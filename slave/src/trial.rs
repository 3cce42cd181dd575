//! Running atoms without a master, to measure what each costs.

use crate::data_directory::DataDirectory;
use crate::isolation::Isolator;
use crate::run::event_log::SubjobEvents;
use crate::run::executors::Executors;
use crate::run::subjob_executor::{Limits, Means};
use crate::work::{HandOut, RunOrder, RunOutcome};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::work::Isolation;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Reads the text of a Procfile: how many process types it has.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn process_types(text: &str) -> Result<usize, String> {
    crate::build_template::number_of_types(text).map_err(|error| error.to_string())
}

/// How much of a console is kept, by default.
const MAX_CONSOLE_SIZE: u64 = 64 << 20;

/// Executors whose results are dropped.
#[derive(Debug)]
pub struct Trial {
    executors: Executors,
    ends: Receiver<Result<usize, String>>,
    directory: PathBuf,
    events: EventLog,
    number: u32,
    given: u32,
}

impl Trial {
    /// Starts executors with all that they need below `directory`.
    ///
    /// # Errors
    /// When that can not be made.
    pub fn start(directory: &Path, number: u32, events: EventLog) -> io::Result<Self> {
        let session = SessionId("trial".to_owned());
        let data = DataDirectory::open(directory, 1, session).map_err(io::Error::other)?;
        data.empty().map_err(io::Error::other)?;
        let data = Arc::new(data);
        let means = Means {
            space: DiskSpace::new(data.path(), 0),
            isolator: Arc::new(Isolator::idle(Arc::clone(&data))),
            data,
            limits: Limits {
                kill_grace: Duration::ZERO,
                max_console_size: Some(MAX_CONSOLE_SIZE),
            },
            consoles: Arc::default(),
            containers: Arc::default(),
        };
        let (sender, ends) = channel();
        let sender = Mutex::new(sender);
        let executors = Executors::start(number, &means, move |_, outcome, _| {
            let told = match outcome {
                RunOutcome::Completed(atoms) => Ok(atoms.len()),
                RunOutcome::Canceled | RunOutcome::Batch(_) => Err("canceled".to_owned()),
                RunOutcome::Trouble(reason) => Err(reason),
                RunOutcome::NoProject { .. } => Err("the directory is gone".to_owned()),
            };
            if let Ok(sender) = sender.lock() {
                // The receiver may be gone.
                sender.send(told).ok();
            }
        })?;
        Ok(Self {
            executors,
            ends,
            directory: directory.to_owned(),
            events,
            number,
            given: 0,
        })
    }

    /// Runs so many subjobs of one atom each, and waits for their ends.
    ///
    /// # Errors
    /// When one could not be run.
    pub fn run(&mut self, subjobs: u32, command: &str) -> io::Result<()> {
        for _ in 0..subjobs {
            let order = RunOrder {
                hunt: None,
                hand_out: HandOut {
                    build: BuildId(1),
                    subjob: SubjobId(self.given),
                    attempt: Attempt(1),
                },
                executor: ExecutorIndex(self.given % self.number),
                build_executor_index: self.given % self.number,
                project_directory: self.directory.clone(),
                variables: Arc::default(),
                atomic_commands: vec![command.to_owned()],
                batch: None,
                head: None,
                timeout: Some(Duration::from_secs(60)),
                image: None,
                junit: Arc::default(),
                worker: None,
                isolation: Isolation::default(),
            };
            self.given += 1;
            let events = SubjobEvents::new(self.events.clone(), &order, "trial".to_owned());
            self.executors.run(order, CancellationToken::new(), events);
        }
        for _ in 0..subjobs {
            let ended = self.ends.recv().map_err(io::Error::other)?;
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
