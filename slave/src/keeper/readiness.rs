//! The port of an instance: choosing one, and finding out whether the instance answers there.

use super::tree::descendants;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::process::ports::Holder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::{self, net::UnixListener};
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

/// The port of an instance. No other keeper on this machine takes the port while this value lives.
#[derive(Debug)]
pub(super) struct Port {
    /// Its number.
    pub(super) number: u16,
    _claim: UnixListener,
}

/// A port in this range that nobody has. Where each keeper begins to look is random, so that slaves on one machine do not
/// all take the same.
pub(super) fn free_port((first, last): (u16, u16)) -> Option<Port> {
    let number = u32::from(last.saturating_sub(first)) + 1;
    let begin = u32::from_be_bytes(random_bytes()) % number;
    let ports = (0..number).map(|step| u32::from(first) + (begin + step) % number);
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    ports.find_map(|number| {
        let _claim = claim(number)?;
        // Another program may still take the port before the instance has it: then the next start gets another one.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
        Some(Port { number, _claim })
    })
}

/// An abstract socket with the port in its name: only one process of a network namespace can have that, and the name is
/// free again when the process has ended, however that comes about.
fn claim(port: u16) -> Option<UnixListener> {
    let name = format!("clusterrunner-instance-port-{port}");
    let name = unix::net::SocketAddr::from_abstract_name(name).ok()?;
    UnixListener::bind_addr(&name).ok()
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
    use std::collections::BTreeSet;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    /// Nothing can be reached there, and that is known at once.
    const NOWHERE: &str = "255.255.255.255";

    #[test]
    fn a_port_is_given_to_one_instance_at_a_time() {
        // Nobody listens at the ports yet, as where instances are started together.
        let range = (20_000, 29_999);
        let given = Vec::from_iter((0..100).map(|_| free_port(range).unwrap()));
        let numbers = BTreeSet::from_iter(given.iter().map(|port| port.number));
        assert_eq!(numbers.len(), given.len());
        let one = given[0].number;
        assert!(free_port((one, one)).is_none());
        drop(given);
        assert_eq!(free_port((one, one)).unwrap().number, one);
    }

    #[tokio::test]
    async fn a_program_that_only_its_own_machine_reaches_is_told_once() {
        let port = free_port((20_000, 29_999)).unwrap().number;
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
