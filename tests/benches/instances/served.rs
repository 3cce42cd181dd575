//! The program of the instances: it answers each request with 1 KiB.

use axum::Router;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What makes this benchmark be the program.
pub(crate) const PROGRAM: &str = "--program";

/// Pause between two looks for an answer.
const LOOK: Duration = Duration::from_millis(1);

/// Serves at `PORT`.
pub(crate) fn serve() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let body = || async { "x".repeat(1 << 10) };
        let router = Router::new().fallback(body);
        axum::serve(listener.await.unwrap(), router).await.unwrap();
    });
}

/// Starts the program alone; milliseconds until it answers.
pub(crate) async fn alone() -> f64 {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let began = Instant::now();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .arg(PROGRAM)
        .env("PORT", address.port().to_string())
        .spawn()
        .unwrap();
    while answer(address).await.is_none() {
        tokio::time::sleep(LOOK).await;
    }
    let took = began.elapsed().as_secs_f64() * 1000.0;
    program.kill().unwrap();
    program.wait().unwrap();
    took
}

async fn answer(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = "GET / HTTP/1.1\r\nHost: it\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.read_u8().await.ok().map(drop)
}
