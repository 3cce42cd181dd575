//! Where the consoles of atoms lie: one file for each executor, used again when it is certain that no process writes to it any
//! more. It lies outside of `$ARTIFACT_DIR`, so that directory is the atom's alone.

use crate::data_directory::{DataDirectory, is_gone, make_private, remove_all};
use crate::run::file_error::{AtomFileError, files};
use crate::run::lease;
use crate::work::AtomConsole;
use clusterrunner_common::ids::ExecutorIndex;
use clusterrunner_common::process::console::{Capped, ConsoleCap};
use clusterrunner_common::work::LimitHit;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Consoles up to this size travel in memory.
const MOST_IN_MEMORY: u64 = 64 << 10;

/// A process that another executor starts has all our open files, until it runs its program: so long
/// it seems to write to this console. Making new files costs more than so many such moments.
const MOMENT: Duration = Duration::from_micros(100);
const MOMENTS: u32 = 5;

/// The files of one executor.
#[derive(Debug)]
pub(crate) struct ConsoleFiles {
    executor: ExecutorIndex,
    max_size: Option<u64>,
    /// How many were made; each has a name of its own.
    made: u64,
    /// The one that the running atom has, or the next will have.
    current: Option<ConsoleFile>,
}

#[derive(Debug)]
struct ConsoleFile {
    path: PathBuf,
    /// Open for reading only: the slave itself must not count as a writer.
    file: Arc<File>,
}

/// An atom that ended, as far as its console is concerned.
#[derive(Debug)]
pub(crate) struct AtomEnding<'a> {
    /// Its limit, if it ended by that.
    pub(crate) timed_out: Option<Duration>,
    /// The limit that it failed at.
    pub(crate) hit: Option<LimitHit>,
    /// Where a large console is to be kept.
    pub(crate) kept_at: &'a Path,
}

impl ConsoleFiles {
    /// `max_size` bytes are kept of each console; `None` for all.
    pub(crate) fn new(executor: ExecutorIndex, max_size: Option<u64>) -> Self {
        Self {
            executor,
            max_size,
            made: 0,
            current: None,
        }
    }

    /// An empty console: to be read here, and to be written to by the next atom alone.
    pub(crate) fn open(
        &mut self,
        data: &DataDirectory,
    ) -> Result<(Arc<File>, File), AtomFileError> {
        if let Some(ready) = &self.current {
            // An atom may have locked it.
            match ready.open_for_writing() {
                Ok(file) => return Ok((Arc::clone(&ready.file), file)),
                Err(_) => self.discard(),
            }
        }
        let (ready, file) = self.make(data)?;
        let ready = self.current.insert(ready);
        Ok((Arc::clone(&ready.file), file))
    }

    fn make(&mut self, data: &DataDirectory) -> Result<(ConsoleFile, File), AtomFileError> {
        self.made += 1;
        let path = data.console(self.executor, self.made);
        let make = || -> io::Result<(ConsoleFile, File)> {
            let mut file = File::options();
            let file = file.append(true).create_new(true).mode(0o600).open(&path)?;
            let reading = plainly(File::options().read(true)).open(&path)?;
            if let Err(error) = lease::be_told_harmlessly(&reading) {
                tracing::debug!(%error, "consoles can not be watched for their writers");
            }
            let ready = ConsoleFile {
                file: Arc::new(reading),
                path: path.clone(),
            };
            Ok((ready, file))
        };
        let made = match make() {
            // An earlier atom has removed what the slave works in.
            Err(error) if is_gone(&error) => data.mend().and_then(|_| make()),
            made => made,
        };
        made.map_err(files("make", &path))
    }

    /// Sees to it that the console of a running atom does not take too much of the disk.
    pub(crate) fn cap(&self, cap: &mut ConsoleCap) {
        if let Some(console) = &self.current {
            cap.look(&console.file, || console.open_for_writing());
        }
    }

    /// What an atom printed that has just ended, and how many bytes that was before it was cut. A large console is a
    /// file of its own then.
    pub(crate) fn take(
        &mut self,
        ending: &AtomEnding<'_>,
    ) -> Result<(AtomConsole, u64), AtomFileError> {
        match &self.current {
            Some(console) => console
                .taken(ending, self.max_size)
                .map_err(files("keep", &console.path)),
            None => Ok((AtomConsole::Memory(Vec::new()), 0)),
        }
    }

    /// Keeps the file for the next atom if no process is left that could write to it; says whether. A process
    /// that is left for a moment only is waited for if `nobody_stays`.
    pub(crate) fn recycle(&mut self, nobody_stays: bool) -> bool {
        let Some(console) = self.current.take() else {
            return false;
        };
        let mut nobody_writes = lease::nobody_writes(&console.file);
        for _ in 0..MOMENTS {
            if nobody_writes || !nobody_stays {
                break;
            }
            std::thread::sleep(MOMENT);
            nobody_writes = lease::nobody_writes(&console.file);
        }
        if nobody_writes && console.is_ours_alone().unwrap_or(false) && console.empty().is_ok() {
            self.current = Some(console);
        } else {
            console.remove();
        }
        nobody_writes
    }

