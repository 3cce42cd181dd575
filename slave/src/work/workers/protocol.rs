//! The lines that go to a worker and come from it: JSON, one object a line. `docs/workers.md` describes them.

use super::Broken;
use serde::Deserialize;
use std::time::Duration;

/// The version of all this; a worker begins with it.
pub(crate) const VERSION: u32 = 1;

/// What goes to a worker at once, in bytes. It fits into a pipe, so that no worker can keep its slave waiting.
pub(crate) const LONGEST_REQUEST: usize = 48 << 10;

/// Longer lines are no answers.
pub(crate) const LONGEST_ANSWER: usize = 64 << 10;

/// How much of a line is shown that is no answer: characters.
const MOST_SHOWN: usize = 200;

/// The first line of a worker.
#[derive(Debug, Deserialize)]
struct Hello {
    worker: u32,
}

/// What a worker says of an atom that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    id: u64,
    /// As a shell has it: 128 and its number for a signal.
    pub(crate) exit_code: u8,
    /// The process group that the atom alone had, if it had one.
    #[serde(default)]
    pub(crate) process_group: Option<u32>,
    #[serde(default)]
    max_memory_kib: Option<u64>,
    #[serde(default)]
    cpu_ms: Option<u64>,
}

impl Answer {
    /// What the atom used, if the worker knows all of it.
    pub(crate) fn used(&self) -> Option<(u64, Duration)> {
        Some((self.max_memory_kib?, Duration::from_millis(self.cpu_ms?)))
    }
}

/// Checks the first line of a worker.
pub(crate) fn hello(line: &[u8]) -> Result<(), Broken> {
    match serde_json::from_slice::<Hello>(line) {
        Ok(Hello { worker: VERSION }) => Ok(()),
        Ok(_) | Err(_) => Err(Broken::OtherHello(shown(line))),
    }
}

/// Reads the answer for the atom with this number.
pub(crate) fn answer(line: &[u8], id: u64) -> Result<Answer, Broken> {
    let answer: Answer = serde_json::from_slice(line).map_err(|_| Broken::NoAnswer(shown(line)))?;
    // No group has another number; the system would take some of them for all processes.
    let is_group = |group: u32| (2..=i32::MAX.cast_unsigned()).contains(&group);
    if !answer.process_group.is_none_or(is_group) {
        return Err(Broken::NoAnswer(shown(line)));
    }
    match answer.id == id {
        true => Ok(answer),
        false => Err(Broken::OtherAtom(answer.id, id)),
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().take(MOST_SHOWN).collect()
}

/// What came from a worker and is no whole line yet.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next line, if it is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self.0.iter().position(|byte| *byte == b'\n') {
            Some(end) if end > LONGEST_ANSWER => Err(Broken::TooLong),
            Some(end) => {
                let rest = self.0.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.0, rest);
                line.truncate(end);
                Ok(Some(line))
            }
            None if self.0.len() > LONGEST_ANSWER => Err(Broken::TooLong),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_begins_with_the_version() {
        hello(b"{\"worker\":1}").unwrap();
        hello(b"{\"worker\":1,\"name\":\"x\"}").unwrap();
        for line in [&b"{\"worker\":2}"[..], b"", b"hello", b"\xff", b"{}"] {
            assert_eq!(hello(line), Err(Broken::OtherHello(shown(line))));
        }
    }

    #[test]
    fn an_answer_is_of_the_atom_that_was_asked_for() {
        let read = answer(b"{\"id\":7,\"exit_code\":3}", 7).unwrap();
        assert_eq!(
            (read.exit_code, read.process_group, read.used()),
            (3, None, None)
        );
        let line =
            b"{\"id\":7,\"exit_code\":137,\"process_group\":9,\"max_memory_kib\":5,\"cpu_ms\":6}";
        let read = answer(line, 7).unwrap();
        assert_eq!(read.process_group, Some(9));
        assert_eq!(read.used(), Some((5, Duration::from_millis(6))));
        assert_eq!(
            answer(b"{\"id\":6,\"exit_code\":0}", 7),
            Err(Broken::OtherAtom(6, 7))
        );
        for line in [
            &b"{\"id\":7}"[..],
            b"{\"id\":7,\"exit_code\":256}",
            b"{\"id\":7,\"exit_code\":-1}",
            b"{\"id\":7,\"exit_code\":0,\"process_group\":1}",
            b"{\"id\":7,\"exit_code\":0,\"process_group\":4000000000}",
            b"{\"id\":\"7\",\"exit_code\":0}",
            b"ok",
            b"",
        ] {
            assert_eq!(answer(line, 7), Err(Broken::NoAnswer(shown(line))));
        }
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut lines = Lines::default();
        lines.add(b"ab");
        assert_eq!(lines.next(), Ok(None));
        lines.add(b"c\n");
        assert_eq!(lines.next(), Ok(Some(b"abc".to_vec())));
        assert!(lines.is_empty());
        lines.add(b"a\nb");
        assert_eq!(lines.next(), Ok(Some(b"a".to_vec())));
        assert!(!lines.is_empty());
        let mut lines = Lines::default();
        lines.add(&vec![b'x'; LONGEST_ANSWER + 1]);
        assert_eq!(lines.next(), Err(Broken::TooLong));
    }
}
