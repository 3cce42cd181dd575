//! What a process prints comes through a pipe, and goes into the file of its console.
//!
//! With the file itself as its output there would be nothing to copy. But a command that opens `/dev/stderr`, as scripts do to
//! print there, would empty the file.

use clusterrunner_common::text::masking::{Mask, Masking};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much is copied at a time.
const CHUNK: usize = 16 << 10;

/// How much a pipe holds: who prints more at once waits until some of it is read.
const PIPE: usize = 64 << 10;

/// A process that another executor starts has all our open files, until it runs its program: so long the pipe seems to be held.
const MOMENT: Duration = Duration::from_micros(500);

/// How long a process that its command has left behind may go on to print, if its input is a pipe. A process substitution is
/// such a one, as in `exec > >(tee log)`: it ends by itself when it has read what the command wrote, and no shell waits for it.
const LATE: Duration = Duration::from_secs(5);

/// How long a process that works may go on to print: what was forked just now does not have its own input yet.
const SOON: Duration = Duration::from_secs(2);

/// How much they may print then, in bytes.
const MOST_LATE: usize = 16 << 20;

/// The shortest and the longest pause between looks whether such a process is left.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Stands in the console where more was printed than is waited for.
const CUT: &[u8] =
    b"clusterrunner: what the command has left running printed more, which was not waited for\n";

/// The file of a console, and what is taken out of what goes there.
#[derive(Debug)]
struct Console {
    file: File,
    /// None where nothing is masked.
    masking: Option<Masking>,
    masked: Vec<u8>,
}

impl Console {
    fn write(&mut self, printed: &[u8]) -> io::Result<()> {
        let Some(masking) = &mut self.masking else {
            return self.file.write_all(printed);
        };
        masking.push(printed, &mut self.masked);
        self.write_masked()
    }

    /// Writes what was held back: nothing more comes.
    fn end(&mut self) -> io::Result<()> {
        let Some(masking) = &mut self.masking else {
            return Ok(());
        };
        masking.finish(&mut self.masked);
        self.write_masked()
    }

    fn write_masked(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.masked);
        self.masked.clear();
        written
    }
}

/// The way from a process to its console.
#[derive(Debug)]
pub(crate) struct Pump {
    /// None once nobody can print any more.
    from: Option<PipeReader>,
    to: Console,
    /// The console could not take all of it, as on a disk without space.
    is_refused: bool,
}

impl Pump {
    /// A way to the end of this file, and where the process prints. What is masked does not reach the file.
    pub(crate) fn to(file: File, mask: &Arc<Mask>) -> io::Result<(Self, File)> {
        let (from, to) = io::pipe()?;
        let pump = Self {
            from: Some(from),
            to: Console {
                file,
                masking: (!mask.is_empty()).then(|| Masking::new(Arc::clone(mask))),
                masked: Vec::new(),
            },
            is_refused: false,
        };
        Ok((pump, OwnedFd::from(to).into()))
    }

