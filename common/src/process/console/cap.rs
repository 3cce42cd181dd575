//! Consoles that grow too large: their beginning and their end are kept.
//!
//! While the command runs the file is looked at, and the blocks in its middle are given back to the file system: it goes on
//! growing by its length, not by what it takes of the disk. So a reader finds each byte where it was printed.

use rustix::fs::{FallocateFlags, SeekFrom as SparseSeek, fallocate, seek};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// How often a growing file is looked at. A command that is over sooner is never looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Blocks of most file systems; only whole ones can be given back.
const BLOCK: u64 = 4096;

/// How a console of at most `max` bytes is divided: how much of its beginning is kept.
fn head_of(max: u64) -> u64 {
    max / 2 / BLOCK * BLOCK
}

/// Keeps what a growing console takes of the disk near a number of bytes, if it is asked now and then.
#[derive(Debug)]
pub struct ConsoleCap {
    max: u64,
    given_back: u64,
    can_not: bool,
}

/// Blocks in the middle of a console that nobody will be shown.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    end: u64,
}

impl ConsoleCap {
    /// For a console of which `max` bytes are kept.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            max,
            given_back: head_of(max),
            can_not: false,
        }
    }

    /// Looks at the console, and gives back what is too much. It is opened for writing only for
    /// that. Blocks.
    pub fn look(&mut self, console: &File, for_writing: impl FnOnce() -> io::Result<File>) {
        if let Some(gap) = self.gap(console) {
            let punched = for_writing().and_then(|file| gap.give_back(&file));
            self.punched(gap, punched);
        }
    }

    /// What is to be given back now.
    fn gap(&mut self, console: &File) -> Option<Gap> {
        let length = console.metadata().map_or(0, |found| found.len());
        let head = head_of(self.max);
        // A command may empty its own console.
        if length < self.given_back {
            self.given_back = head;
        }
        let end = length.saturating_sub(self.max - head) / BLOCK * BLOCK;
        let gap = Gap {
            start: self.given_back,
            end,
        };
        (!self.can_not && length > self.max && end > self.given_back).then_some(gap)
    }

    fn punched(&mut self, gap: Gap, punched: io::Result<()>) {
        match punched {
            Ok(()) => self.given_back = gap.end,
            Err(error) => {
                self.can_not = true;
                tracing::warn!(
                    %error,
                    "a console is too large and its middle cannot be freed; it keeps growing"
                );
            }
        }
    }
}

impl Gap {
    fn give_back(self, file: &File) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(file, flags, self.start, self.end - self.start)?)
    }
}

/// Keeps what `file` takes of the disk near `max` bytes, for as long as it is polled. The file must
/// be open for writing.
pub(crate) async fn keep_capped(file: File, max: u64) -> Infallible {
    let mut cap = ConsoleCap::new(max);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(gap) = cap.gap(&file) else {
            continue;
        };
        let Ok(file) = file.try_clone() else {
            continue;
        };
        let punched = tokio::task::spawn_blocking(move || gap.give_back(&file)).await;
        cap.punched(gap, punched.unwrap_or_else(|error| Err(error.into())));
    }
}

/// A console as it is shown: all of it, or its beginning, a line about what was dropped, its end.
#[derive(Debug)]
pub struct Capped {
    file: File,
    head: u64,
    notice: Vec<u8>,
    tail_start: u64,
    /// The tail in memory, where what the file has of it may be gone any moment.
    tail: Option<Vec<u8>>,
    length: u64,
    position: u64,
}

impl Capped {
    /// Looks at a file as it is now; what is written to it later is not seen.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn new(file: File, max: Option<u64>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let whole = |file| Self {
            file,
            head: length,
            notice: Vec::new(),
            tail_start: length,
            tail: None,
            length,
            position: 0,
        };
        let Some(max) = max.filter(|max| length > *max) else {
            return Ok(whole(file));
        };
        let head = head_of(max);
        // That is settled by the length, unless more has been given back already.
        let tail_start = data_after(&file, head, length).max(length - (max - head));
        Ok(Self {
            notice: notice(&file, head, tail_start, max)?,
            file,
            head,
            tail_start,
            tail: None,
            length,
            position: 0,
        })
    }

    /// As [`Capped::new`], for a console that may be growing: of what was cut at most `most` bytes of
    /// the tail are shown, and those stay what they are while they are read.
    ///
    /// # Errors
    /// When the file can not be read.
    pub(crate) fn growing(file: File, max: Option<u64>, most: u64) -> io::Result<Self> {
        /// A flood that is faster than this many looks at it is shown with a shorter tail.
        const LOOKS: usize = 5;
        let mut looks = 0;
        loop {
            let mut capped = Self::new(file.try_clone()?, max)?;
            let (Some(max), true) = (max, capped.is_cut()) else {
                return Ok(capped);
            };
            let start = capped.tail_start.max(capped.length.saturating_sub(most));
            let size = usize::try_from(capped.length - start).map_err(io::Error::other)?;
            let mut tail = vec![0; size];
            file.read_exact_at(&mut tail, start)?;
            looks += 1;
            if data_after(&file, capped.head, capped.length) > start {
                if looks < LOOKS {
                    continue;
                }
                // What was given back in the meantime reads as zeros.
                let lost = tail.iter().rposition(|byte| *byte == 0);
                tail.drain(..lost.map_or(0, |last| last + 1));
            }
            capped.tail_start = capped.length - tail.len() as u64;
            capped.notice = notice(&file, capped.head, capped.tail_start, max)?;
            capped.tail = Some(tail);
            return Ok(capped);
        }
    }

    /// Whether something was dropped.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.notice.is_empty()
    }

    /// Only what comes before the gap, which does not change any more.
    #[must_use]
    pub(crate) fn only_head(self) -> Self {
        Self {
            notice: Vec::new(),
            tail_start: self.head,
            tail: None,
            length: self.head,
            ..self
        }
    }

    fn total(&self) -> u64 {
        self.head + self.notice.len() as u64 + (self.length - self.tail_start)
    }
}

