//! Many keep-alive connections that ask as fast as they are answered, or at a pace. It does as little
//! as can be for each request, since it shares the processor with what it measures.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How connections are used.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// From one request of a connection to its next one; none: as soon as it is answered.
    pub(crate) pause: Option<Duration>,
    pub(crate) lasts: Duration,
}

/// What came of a load.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// In milliseconds, from low to high.
    latencies: Vec<f64>,
}

impl Figures {
    /// The latency in milliseconds that so many of a thousand do not pass.
    pub(crate) fn at(&self, of_thousand: usize) -> f64 {
        let index = self.latencies.len() * of_thousand / 1000;
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, high) = (self.at(500), self.at(990));
        let rate = self.per_second;
        write!(f, "{rate:>7.0}/s, p50 {median:.2} ms, p99 {high:.2} ms")
    }
}

/// Sends what `request` makes over each of the connections; every answer must begin with `HTTP/1.1 `
/// and the number `status`.
pub(crate) async fn drive(
    address: &str,
    load: Load,
    status: &'static str,
    request: impl Fn() -> Arc<[u8]> + Clone + 'static,
) -> Figures {
    let mut streams = Vec::new();
    for _ in 0..load.connections {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a connection");
        streams.push(stream);
    }
    let began = Instant::now();
    let end = began + load.lasts;
    let local = tokio::task::LocalSet::new();
    let asking = streams.into_iter().enumerate().map(|(index, stream)| {
        let request = request.clone();
        let share = f64::from(u32::try_from(index).unwrap()) / load.connections as f64;
        // Those with a pace do not begin all at once.
        let first = load.pause.map(|pause| began + pause.mul_f64(share));
        local.spawn_local(ask(stream, load.pause.zip(first), end, status, request))
    });
    let asking: Vec<_> = asking.collect();
    let mut latencies: Vec<f64> = Vec::new();
    local
        .run_until(async {
            for asking in asking {
                latencies.extend(asking.await.expect("answers"));
            }
        })
        .await;
    let took = began.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Figures {
        per_second: latencies.len() as f64 / took,
        latencies,
    }
}

async fn ask(
    mut stream: TcpStream,
    pace: Option<(Duration, Instant)>,
    end: Instant,
    status: &'static str,
    request: impl Fn() -> Arc<[u8]>,
) -> Vec<f64> {
    let mut latencies = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let mut next = pace.map(|(_, first)| first);
    loop {
        if let (Some(at), Some((pause, _))) = (next, pace) {
            tokio::time::sleep_until(at.into()).await;
            next = Some(at + pause);
        }
        let asked = Instant::now();
        if asked >= end {
            return latencies;
        }
        stream.write_all(&request()).await.expect("a connection");
        let mut filled = 0;
        let length = loop {
            let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
            assert!(read > 0, "the connection ended");
            filled += read;
            if let Some(length) = length_of(&buffer[..filled], status) {
                break length;
            }
        };
        while filled < length {
            let read = stream.read(&mut buffer).await.expect("an answer");
            assert!(read > 0, "the connection ended");
            filled += read;
        }
        latencies.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
}

/// How long an answer is, once its head is there.
fn length_of(answer: &[u8], status: &str) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).expect("a head");
    let given = text.strip_prefix("HTTP/1.1 ").expect("an answer");
    assert!(
        given.starts_with(status),
        "{}",
        String::from_utf8_lossy(answer)
    );
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().expect("a length"))
    });
    Some(
        head + 4
            + if status == "304" {
                0
            } else {
                length.expect("a length")
            },
    )
}
