//! Ports for what a test starts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first of so many neighbouring ports of an address on which nobody listens. Below those that the
/// system gives to outgoing connections, so that they stay free until they are used.
pub(crate) fn free_ports(address: &str, number: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin at different ones.
    let start = u16::try_from(std::process::id() % 1000).unwrap() * 10;
    loop {
        let taken = TAKEN.fetch_add(number, Ordering::Relaxed);
        let first = 20_000 + start.wrapping_add(taken) % 10_000;
        if (first..first + number).all(|port| TcpListener::bind((address, port)).is_ok()) {
            return first;
        }
    }
}
