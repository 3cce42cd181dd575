//! The end of a farm, which checks that it ends well and leaves nothing behind.

use super::Farm;
use crate::daemon::STOP_LIMIT;
use crate::processes;
use crate::wait::is_true_within;
use std::fs;
use std::path::{Path, PathBuf};

impl Farm {
    /// What builds have left in the directories of the slaves.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for (slave, _) in (0..)
            .zip(&self.slaves)
            .filter(|(_, slave)| !slave.was_killed)
        {
            // A slave that was stopped keeps what the master has not taken for its next life.
            let held = (!self.slaves[slave].was_stopped).then_some("held");
            for part in ["work", "artifacts", "results"].into_iter().chain(held) {
                let entries = fs::read_dir(self.slave_directory(slave).join(part));
                let paths = entries.into_iter().flatten().flatten().map(|e| e.path());
                left.extend(paths.filter(|path| !is_ready_for_the_next(path)));
            }
        }
        left
    }

    fn show_logs(&self) {
        let mut outputs: Vec<_> = fs::read_dir(self.path("output"))
            .unwrap()
            .flatten()
            .collect();
        outputs.sort_by_key(fs::DirEntry::file_name);
        for output in outputs {
            let name = output.file_name().into_string().unwrap();
            eprintln!("---- {name}\n{}", self.output(&name));
        }
        eprintln!("----");
    }

    fn check_end(&mut self) {
        let slaves = self.slaves.iter_mut();
        let daemons = slaves.chain(self.master.as_mut());
        for daemon in daemons {
            // One that the test ended has been looked at there.
            if !daemon.has_ended() {
                let status = daemon.stop();
                assert!(status.success(), "{} ended with {status}", daemon.name);
            }
        }
        let mark = self.mark();
        if self.killed {
            processes::kill_with_text(&mark);
        }
        let none_left = is_true_within(STOP_LIMIT, || processes::with_text(&mark).is_empty());
        let left = processes::with_text(&mark);
        assert!(none_left, "these processes are left: {left:#?}");
        let slaves = (0..self.slaves.len()).map(|slave| self.slave_address(slave));
        for address in slaves.chain([self.master_address()]) {
            // Connecting would succeed only if somebody still listened.
            assert!(
                std::net::TcpStream::connect(&address).is_err(),
                "somebody listens at {address}"
            );
        }
    }
}

/// Whether it is the directory that an executor keeps for its next atom, with nothing in it.
fn is_ready_for_the_next(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    name.starts_with("executor_") && is_empty()
}

impl Drop for Farm {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !panicking {
                self.check_end();
            }
        }));
        if panicking || checked.is_err() {
            self.show_logs();
        }
        for daemon in self.slaves.iter_mut().chain(self.master.as_mut()) {
            daemon.kill();
        }
        // Now that nobody starts new ones.
        processes::kill_with_text(&self.mark());
        let removed = fs::remove_dir_all(self.directory.path());
        if !panicking && checked.is_ok() {
            removed.expect("nobody uses the directory any more");
        }
        if let Err(failure) = checked {
            std::panic::resume_unwind(failure);
        }
    }
}
