//! Who has a port of this machine, and which port is free.

use crate::text::printable::plain;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

/// Where the system lists its sockets.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// The ports that the system takes for connections of any program.
const CONNECTION_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// How many ports are tried before the system chooses.
const TRIES: u16 = 200;

/// What has a port. Shown, it is the beginning of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    state: State,
    /// Its process, where this user may see it: the id, and how its program calls itself.
    process: Option<(u32, String)>,
    user: u32,
}

/// The likelier cause comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Listening,
    Connected,
    /// Nobody has it any more, but late packets of the connection may come.
    Waiting,
}

impl Holder {
    /// What keeps this user from listening on an address, as far as the system says it.
    #[must_use]
    pub fn of(address: SocketAddr) -> Option<Self> {
        let found = TABLES.iter().filter_map(|table| fs::File::open(table).ok());
        let lines = found.flat_map(|table| BufReader::new(table).lines().map_while(Result::ok));
        let sockets = lines.filter_map(|line| Socket::parse(&line));
        let socket = sockets
            .filter(|socket| socket.is_in_the_way_of(address))
            .min_by_key(|socket| socket.state)?;
        Some(Self {
            state: socket.state,
            process: owner(socket.inode),
            user: socket.user,
        })
    }

    /// Whether it is a program of ours.
    #[must_use]
    pub fn is_clusterrunner(&self) -> bool {
        let name = self.process.as_ref().map_or("", |(_, name)| name);
        name == "clusterrunner" || name.starts_with("clusterrunner-")
    }

    /// The id of its process, where this user may see it.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(|(id, _)| *id)
    }

    /// Whether it may be gone in a moment.
    #[must_use]
    pub fn may_go(&self) -> bool {
        self.state != State::Listening || self.is_clusterrunner()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.state == State::Waiting {
            return f.write_str(
                "A connection that another program had from this port is over, and the system frees the port within \
                 a minute",
            );
        }
        match &self.process {
            Some((id, name)) => write!(f, "Process {id} ({})", plain(name))?,
            None => write!(f, "A process of {}", user_name(self.user))?,
        }
        f.write_str(match self.state {
            State::Listening => " listens there",
            State::Connected | State::Waiting => " has a connection from this port",
        })
    }
}

/// A line of the system's list.
struct Socket {
    address: SocketAddr,
    state: State,
    user: u32,
    inode: u64,
}

impl Socket {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let address = socket_address(fields.nth(1)?)?;
        let state = match u8::from_str_radix(fields.nth(1)?, 16).ok()? {
            0x0a => State::Listening,
            0x06 => State::Waiting,
            _ => State::Connected,
        };
        let user = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Self {
            address,
            state,
            user,
            inode,
        })
    }

    fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        let (own, wanted_ip) = (self.address.ip(), wanted.ip().to_canonical());
        let is_same = own == wanted_ip || own.is_unspecified() || wanted_ip.is_unspecified();
        self.address.port() == wanted.port() && is_same
    }
}

/// Reads `0100007F:A7F8`: words of four bytes as this machine writes them, and a port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for begin in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(begin..begin + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(Ipv4Addr::from(bytes)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has a socket, among those that this user may look into.
fn owner(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let has_it = |directory: &Path| {
        let descriptors = fs::read_dir(directory.join("fd")).into_iter().flatten();
        let mut links = descriptors
            .flatten()
            .map(|entry| fs::read_link(entry.path()));
        links.any(|link| link.is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, entry.path()))
    });
    let (id, directory) = numbers.find(|(_, directory)| has_it(directory))?;
    let name = fs::read(directory.join("comm")).unwrap_or_default();
    Some((id, String::from_utf8_lossy(&name).trim_end().to_owned()))
}

fn user_name(user: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    match name {
        Some(name) => format!("user {}", plain(&name)),
        None => format!("user {user}"),
    }
}

/// A port on which this user can listen now. Where the wanted one is among those that the system takes for connections,
/// one that is not.
#[must_use]
pub fn free_port(ip: IpAddr, wanted: u16) -> Option<u16> {
    let taken_by_system = connection_ports();
    let is_for_connections =
        |port: u16| taken_by_system.is_some_and(|(first, last)| (first..=last).contains(&port));
    let first = match is_for_connections(wanted) || wanted < 1024 {
        true => 20_000 + wanted % 10_000,
        false => wanted.saturating_add(1),
    };
    let is_free = |port: u16| TcpListener::bind((ip, port)).is_ok();
    let mut near = (first..first.saturating_add(TRIES)).filter(|port| !is_for_connections(*port));
    near.find(|port| is_free(*port)).or_else(|| {
        let any = TcpListener::bind((ip, 0)).ok()?;
        Some(any.local_addr().ok()?.port())
    })
}

fn connection_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string(CONNECTION_PORTS).ok()?;
    let mut numbers = text.split_whitespace();
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_listener_is_named_by_its_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let taken = listener.local_addr().unwrap();
            let holder = Holder::of(taken).unwrap();
            assert!(!holder.may_go(), "{holder:?}");
            let shown = holder.to_string();
            let expected = format!("Process {} (", std::process::id());
            assert!(shown.starts_with(&expected), "{shown}");
            assert!(shown.ends_with(") listens there"), "{shown}");
            let free = free_port(taken.ip(), taken.port()).unwrap();
            assert_ne!(free, taken.port());
            TcpListener::bind((taken.ip(), free)).unwrap();
        }
    }

    #[test]
    fn connections_hold_a_port_also_after_their_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (there, _) = listener.accept().unwrap();
        let port = here.local_addr().unwrap();
        let holder = Holder::of(port).unwrap();
        assert!(holder.may_go(), "{holder:?}");
        assert!(
            holder
                .to_string()
                .ends_with("has a connection from this port")
        );
        drop(here);
        drop(there);
        let holder = loop {
            let holder = Holder::of(port).unwrap();
            if holder.state == State::Waiting {
                break holder;
            }
            std::thread::yield_now();
        };
        assert!(holder.to_string().contains("within a minute"), "{holder}");
    }

    #[test]
    fn lines_of_the_system_are_read() {
        let line = "  1: 0100007F:A7F8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 x";
        let socket = Socket::parse(line).unwrap();
        let expected = if cfg!(target_endian = "little") {
            "127.0.0.1:43000"
        } else {
            "1.0.0.127:43000"
        };
        assert_eq!(socket.address, expected.parse().unwrap());
        assert_eq!((socket.user, socket.inode), (1000, 4711));
        let mapped = socket_address("0000000000000000FFFF00000100007F:0050");
        if cfg!(target_endian = "little") {
            assert_eq!(mapped, Some("127.0.0.1:80".parse().unwrap()));
        }
        for wrong in ["", "x:y", "0100007F", "01:0050", "0100007F:A7F8G"] {
            assert_eq!(socket_address(wrong), None, "{wrong}");
        }
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert!(Socket::parse(head).is_none());
    }
}
