//! How a slave that can not be called is called all the same: it polls its master for calls, and sends the answers back.
//!
//! ```text
//! POST /v1/slave/7/calls            {"session_id": ..., "wait_ms": 20000}     the slave, signed
//!   200   {"call": 12, "method": "POST", "path": "/v1/build/3/setup", "headers": [...]} LF  the body of the call
//!   204   no call within that time
//! POST /v1/slave/7/calls/12?piece=0&last=false                                the slave, signed
//!       {"status": 200, "headers": [...]} LF  the first bytes of the answer's body
//!   200   {"is_wanted": true, "is_taken": true}
//! POST /v1/slave/7/calls/12?piece=1&last=true                                 further bytes
//! ```
//!
//! A call is what would have been sent to the slave's port, with the same signature; an answer what would have come from
//! there. Nothing has another meaning than on a connection: what is lost is lost as with that.

use crate::ids::SessionId;
use serde::{Deserialize, Serialize};

/// How many bytes a head may have, with its end.
pub const LONGEST_HEAD: usize = 64 << 10;

/// How many bytes of an answer a piece has at most, beside the head.
pub const LONGEST_PIECE: usize = 512 << 10;

/// Body of `POST /v1/slave/<id>/calls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollRequest {
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// How long the master may keep the poll open.
    pub wait_ms: u64,
}

/// A call, but for its body, which follows after a line feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHead {
    /// Its number, under which it is answered.
    pub call: u64,
    /// `GET`, `POST` or another.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// An answer, but for its body, of which the first bytes follow after a line feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerHead {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// The query of `POST /v1/slave/<id>/calls/<call>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerPart {
    /// From 0 on. One that comes again is not taken again.
    pub piece: u64,
    /// Whether no further one follows.
    pub last: bool,
}

/// Answer to a piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceAnswer {
    /// Whether anybody still waits for the rest; where not, no more is sent.
    pub is_wanted: bool,
    /// Whether the piece is taken. One that is not is sent again: whoever reads the answer is slow.
    pub is_taken: bool,
}

/// A head as it is sent.
///
/// # Errors
/// It can not be written.
pub fn written_head<T: Serialize>(head: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec(head)?;
    text.push(b'\n');
    Ok(text)
}

/// Where the body begins in bytes that begin with a head; none while the end of the head is not there.
#[must_use]
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_the_first_line_feed() {
        let head = CallHead {
            call: 7,
            method: "GET".to_owned(),
            path: "/v1/a?b=c".to_owned(),
            headers: vec![("range".to_owned(), "a\nb".to_owned())],
        };
        let mut sent = written_head(&head).unwrap();
        assert_eq!(end_of_head(&sent[..sent.len() - 1]), None);
        let length = sent.len();
        sent.extend(b"body\nof two lines");
        let end = end_of_head(&sent).unwrap();
        assert_eq!(end, length);
        let read: CallHead = serde_json::from_slice(&sent[..end]).unwrap();
        assert_eq!((read, &sent[end..end + 4]), (head, b"body".as_slice()));
    }
}