    /// Leaves the console to the processes that write to it. The next atom gets another.
    pub(crate) fn discard(&mut self) {
        if let Some(console) = self.current.take() {
            console.remove();
        }
    }
}

impl Drop for ConsoleFiles {
    fn drop(&mut self) {
        self.discard();
    }
}

impl ConsoleFile {
    /// Opens it for writing, wherever it is by now and whatever has its name.
    ///
    /// Appending: a command may empty the file behind our back and must not leave a hole.
    fn open_for_writing(&self) -> io::Result<File> {
        let itself = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        File::options().append(true).open(itself)
    }

    /// Whether it is still where it was made, and nowhere else: an atom may have moved or linked it to
    /// where it counts as the atom's own.
    fn is_ours_alone(&self) -> io::Result<bool> {
        let (own, found) = (self.file.metadata()?, self.path.symlink_metadata()?);
        Ok((own.dev(), own.ino(), own.nlink()) == (found.dev(), found.ino(), 1))
    }

    /// The console as it is kept, and its length before that. A large one is a file at `kept_at` then.
    fn taken(
        &self,
        ending: &AtomEnding<'_>,
        max_size: Option<u64>,
    ) -> io::Result<(AtomConsole, u64)> {
        let length = self.file.metadata()?.len();
        let is_cut = max_size.is_some_and(|max| length > max);
        let notice = notice(ending.timed_out, ending.hit);
        let kept_at = ending.kept_at;
        if max_size.map_or(length, |max| max.min(length)) <= MOST_IN_MEMORY {
            let mut text = Vec::new();
            if is_cut {
                Capped::new(self.file.try_clone()?, max_size)?.read_to_end(&mut text)?;
            } else if length > 0 {
                text = read_up_to(&self.file, length)?;
            }
            if let Some(notice) = notice {
                let is_line = text.last().is_none_or(|last| *last == b'\n');
                text.extend_from_slice(if is_line { b"" } else { b"\n" });
                text.extend_from_slice(notice.as_bytes());
            }
            return Ok((AtomConsole::Memory(text), length));
        }
        // Whatever an atom may have put there.
        remove_all(kept_at)?;
        if let Some(directory) = kept_at.parent() {
            make_private(directory)?;
        }
        let is_here = !is_cut && self.is_ours_alone().unwrap_or(false);
        if !is_here || std::fs::rename(&self.path, kept_at).is_err() {
            let mut shown = Capped::new(self.file.try_clone()?, max_size)?;
            io::copy(&mut shown, &mut File::create_new(kept_at)?)?;
        }
        // An atom may have locked its console; packing must be able to read it.
        std::fs::set_permissions(kept_at, Permissions::from_mode(0o600))?;
        if let Some(notice) = notice {
            add_line(kept_at, &notice)?;
        }
        Ok((AtomConsole::File(kept_at.to_owned()), length))
    }

    /// Makes it ready for the next atom. Closing the file while it is empty spares ext4 the writing
    /// of what the next one prints: it takes a file that is emptied and filled for a replaced one.
    fn empty(&self) -> io::Result<()> {
        match self.file.metadata()?.len() {
            0 => Ok(()),
            _ => self.open_for_writing()?.set_len(0),
        }
    }

    fn remove(self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a console could not be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// What is said below all that a command has printed. One that waits for what it could not start hits both limits.
fn notice(timed_out: Option<Duration>, hit: Option<LimitHit>) -> Option<String> {
    let timed_out =
        timed_out.map(|limit| format!("clusterrunner: timed out after {} s\n", limit.as_secs()));
    let hit = hit.map(|hit| format!("clusterrunner: {hit}\n"));
    let lines: String = timed_out.into_iter().chain(hit).collect();
    (!lines.is_empty()).then_some(lines)
}

/// Opens what is a file: anything may have been put in its place.
fn plainly(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed())
}

/// The first `length` bytes of a file, or what there is of them.
fn read_up_to(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut read = 0;
    while read < text.len() {
        match file.read_at(&mut text[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(read);
    Ok(text)
}

/// Adds a line, with its end, to the console of an atom that is over.
pub(crate) fn add_to(console: &mut AtomConsole, line: &str) {
    match console {
        AtomConsole::Memory(text) => {
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            text.extend_from_slice(line.as_bytes());
        }
        AtomConsole::File(path) => {
            if let Err(error) = add_line(path, line) {
                tracing::debug!(path = %path.display(), %error, "could not add to a console");
            }
        }
    }
}

/// Adds a line to the end of a console, whose last line may have no end.
fn add_line(console: &Path, line: &str) -> io::Result<()> {
    let mut file = plainly(File::options().read(true).append(true)).open(console)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let gap = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{gap}{line}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_told() {
        let (limit, hit) = (Duration::from_secs(7), LimitHit::Processes { limit: 40 });
        let timed_out = "clusterrunner: timed out after 7 s\n";
        let too_many = "clusterrunner: too many processes: limit 40\n";
        assert_eq!(notice(None, None), None);
        assert_eq!(notice(Some(limit), None).as_deref(), Some(timed_out));
        assert_eq!(notice(None, Some(hit)).as_deref(), Some(too_many));
        let both = notice(Some(limit), Some(hit));
        assert_eq!(both, Some(format!("{timed_out}{too_many}")));
    }
}
