//! Whether a master is on this machine.

use std::net::{IpAddr, UdpSocket};

/// Whether no address of the master is one of this machine. A name that nobody knows is left to those who call it.
pub(in crate::command) async fn is_elsewhere(master: &str) -> bool {
    let address = master.split_once("://").map_or(master, |(_, rest)| rest);
    let Ok(found) = tokio::net::lookup_host(address).await else {
        return false;
    };
    let mut any = false;
    for address in found {
        any = true;
        if is_here(address.ip()) {
            return false;
        }
    }
    any
}

/// A socket can only be bound to an address that the machine has. Nothing is sent.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_of_other_machines_are_elsewhere() {
        for (master, expected) in [
            ("127.0.0.1:43000", false),
            ("https://localhost:43000", false),
            ("127.3.4.5:43000", false),
            ("[::1]:43000", false),
            // For documentation: no machine has them.
            ("192.0.2.7:43000", true),
            ("https://[2001:db8::7]:43000", true),
            ("no port", false),
        ] {
            assert_eq!(is_elsewhere(master).await, expected, "{master}");
        }
    }
}
