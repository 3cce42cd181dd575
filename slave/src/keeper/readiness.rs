//! The port of an instance: choosing one, and finding out whether the instance answers there.

use super::tree::descendants;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::process::ports::Holder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

/// Between two tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long a connection has to stay open.
const OPEN: Duration = Duration::from_millis(50);

/// How long a try may take.
const TRY: Duration = Duration::from_secs(2);

/// A port in this range that nobody has. Where each begins to look is random, so that slaves on one machine do not all
/// take the same.
pub(super) fn free_port((first, last): (u16, u16)) -> Option<u16> {
    let number = u32::from(last.saturating_sub(first)) + 1;
    let begin = u32::from_be_bytes(random_bytes()) % number;
    let ports = (0..number).map(|step| u32::from(first) + (begin + step) % number);
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    ports.find(|&port| {
        // It is not ours before the instance has it; if another takes it first, the next start gets another one.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    })
}

/// Waits until something answers at the port on this host, as others call it. `is_hidden` is called once if it answers
/// only on the loopback address, where no other machine reaches it.
pub(super) async fn answers(host: &str, port: u16, is_below: bool, is_hidden: impl Fn()) {
    let mut pause = FIRST_PAUSE;
    let mut was_hidden = false;
    loop {
        let addresses = addresses(host, port).await;
        let is_remote = !addresses.iter().any(|address| address.ip().is_loopback());
        for address in addresses {
            let connected = timeout(TRY, TcpStream::connect(address)).await;
            let Ok(Ok(stream)) = connected else {
                continue;
            };
            let is_it = match is_below {
                true => is_ours(address),
                false => stays_open(stream).await,
            };
            if is_it {
                return;
            }
        }
        // One that only begins to listen is not told so: the next look finds it.
        if is_remote
            && is_below
            && pause == LONGEST_PAUSE
            && !was_hidden
            && listens_hidden(port).await
        {
            was_hidden = true;
            is_hidden();
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn listens_hidden(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connected = timeout(TRY, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_))) && is_ours(address)
}

async fn addresses(host: &str, port: u16) -> Vec<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        // Others know it by this name, but not this machine.
        Err(_) => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
    }
}

/// Whether what a connection leads to is there: what publishes a container's port takes connections before the program in
/// the container does, and closes them at once.
async fn stays_open(mut stream: TcpStream) -> bool {
    let closed = timeout(OPEN, stream.read(&mut [0])).await;
    !matches!(closed, Ok(Ok(0) | Err(_)))
}

/// Whether it is not some other program that listens there, as far as can be seen.
fn is_ours(address: SocketAddr) -> bool {
    let holder = Holder::of(address).and_then(|holder| holder.process_id());
    holder.is_none_or(|id| descendants().contains(&id.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    /// Nothing can be reached there, and that is known at once.
    const NOWHERE: &str = "255.255.255.255";

    #[tokio::test]
    async fn a_program_that_only_its_own_machine_reaches_is_told_once() {
        let port = free_port((20_000, 29_999)).unwrap();
        let mut server = Command::new("python3")
            .args([
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (tell, told) = mpsc::channel();
        let is_hidden = || tell.send(()).unwrap();
        let answers = answers(NOWHERE, port, true, is_hidden);
        tokio::pin!(answers);
        while told.try_recv().is_err() {
            let look = timeout(OPEN, &mut answers).await;
            look.expect_err("nothing answers");
        }
        timeout(LONGEST_PAUSE * 3, &mut answers).await.unwrap_err();
        told.try_recv().unwrap_err();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}
