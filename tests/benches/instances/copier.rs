//! The floor of any proxy: a process that takes connections and copies bytes both ways, without a look at them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// What makes this benchmark be that process. The address that it leads to follows.
pub(crate) const PROGRAM: &str = "--copier";

/// That process; it ends when this value is dropped.
pub(crate) struct Copier {
    process: Child,
    /// `host:port`.
    pub(crate) address: String,
}

impl Copier {
    /// Starts the process; its connections lead to `target`.
    pub(crate) fn to(target: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([PROGRAM, target])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut address = String::new();
        said.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        Self { process, address }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Copies until the process is killed, on as many threads as the master has.
pub(crate) fn copy(target: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let target = target.to_owned();
            tokio::spawn(async move {
                let Ok(mut to) = TcpStream::connect(target).await else {
                    return;
                };
                for stream in [&from, &to] {
                    stream.set_nodelay(true).ok();
                }
                copy_bidirectional(&mut from, &mut to).await.ok();
            });
        }
    });
}