/// Where the file has something again, from `position` on.
fn data_after(file: &File, position: u64, length: u64) -> u64 {
    match seek(file, SparseSeek::Data(position)) {
        Ok(data) => data,
        Err(rustix::io::Errno::NXIO) => length,
        // No holes are known here.
        Err(_) => position,
    }
}

/// Whether a line is one that stands in place of what was dropped.
#[must_use]
pub fn is_gap_notice(line: &[u8]) -> bool {
    let after = line.strip_prefix(b"clusterrunner: ".as_slice());
    let number = |rest: &[u8]| rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    after.is_some_and(|rest| rest[number(rest)..].starts_with(DROPPED.as_bytes()))
}

/// What the notice says behind the number of bytes.
const DROPPED: &str = " bytes of output were dropped here (max_console_size is ";

/// The line in place of what is between `head` and `tail_start`.
fn notice(file: &File, head: u64, tail_start: u64, max: u64) -> io::Result<Vec<u8>> {
    let dropped = tail_start - head;
    let mut last = [b'\n'];
    if head > 0 {
        file.read_exact_at(&mut last, head - 1)?;
    }
    let gap = if last == *b"\n" { "" } else { "\n" };
    let notice = format!("{gap}clusterrunner: {dropped}{DROPPED}{max})\n");
    Ok(notice.into_bytes())
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limited =
            |left: u64| usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
        let after_head = self.position.saturating_sub(self.head);
        let after_notice = after_head.saturating_sub(self.notice.len() as u64);
        let read = if self.position < self.head {
            let wanted = limited(self.head - self.position);
            self.file.read_at(&mut buffer[..wanted], self.position)?
        } else if after_head < self.notice.len() as u64 {
            let start = usize::try_from(after_head).unwrap_or(usize::MAX);
            let mut rest = self.notice.get(start..).unwrap_or_default();
            rest.read(buffer)?
        } else if let Some(tail) = &self.tail {
            let start = usize::try_from(after_notice).unwrap_or(usize::MAX);
            let mut rest = tail.get(start..).unwrap_or_default();
            rest.read(buffer)?
        } else {
            let at = self.tail_start + after_notice;
            let wanted = limited(self.length.saturating_sub(at));
            self.file.read_at(&mut buffer[..wanted], at)?
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Capped {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.total().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    const MAX: u64 = 64 << 10;

    fn text(capped: &mut Capped) -> String {
        let mut text = String::new();
        capped.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_small_console_is_shown_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nb").unwrap();
        let mut capped = Capped::new(file, Some(3)).unwrap();
        assert!(!capped.is_cut());
        assert_eq!(text(&mut capped), "a\nb");
        capped.rewind().unwrap();
        assert_eq!(text(&mut capped), "a\nb");
    }

    #[test]
    fn of_a_large_one_the_ends_are_shown() {
        let mut file = tempfile::tempfile().unwrap();
        for number in 0..20_000 {
            writeln!(file, "line {number:05}").unwrap();
        }
        let mut capped = Capped::new(file, Some(MAX)).unwrap();
        assert!(capped.is_cut());
        let shown = text(&mut capped);
        let dropped = 220_000 - MAX;
        let notice = format!("clusterrunner: {dropped} bytes of output were dropped here");
        assert!(shown.contains(&format!("\n{notice}")), "{}", shown.len());
        assert!(shown.starts_with("line 00000\n"));
        assert!(shown.ends_with("line 19999\n"));
        assert_eq!(shown.len() as u64, capped.total());
        let mut head = capped.only_head();
        head.rewind().unwrap();
        assert_eq!(text(&mut head).len() as u64, MAX / 2);
    }

    #[tokio::test]
    async fn a_flood_takes_little_of_the_disk() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let mut file = named.reopen().unwrap();
        let flood = async {
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..16 {
                file.write_all(&chunk).unwrap();
                tokio::task::yield_now().await;
            }
            let limit = std::time::Instant::now() + Duration::from_secs(20);
            // What is taken is known once it is on the disk.
            while {
                file.sync_all().unwrap();
                file.metadata().unwrap().blocks() * 512 > 2 * MAX
            } {
                assert!(std::time::Instant::now() < limit, "{:?}", file.metadata());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = flood => {}
            never = keep_capped(named.reopen().unwrap(), MAX) => match never {},
        }
        let mut capped = Capped::new(named.reopen().unwrap(), Some(MAX)).unwrap();
        let shown = text(&mut capped);
        assert!(!shown.contains('\0'));
        assert!(shown.contains(&format!("\nclusterrunner: {} bytes", (16 << 20) - MAX)));
    }
}
