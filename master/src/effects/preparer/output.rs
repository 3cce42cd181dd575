//! What an atomizer prints: it comes through a pipe, as from a shell's `$(...)`, so what the atomizer leaves behind may print
//! too, and a command that opens `/dev/stdout` empties nothing. It is held in memory.

use std::fmt;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe;

/// The most output of an atomizer that is taken for atoms: some millions of them.
pub(super) const MAX_OUTPUT: usize = 256 << 20;
/// How much is read at a time: a pipe holds no more.
const CHUNK: usize = 64 << 10;
/// How much of a failed atomizer's output is shown.
const SHOWN_LINES: usize = 20;
/// It becomes part of the build's `error_message`, which is stored and polled.
const SHOWN_BYTES: usize = 8 << 10;

/// The output of one atomizer.
#[derive(Debug)]
pub(super) struct Output {
    from: pipe::Receiver,
    bytes: Vec<u8>,
    most: usize,
    /// Whether nobody can write to it any more.
    has_ended: bool,
}

impl Output {
    /// Nothing yet, and `most` bytes are not too much; and where the command writes to.
    pub(super) fn new(most: usize) -> io::Result<(Self, OwnedFd)> {
        let (to, from) = pipe::pipe()?;
        let output = Self {
            from,
            bytes: Vec::new(),
            most,
            has_ended: false,
        };
        Ok((output, to.into_blocking_fd()?))
    }

    /// Waits until there is more of it, or until it ends; for ever after its end. One that is given up has lost nothing.
    pub(super) async fn more(&mut self) -> io::Result<()> {
        if self.has_ended {
            return pending().await;
        }
        loop {
            self.from.readable().await?;
            self.bytes.reserve(CHUNK);
            match self.from.try_read_buf(&mut self.bytes) {
                Ok(read) => {
                    self.has_ended = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for its end, or until there is too much of it.
    pub(super) async fn rest(&mut self) -> io::Result<()> {
        while !self.has_ended && !self.is_too_much() {
            self.more().await?;
        }
        Ok(())
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.bytes.len() > self.most
    }

    /// What is there by now.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.bytes.len().min(self.most)]
    }

    /// All of it, but for what is too much.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// What an atomizer printed.
#[derive(Debug)]
pub(super) struct Printed {
    /// To its standard output.
    pub(super) output: String,
    /// To its standard error.
    pub(super) errors: String,
    /// Whether something that it left behind could still print when no more was waited for.
    pub(super) is_cut: bool,
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
    use futures_util::FutureExt as _;
    use std::fs::File;
    use std::io::Write as _;

    #[tokio::test]
    async fn all_of_it_is_read_whoever_writes_it() {
        let (mut output, to) = Output::new(100).unwrap();
        let (mut one, mut other) = (File::from(to.try_clone().unwrap()), File::from(to));
        one.write_all(b"a\n").unwrap();
        output.more().await.unwrap();
        assert_eq!(output.bytes(), b"a\n");
        drop(one);
        let late = std::thread::spawn(move || other.write_all(b"late\n").unwrap());
        output.rest().await.unwrap();
        late.join().unwrap();
        assert_eq!(output.text(), "a\nlate\n");
        assert!(
            output.more().now_or_never().is_none(),
            "for ever after its end"
        );
    }

    #[tokio::test]
    async fn too_much_is_noticed() {
        let (mut output, to) = Output::new(4).unwrap();
        let mut file = File::from(to);
        file.write_all(b"a\nb\n").unwrap();
        output.more().await.unwrap();
        assert!(!output.is_too_much());
        file.write_all(b"c").unwrap();
        output.rest().await.unwrap();
        assert!(output.is_too_much());
        assert_eq!(output.text(), "a\nb\n");
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
            let printed = Printed {
                output,
                errors,
                is_cut: false,
            };
            assert_eq!(printed.to_string(), expected);
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
