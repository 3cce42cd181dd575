//! What a process prints comes through a pipe, and goes into the file of its console.
//!
//! With the file itself as its output there would be nothing to copy. But a command that opens `/dev/stderr`, as scripts do to
//! print there, would empty the file.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much is copied at a time.
const CHUNK: usize = 16 << 10;

/// A process that another executor starts has all our open files, until it runs its program: so long the pipe seems to be held.
const MOMENT: Duration = Duration::from_micros(500);

/// How long a process that its command has left behind may go on to print, if its input is a pipe. A process substitution is
/// such a one, as in `exec > >(tee log)`: it ends by itself when it has read what the command wrote, and no shell waits for it.
const LATE: Duration = Duration::from_secs(5);

/// How often is looked whether such a process is left.
const LOOK: Duration = Duration::from_millis(5);

/// The way from a process to its console.
#[derive(Debug)]
pub(crate) struct Pump {
    from: PipeReader,
    to: File,
    /// Nobody can print any more.
    has_ended: bool,
    /// The console could not take all of it, as on a disk without space.
    is_refused: bool,
}

impl Pump {
    /// A way to the end of this file, and where the process prints.
    pub(crate) fn to(file: File) -> io::Result<(Self, File)> {
        let (from, to) = io::pipe()?;
        let pump = Self {
            from,
            to: file,
            has_ended: false,
            is_refused: false,
        };
        Ok((pump, OwnedFd::from(to).into()))
    }

    /// What can be read once something was printed; `None` after the end.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.has_ended).then(|| self.from.as_fd())
    }

    /// Copies some of what is there. Blocks where nothing is there.
    pub(crate) fn copy(&mut self) {
        let mut buffer = [0; CHUNK];
        match self.from.read(&mut buffer) {
            Ok(0) => self.has_ended = true,
            // What the console refuses is read all the same: its command would wait for ever.
            Ok(read) => self.is_refused |= self.to.write_all(&buffer[..read]).is_err(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "what an atom prints can not be read");
                self.has_ended = true;
            }
        }
    }

    /// Copies what is still to come of a command that has ended, whose process group is given. What goes on to run prints to
    /// nobody from then on. Whether the console took all of it.
    pub(crate) fn finish(&mut self, group: Option<u32>) -> bool {
        let ended = Instant::now();
        let mut pause = MOMENT;
        loop {
            let is_late = ended.elapsed() > LATE;
            // First: a process may print and end between this look and the next line.
            let is_last = is_late || !group.is_some_and(is_about_to_print);
            while !self.has_ended && self.has_more(pause) {
                pause = Duration::ZERO;
                self.copy();
            }
            if self.has_ended || is_last {
                break;
            }
            pause = LOOK;
        }
        if !self.has_ended {
            self.discard_the_rest();
        }
        !self.is_refused
    }

    /// Copies what is printed during some work, which may wait for those who print.
    pub(crate) fn copy_during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let copy = || {
                while !self.has_ended && !is_done.load(Ordering::Relaxed) {
                    if self.has_more(LOOK) {
                        self.copy();
                    }
                }
            };
            let thread = std::thread::Builder::new().name("console".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, copy) {
                tracing::warn!(%error, "what an atom prints at its end may be missing");
            }
            let done = work();
            is_done.store(true, Ordering::Relaxed);
            done
        })
    }

    fn has_more(&self, at_most: Duration) -> bool {
        let mut source = [PollFd::new(&self.from, PollFlags::IN)];
        let at_most = Timespec::try_from(at_most).ok();
        loop {
            match poll(&mut source, at_most.as_ref()) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads on for as long as anybody can print: who prints into a pipe that nobody reads is killed for that, and later atoms may
    /// need what runs.
    fn discard_the_rest(&mut self) {
        self.has_ended = true;
        let from = self.from.try_clone();
        let discard = move || from.and_then(|mut from| io::copy(&mut from, &mut io::sink()));
        let thread = std::thread::Builder::new().name("left-output".to_owned());
        if let Err(error) = thread.spawn(discard) {
            tracing::warn!(%error, "what an atom has left running is cut off from its output");
        }
    }
}

/// Whether a process of this group reads from a pipe, or works: what was forked just now does not have its own input yet. A
/// server that waits for somebody does neither.
fn is_about_to_print(group: u32) -> bool {
    let mut processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.any(|process| of_process(&process.path(), group).unwrap_or(false))
}

/// Whether that is so of this process; `None` if it is none of the group.
fn of_process(process: &Path, group: u32) -> Option<bool> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before it may have any characters.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let (state, member_of) = (fields.next()?, fields.nth(1)?);
    if member_of.parse() != Ok(group) || matches!(state, "Z" | "X") {
        return None;
    }
    let input = fs::read_link(process.join("fd/0"));
    let is_reader = input.is_ok_and(|input| input.to_string_lossy().starts_with("pipe:"));
    Some(is_reader || matches!(state, "R" | "D"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    /// Runs a command line to its end; what the console has then.
    fn printed(line: &str) -> String {
        let console = tempfile::NamedTempFile::new().unwrap();
        let (mut pump, output) = Pump::to(console.reopen().unwrap()).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", line]).process_group(0);
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap());
        let mut child = command.stdout(output).spawn().unwrap();
        drop(command);
        let group = child.id();
        while child.try_wait().unwrap().is_none() {
            if pump.source().is_some() && pump.has_more(Duration::from_millis(5)) {
                pump.copy();
            }
        }
        assert!(pump.finish(Some(group)));
        fs::read_to_string(console.path()).unwrap()
    }

    #[test]
    fn nothing_that_is_printed_is_lost() {
        for (line, expected) in [
            ("true", ""),
            ("echo one; echo two >&2", "one\ntwo\n"),
            (
                "echo one; echo two > /dev/stdout; echo three",
                "one\ntwo\nthree\n",
            ),
            (
                "echo one; echo two > /dev/stderr; echo three >&2",
                "one\ntwo\nthree\n",
            ),
            (
                "echo one | tee /dev/stderr | grep -v one; echo two",
                "one\ntwo\n",
            ),
            ("seq 3 > >(grep -v 2)", "1\n3\n"),
            ("exec > >(sleep 0.2; cat); echo one", "one\n"),
        ] {
            assert_eq!(printed(line), expected, "{line}");
        }
        let long = printed("head -c 1000000 /dev/zero | tr '\\0' x");
        assert_eq!(long.len(), 1_000_000);
    }

    #[test]
    fn what_goes_on_to_run_is_neither_waited_for_nor_killed() {
        let console = tempfile::NamedTempFile::new().unwrap();
        let (mut pump, output) = Pump::to(console.reopen().unwrap()).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "read -r; for i in 1 2 3; do echo $i || exit 9; done"]);
        command.stdin(Stdio::piped()).stdout(output);
        let mut child = command.spawn().unwrap();
        drop(command);
        // Of a group that is not the one that is asked about.
        assert!(pump.finish(Some(u32::MAX >> 1)));
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