    /// What can be read once something was printed; `None` after the end.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(PipeReader::as_fd)
    }

    /// Copies some of what is there, and says how much. Blocks where nothing is there.
    pub(crate) fn copy(&mut self) -> usize {
        let Some(from) = &mut self.from else {
            return 0;
        };
        let mut buffer = [0; CHUNK];
        match from.read(&mut buffer) {
            Ok(0) => self.from = None,
            Ok(read) => {
                // What the console refuses is read all the same: its command would wait for ever.
                self.is_refused |= self.to.write(&buffer[..read]).is_err();
                return read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "what an atom prints can not be read");
                self.from = None;
            }
        }
        0
    }

    /// Copies what is still to come of a command that has ended. Of what it has left running, in the process group that is
    /// given, only what is about to print is waited for, at most until `is_to_stop`; what goes on to run prints to nobody from
    /// then on. Whether the console took all of it.
    pub(crate) fn finish(&mut self, group: Option<u32>, is_to_stop: &dyn Fn() -> bool) -> bool {
        let ended = Instant::now();
        let (mut pause, mut look, mut late) = (MOMENT, LOOKS.0, 0);
        // A look comes before what is copied for the last time: a process may print and end between the two.
        let mut is_last = group.is_none();
        loop {
            let copied = self.copy_all(pause);
            late += copied;
            if self.from.is_none() || is_last || is_to_stop() {
                break;
            }
            let left = group.map_or(Left::Idle, left_of);
            if late > MOST_LATE || (left == Left::Reader && ended.elapsed() > LATE) {
                self.is_refused |= self.to.end().and_then(|()| self.to.write(CUT)).is_err();
                break;
            }
            is_last = match left {
                // Who waited for room in the pipe looks idle and is not.
                Left::Idle => copied < PIPE,
                Left::Busy => ended.elapsed() > SOON,
                Left::Reader => false,
            };
            pause = match is_last {
                true => Duration::ZERO,
                false => look,
            };
            look = LOOKS.1.min(look * 2);
        }
        self.is_refused |= self.to.end().is_err();
        self.discard_the_rest();
        !self.is_refused
    }

    /// Copies what is printed until nobody can print any more, or [`SOON`] after `is_over` says that the command has ended: what
    /// reads its output, as in `exec > >(tee log)`, prints a little later. Now and then `look` is called.
    pub(crate) fn copy_until(&mut self, is_over: &AtomicBool, mut look: impl FnMut()) {
        while self.from.is_some() && !is_over.load(Ordering::Relaxed) {
            if self.has_more(LOOKS.1) {
                self.copy();
            }
            look();
        }
        let (ended, mut late) = (Instant::now(), 0);
        while self.from.is_some() && ended.elapsed() < SOON && late <= MOST_LATE {
            if self.has_more(LOOKS.0) {
                late += self.copy();
            }
            look();
        }
        self.finish(None, &|| false);
    }

    /// Copies what is printed during some work, which may wait for those who print.
    pub(crate) fn copy_during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let copy = || {
                while self.from.is_some() && !is_done.load(Ordering::Relaxed) {
                    if self.has_more(LOOKS.0) {
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

    /// Copies what is there or comes within a pause, but no more than [`MOST_LATE`]; how much that was.
    fn copy_all(&mut self, mut pause: Duration) -> usize {
        let mut copied = 0;
        while copied <= MOST_LATE && self.has_more(pause) {
            pause = Duration::ZERO;
            copied += self.copy();
        }
        copied
    }

    fn has_more(&self, at_most: Duration) -> bool {
        let Some(from) = &self.from else {
            return false;
        };
        let mut source = [PollFd::new(from, PollFlags::IN)];
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
        let Some(mut from) = self.from.take() else {
            return;
        };
        let discard = move || {
            if let Err(error) = io::copy(&mut from, &mut io::sink()) {
                tracing::debug!(%error, "what an atom has left running is cut off from its output");
            }
        };
        let thread = std::thread::Builder::new().name("left-output".to_owned());
        if let Err(error) = thread.spawn(discard) {
            tracing::warn!(%error, "what an atom has left running is cut off from its output");
        }
    }
}

/// What is left of a process group, as far as it matters to whether it prints soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Nothing, or nothing but what waits for somebody, as a server does.
    Idle,
    /// A process that works.
    Busy,
    /// A process whose input is a pipe.
    Reader,
}

fn left_of(group: u32) -> Left {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let left = processes.filter_map(|process| of_process(&process.path(), group));
    left.max().unwrap_or(Left::Idle)
}

/// What a process is; `None` if it is none of the group.
fn of_process(process: &Path, group: u32) -> Option<Left> {
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
    Some(match (is_reader, state) {
        (true, _) => Left::Reader,
        (false, "R" | "D") => Left::Busy,
        (false, _) => Left::Idle,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    /// Runs a command line to its end, and ends what it has left; what the console has then.
    fn printed(line: &str) -> String {
        let console = tempfile::NamedTempFile::new().unwrap();
        let (mut pump, output) = Pump::to(console.reopen().unwrap(), &Arc::default()).unwrap();
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
        assert!(pump.finish(Some(group), &|| false));
        let left = rustix::process::Pid::from_raw(group.cast_signed());
        // Mostly there is nothing.
        rustix::process::kill_process_group(left.unwrap(), rustix::process::Signal::KILL).ok();
        fs::read_to_string(console.path()).unwrap()
    }

    #[test]
    fn what_comes_a_little_late_is_copied() {
        let console = tempfile::NamedTempFile::new().unwrap();
        let (mut pump, mut output) = Pump::to(console.reopen().unwrap(), &Arc::default()).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            output.write_all(b"the reason").unwrap();
        });
        pump.copy_until(&AtomicBool::new(true), || {});
        late.join().unwrap();
        assert_eq!(fs::read_to_string(console.path()).unwrap(), "the reason");
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
    fn what_is_masked_does_not_reach_the_console() {
        let console = tempfile::NamedTempFile::new().unwrap();
        let mask = Arc::new(Mask::of(["hunter2-hunter3"]));
        let (mut pump, output) = Pump::to(console.reopen().unwrap(), &mask).unwrap();
        let line = "printf 'a hunter2-'; sleep 0.05; echo hunter3 >&2; printf %s hunter2-hunter3 | base64; printf hunter2";
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .stderr(output.try_clone().unwrap());
        let mut child = command.stdout(output).spawn().unwrap();
        drop(command);
        pump.copy_during(|| child.wait().unwrap());
        assert!(pump.finish(None, &|| false));
        let text = fs::read_to_string(console.path()).unwrap();
        assert_eq!(text, "a ***\n***\nhunter2");
    }

    #[test]
    fn who_prints_without_an_end_is_not_waited_for() {
        let text = printed("yes & sleep 0.1; echo one");
        assert!(text.contains("one\n"));
    }

    #[test]
    fn what_reads_for_too_long_is_told_of() {
        let text = printed("exec > >(cat; sleep 60); echo one");
        assert_eq!(text, format!("one\n{}", String::from_utf8_lossy(CUT)));
    }

    #[test]
    fn a_console_that_takes_no_more_is_told_and_holds_nobody_up() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (mut pump, output) = Pump::to(full, &Arc::default()).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "head -c 1000000 /dev/zero"]);
        let mut child = command.stdout(output).spawn().unwrap();
        drop(command);
        let code = pump.copy_during(|| child.wait().unwrap().code());
        assert_eq!(code, Some(0));
        assert!(!pump.finish(None, &|| false));
    }

    #[test]
    fn what_goes_on_to_run_is_neither_waited_for_nor_killed() {
        let console = tempfile::NamedTempFile::new().unwrap();
        let (mut pump, output) = Pump::to(console.reopen().unwrap(), &Arc::default()).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "read -r; for i in 1 2 3; do echo $i || exit 9; done"]);
        command.stdin(Stdio::piped()).stdout(output);
        let mut child = command.spawn().unwrap();
        drop(command);
        // Of a group that is not the one that is asked about.
        assert!(pump.finish(Some(u32::MAX >> 1), &|| false));
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
