//! Bytes as nobody's library sends them, and what comes back.

use crate::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What ends a connection that goes on after an attack. What an attack has left behind would be taken for its beginning.
const LAST: &[u8] =
    b"GET /v1/version HTTP/1.1\r\nHost: a\r\nExpected-Session-Id: the last\r\nConnection: close\r\n\r\n";

/// The status of the answer to [`LAST`], and to nothing else: another session is meant.
const TO_THE_LAST: u16 = 412;

/// An answer, as text.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// With its head.
    pub(super) text: String,
}

/// What is answered to bytes on a connection of their own, to its end. Another request follows the first answer: where it
/// was answered for itself, as it must be, that answer is left out.
pub(super) async fn answers(server: &str, bytes: &[u8]) -> Vec<Answered> {
    let exchanged = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let mut came = Vec::new();
        // Who refuses a request does not read the rest of it.
        stream.write_all(bytes).await.ok();
        while !has_answer(&came) {
            let Ok(1..) = stream.read_buf(&mut came).await else {
                return came;
            };
        }
        stream.write_all(LAST).await.ok();
        stream.read_to_end(&mut came).await.ok();
        came
    });
    let shown = String::from_utf8_lossy(bytes);
    let came = exchanged.await;
    let came = came.unwrap_or_else(|_| panic!("neither answered nor closed: {shown:.300}"));
    let text = String::from_utf8_lossy(&came);
    let answers = text.split("HTTP/1.1 ").skip(1);
    let answers = answers.map(|answer| Answered {
        status: answer[..3].parse().unwrap_or_default(),
        text: answer.to_owned(),
    });
    let mut answers: Vec<Answered> = answers.collect();
    if answers
        .last()
        .is_some_and(|last| last.status == TO_THE_LAST)
    {
        answers.pop();
    }
    answers
}

/// Whether the head of an answer is there, and its body, if it says how long that is.
fn has_answer(came: &[u8]) -> bool {
    let text = String::from_utf8_lossy(came);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    // What goes on before the answer.
    if head.starts_with("HTTP/1.1 100 ") {
        return has_answer(body.as_bytes());
    }
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

/// Sends bytes and leaves the connection open; nothing is waited for.
pub(super) async fn held(server: &str, bytes: &[u8]) -> TcpStream {
    let connected = timeout(PATIENCE, TcpStream::connect(server)).await;
    let mut stream = connected.expect("the system takes connections").unwrap();
    // It may be closed already.
    stream.write_all(bytes).await.ok();
    stream
}

/// What comes until it has this in it, or the connection ends.
pub(super) async fn first_of(stream: &mut TcpStream, part: &str) -> String {
    let reading = timeout(PATIENCE, async {
        let mut came = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&came).into_owned();
            if text.contains(part) {
                return text;
            }
            let Ok(1..) = stream.read_buf(&mut came).await else {
                return text;
            };
        }
    });
    reading.await.expect("something comes")
}
