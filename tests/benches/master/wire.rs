//! As much HTTP/1.1 as the load needs, at little cost: messages with a length, one after the other on
//! a connection that stays.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{
    CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, Signed, content_digest,
};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request or an answer.
pub(crate) struct Message {
    /// Its first line.
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
}

/// One connection, from either end.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The next message; `None` at the end.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message>> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let (line, headers) = text.split_once("\r\n").unwrap_or((&text, ""));
        let length = headers.lines().find_map(|header| {
            let (name, value) = header.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let end = head + length.unwrap_or(0);
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.buffer[head..end].to_vec();
        self.buffer.drain(..end);
        let line = line.to_owned();
        Ok(Some(Message { line, body }))
    }

    pub(crate) async fn answer(&mut self, status: &str, body: &str) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

/// The way to the master, each request signed.
pub(crate) struct Uplink {
    connection: Connection,
    master: String,
    session: String,
    secret: Secret,
}

/// The session of the daemon there, which signatures name.
pub(crate) fn session_of(server: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server).expect("a connection");
    let ask = b"GET /v1/version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    let session = headers.find(|(name, _)| name.eq_ignore_ascii_case("session-id"));
    session.expect("a session").1.to_owned()
}

const BOUNDARY: &str = "the-boundary-of-the-load";

impl Uplink {
    pub(crate) async fn open(master: &str, secret: Secret) -> Self {
        let stream = TcpStream::connect(master).await.expect("a connection");
        Self {
            connection: Connection::new(stream),
            master: master.to_owned(),
            session: session_of(master),
            secret,
        }
    }

    /// Sends JSON; status and body of the answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let digest = content_digest(body);
        let head = self.head(method, path, &digest, body.len(), "application/json", "");
        self.exchange(head, body).await
    }

    /// Sends a report and a file, as a slave uploads results.
    pub(crate) async fn upload(
        &mut self,
        path: &str,
        report: &[u8],
        file: &[u8],
    ) -> (u16, Vec<u8>) {
        let body = [
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n"
            )
            .as_bytes(),
            report,
            format!(
                "\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"result\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
            file,
            format!("\r\n--{BOUNDARY}--\r\n").as_bytes(),
        ]
        .concat();
        let digest = content_digest(&body);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let more = format!("{CONTENT_DIGEST_HEADER}: {digest}\r\n");
        let head = self.head("POST", path, &digest, body.len(), &kind, &more);
        self.exchange(head, &body).await
    }

    fn head(
        &self,
        method: &str,
        path: &str,
        digest: &str,
        length: usize,
        kind: &str,
        more: &str,
    ) -> String {
        let signed = Signed {
            method,
            path_and_query: path,
            receiver: &self.session,
            content_digest: digest,
        };
        let signature = signed.sign(&self.secret, Timestamp::now(), random_bytes());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: \
             {length}\r\n{SIGNATURE_HEADER}: {signature}\r\n{more}\r\n",
            self.master
        )
    }

    async fn exchange(&mut self, head: String, body: &[u8]) -> (u16, Vec<u8>) {
        let message = [head.as_bytes(), body].concat();
        let sent = self.connection.stream.write_all(&message).await;
        sent.expect("the master takes it");
        let answer = self.connection.read().await.expect("an answer");
        let answer = answer.expect("an answer");
        let status = answer.line.split(' ').nth(1);
        let status = status.and_then(|status| status.parse().ok());
        (status.expect("a status"), answer.body)
    }
}
