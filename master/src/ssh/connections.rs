//! How many SSH connections are open: each takes a file and some memory of the master, also of strangers.

use clusterrunner_common::lock::lock;
use clusterrunner_common::process::open_files;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// How many are open at a time, where the process may have files enough.
const IN_ALL: usize = 256;

/// How many of them nobody has logged in on yet.
const STRANGE: usize = 64;

/// How many come from one address.
const OF_AN_ADDRESS: usize = 32;

/// The open connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    strange: usize,
    of_addresses: HashMap<IpAddr, usize>,
}

/// A place for a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    address: IpAddr,
    is_strange: bool,
    open: Arc<Mutex<Open>>,
}

impl Default for Connections {
    /// No more than an eighth of the files that this process may have.
    fn default() -> Self {
        let files = open_files::limit().unwrap_or(usize::MAX);
        Self {
            open: Arc::default(),
            most: (files / 8).clamp(1, IN_ALL),
        }
    }
}

impl Connections {
    /// A place for a connection from an address, if there is one.
    pub(super) fn place(&self, address: IpAddr) -> Option<ConnectionPlace> {
        // A socket that listens for IPv6, too, has other names for addresses of IPv4.
        let address = address.to_canonical();
        let mut open = lock(&self.open);
        let of_address = open.of_addresses.get(&address).copied().unwrap_or_default();
        if open.all >= self.most || open.strange >= STRANGE || of_address >= OF_AN_ADDRESS {
            return None;
        }
        open.all += 1;
        open.strange += 1;
        open.of_addresses.insert(address, of_address + 1);
        Some(ConnectionPlace {
            address,
            is_strange: true,
            open: Arc::clone(&self.open),
        })
    }
}

impl ConnectionPlace {
    /// Where the connection comes from.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Somebody has logged in.
    pub(super) fn is_known(&mut self) {
        if std::mem::take(&mut self.is_strange) {
            lock(&self.open).strange -= 1;
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if self.is_strange {
            open.strange -= 1;
        }
        if let Some(number) = open.of_addresses.get_mut(&self.address) {
            *number -= 1;
            if *number == 0 {
                open.of_addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn all(connections: &Connections, last: u8) -> Vec<ConnectionPlace> {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        std::iter::from_fn(|| connections.place(address)).collect()
    }

    #[test]
    fn connections_are_bounded_for_each_address_strangers_and_in_all() {
        let connections = Connections {
            most: 80,
            ..Connections::default()
        };
        let mut places = all(&connections, 1);
        assert_eq!(places.len(), OF_AN_ADDRESS);
        // The same host at a socket that listens for IPv6, too.
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert!(connections.place(mapped).is_none());
        places.extend(all(&connections, 2));
        assert_eq!(places.len(), STRANGE);
        assert!(all(&connections, 3).is_empty());
        for place in &mut places {
            place.is_known();
            place.is_known();
        }
        places.extend(all(&connections, 3));
        assert_eq!(places.len(), 80);
        drop(places);
        let open = lock(&connections.open);
        assert_eq!((open.all, open.strange), (0, 0));
        assert!(open.of_addresses.is_empty());
    }
}
