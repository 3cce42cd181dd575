//! The address of a slave: `host:port` where its master calls it, and `poll://host:port` where it can not be called and
//! polls its master for calls instead. Of that one host and port are but a name.

use super::host_name::is_host_and_port;

/// The scheme of the addresses of slaves that poll.
pub const POLL: &str = "poll";

/// What stands before the name of one.
const PREFIX: &str = "poll://";

/// Whether it is the address of a slave.
#[must_use]
pub fn is_slave_address(text: &str) -> bool {
    is_host_and_port(host_and_port(text))
}

/// Whether the slave at this address polls for its calls.
#[must_use]
pub fn polls(address: &str) -> bool {
    address.starts_with(PREFIX)
}

/// The address without the word that it polls.
#[must_use]
pub fn host_and_port(address: &str) -> &str {
    address.strip_prefix(PREFIX).unwrap_or(address)
}

/// The address of a slave with this name that polls.
#[must_use]
pub fn of_polling(host_and_port: &str) -> String {
    format!("{PREFIX}{host_and_port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whether_its_slave_is_called() {
        for (address, is_one, polling) in [
            ("farm-1:43001", true, false),
            ("poll://laptop:43001", true, true),
            ("poll://[fe80::a1]:1", true, true),
            ("poll://", false, true),
            ("poll://poll://a:1", false, true),
            ("POLL://a:1", false, false),
            ("poll:a:1", false, false),
            ("http://a:1", false, false),
            ("poll://a:1/v1", false, true),
            (r"poll://a:1\..", false, true),
        ] {
            assert_eq!(is_slave_address(address), is_one, "{address}");
            assert_eq!(polls(address), polling, "{address}");
        }
        assert_eq!(host_and_port(&of_polling("laptop:43001")), "laptop:43001");
    }
}
