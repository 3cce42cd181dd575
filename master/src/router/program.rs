//! The program of an instance, and connections to it that wait for the next request.

use super::connection::Connection;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::lock::lock;
use hyper::body::Incoming;
use hyper::upgrade::{self, OnUpgrade};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a connection is kept for the next request. Servers of programs close theirs after 5 s at the earliest
/// (Node).
const KEPT_IDLE: Duration = Duration::from_secs(4);

/// How long a program that has refused a connection comes after others that take the same requests, in milliseconds.
const DOUBTED_MS: u64 = 2_000;

/// Where requests are answered.
#[derive(Debug)]
pub(super) struct Program {
    /// `host:port`.
    pub(super) address: String,
    /// Those that were used last are at the end.
    idle: Mutex<Vec<Idle>>,
    /// When it refused a connection, in milliseconds; 0 where it has taken one since.
    refused: AtomicU64,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// Why a program gives no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It takes no connection. Nothing of the request was sent.
    Unreached {
        error: io::Error,
        request: Box<Request>,
    },
    /// It broke the request off.
    BrokenOff(hyper::Error),
}

/// A program's answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Response<Incoming>,
    /// What the answer comes by.
    pub(super) connection: Connection,
}

impl Program {
    /// That at `host:port`.
    pub(super) fn at(address: String) -> Arc<Self> {
        Arc::new(Self {
            address,
            idle: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// Has the program answer. Another connection is tried only where nothing of the request was sent.
    pub(super) async fn ask(&self, mut request: Request) -> Result<Answered, Unanswered> {
        loop {
            let kept = self.kept();
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => match Connection::open(&self.address).await {
                    Ok(connection) => {
                        self.refused.store(0, Ordering::Relaxed);
                        connection
                    }
                    Err(error) => {
                        self.refused.store(Timestamp::now().0, Ordering::Relaxed);
                        let request = Box::new(request);
                        return Err(Unanswered::Unreached { error, request });
                    }
                },
            };
            match connection.ask(request).await {
                Ok(answer) => return Ok(Answered { answer, connection }),
                Err(mut error) => match error.take_message() {
                    // The program had closed the connection.
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(Unanswered::BrokenOff(error.into_error())),
                },
            }
        }
    }

    /// Whether it has refused a connection, and took none since.
    pub(super) fn refuses(&self) -> bool {
        let refused = self.refused.load(Ordering::Relaxed);
        refused > 0 && Timestamp::now().0.saturating_sub(refused) < DOUBTED_MS
    }

    /// Takes a connection for the next request: of those that are free the one that was used last.
    fn kept(&self) -> Option<Connection> {
        let mut all = lock(&self.idle);
        close_old(&mut all);
        let free = all.iter().rposition(|one| one.connection.is_free())?;
        Some(all.remove(free).connection)
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        if !connection.is_closed() {
            let since = Instant::now();
            lock(&self.idle).push(Idle { connection, since });
        }
    }

    /// Closes the connections that nobody has used for too long.
    pub(super) fn close_idle(&self) {
        close_old(&mut lock(&self.idle));
    }
}

fn close_old(idle: &mut Vec<Idle>) {
    let now = Instant::now();
    let is_old = |one: &Idle| now.duration_since(one.since) > KEPT_IDLE;
    idle.retain(|one| !one.connection.is_closed() && !is_old(one));
}

impl Answered {
    /// Whether the connection goes on in another protocol.
    pub(super) fn is_upgrade(&self) -> bool {
        self.answer.status() == StatusCode::SWITCHING_PROTOCOLS
    }

    /// The program's side of that.
    pub(super) fn upgrade(&mut self) -> OnUpgrade {
        upgrade::on(&mut self.answer)
    }
}
