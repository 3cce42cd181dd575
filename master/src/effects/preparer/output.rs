//! What an atomizer prints: kept in memory as a file (a disk would take longer to make one than most
//! atomizers to run), looked at for its size while the command runs, read as a whole afterwards.

use rustix::fs::{MemfdFlags, memfd_create};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// The most output of an atomizer that is taken for atoms: some millions of them.
pub(super) const MAX_OUTPUT: u64 = 256 << 20;
/// How often the size is looked at. At the speed of memory it grows by some 100 MiB meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// How much is copied at a time.
const CHUNK: usize = 64 << 10;
/// How much of a failed atomizer's output is shown.
const SHOWN_LINES: usize = 20;
/// It becomes part of the build's `error_message`, which is stored and polled.
const SHOWN_BYTES: usize = 8 << 10;

/// The output of one atomizer.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    most: u64,
}

impl Output {
    /// Nothing yet, and `most` bytes are not too much.
    pub(super) fn new(most: u64) -> io::Result<Self> {
        let file = memfd_create("atomizer", MemfdFlags::CLOEXEC)?.into();
        Ok(Self { file, most })
    }

    /// For the command to write to.
    pub(super) fn to_write(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Returns as soon as there is too much of it.
    pub(super) async fn becomes_too_much(&self) {
        // A file whose size the system does not tell can not be read either, which is told then.
        while !self.is_too_much().unwrap_or_default() {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) fn is_too_much(&self) -> io::Result<bool> {
        Ok(self.length()? > self.most)
    }

    /// How many bytes there are by now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Copies what is there after the first bytes, but for what is too much; how much that was. What comes meanwhile is
    /// for the next copy: a command may print faster than it can be copied.
    pub(super) fn copy_from(&self, first: u64, to: &mut File) -> io::Result<u64> {
        let mut left = self.length()?.min(self.most).saturating_sub(first);
        let mut copied = 0;
        let mut chunk = vec![0; CHUNK];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            // The command writes where this file stands: it is read without being moved.
            let read = self.file.read_at(&mut chunk[..part], first + copied)?;
            if read == 0 {
                break;
            }
            to.write_all(&chunk[..read])?;
            copied += read as u64;
            left -= read as u64;
        }
        Ok(copied)
    }

    /// All of it, but for what is too much.
    pub(super) fn text(mut self) -> io::Result<String> {
        self.file.rewind()?;
        let mut bytes = Vec::new();
        self.file.take(self.most).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What an atomizer printed.
#[derive(Debug)]
pub(super) struct Printed {
    /// To its standard output.
    pub(super) output: String,
    /// To its standard error.
    pub(super) errors: String,
}

impl Printed {
    /// The end of its standard error, as a sentence for its user; nothing where that is blank.
    pub(super) fn shown_errors(&self) -> Option<String> {
        let end = shown(&self.errors)?;
        Some(format!(" The end of its standard error:\n{end}"))
    }
}

/// The end of both, as sentences for the user of an atomizer that failed.
impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = shown(&self.output).map(|end| format!(" The end of its output:\n{end}"));
        match (output, self.shown_errors()) {
            (None, None) => f.write_str(" It printed nothing."),
            (Some(output), None) => f.write_str(&output),
            (None, Some(errors)) => f.write_str(&errors),
            (Some(output), Some(errors)) => write!(f, "{output}\n{}", errors.trim_start()),
        }
    }
}

/// The end of a text; nothing where it is blank.
fn shown(output: &str) -> Option<String> {
    let text = output.trim_end();
    if text.is_empty() {
        return None;
    }
    // A NUL would not be seen.
    let text = end_of(text).replace('\0', "\\0");
    let text = end_of(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    Some(lines.get(skipped..).unwrap_or_default().join("\n"))
}

fn end_of(text: &str) -> &str {
    let long = text.len().saturating_sub(SHOWN_BYTES);
    text.split_at(text.ceil_char_boundary(long)).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_an_end() {
        let output = Output::new(100).unwrap();
        let mut copy = tempfile::tempfile().unwrap();
        output.to_write().unwrap().write_all(&[b'x'; 70]).unwrap();
        assert_eq!(output.copy_from(0, &mut copy).unwrap(), 70);
        output.to_write().unwrap().write_all(&[b'x'; 70]).unwrap();
        assert_eq!(output.copy_from(70, &mut copy).unwrap(), 30);
        assert_eq!(output.copy_from(100, &mut copy).unwrap(), 0);
        assert_eq!(copy.metadata().unwrap().len(), 100);
    }

    #[tokio::test]
    async fn too_much_is_noticed() {
        let output = Output::new(4).unwrap();
        let mut file = output.to_write().unwrap();
        file.write_all(b"a\nb\n").unwrap();
        assert!(!output.is_too_much().unwrap());
        file.write_all(b"c").unwrap();
        output.becomes_too_much().await;
        assert_eq!(output.text().unwrap(), "a\nb\n");
    }

    #[test]
    fn what_is_shown_is_bounded_in_lines_and_bytes() {
        assert_eq!(shown(" \n"), None);
        assert_eq!(shown("a\nb\n").unwrap(), "a\nb");
        let zeros = shown(&"\0".repeat(SHOWN_BYTES)).unwrap();
        assert!(zeros.len() <= SHOWN_BYTES && zeros.ends_with("\\0"));
        let many = "x\n".repeat(100);
        assert_eq!(shown(&many).unwrap().lines().count(), SHOWN_LINES);
        // A character of two bytes at the cut is left out as a whole.
        let long = shown(&format!("{}e", "é".repeat(SHOWN_BYTES))).unwrap();
        assert!(
            long.len() <= SHOWN_BYTES && long.ends_with("ée"),
            "{}",
            long.len()
        );
    }

    #[test]
    fn both_ends_are_shown_where_there_is_something() {
        let check = |output: &str, errors: &str, expected: &str| {
            let (output, errors) = (output.to_owned(), errors.to_owned());
            assert_eq!(Printed { output, errors }.to_string(), expected);
        };
        check(" ", "\n", " It printed nothing.");
        check("a\n", "", " The end of its output:\na");
        check("", "b\n", " The end of its standard error:\nb");
        check(
            "a",
            "b",
            " The end of its output:\na\nThe end of its standard error:\nb",
        );
    }
}
