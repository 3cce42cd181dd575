//! What may stand where a host's name or address is meant.

use std::net::Ipv6Addr;

/// Whether it is a host's name, an IPv4 address, or an IPv6 address in brackets. Nothing else may become part of
/// a URL: a backslash, for one, counts as a slash there, and what follows would be a path.
#[must_use]
pub fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_part = |part: &str| {
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_right)
    };
    // One dot at the end says that the name is whole.
    text.strip_suffix('.')
        .unwrap_or(text)
        .split('.')
        .all(is_part)
}

/// Whether it is a host and a port, `host:port`.
#[must_use]
pub fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        is_host(host) && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_ports_are_known_and_nothing_else_is() {
        for right in [
            "a:1",
            "build-1.example.com:43001",
            "my_host.:65535",
            "127.0.0.1:80",
            "[::1]:43001",
            "[fe80::a1]:1",
        ] {
            assert!(is_host_and_port(right), "{right}");
        }
        for wrong in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "a..b:1",
            ".:1",
            "::1:1",
            "[::1:1",
            "[x]:1",
            "[::1%eth0]:1",
            "a/b:1",
            "a?b:1",
            "a#b:1",
            "b@a:1",
            "a%2f:1",
            "a:1/..",
            "http://a:1",
            "a\n:1",
            "ä:1",
            r"victim:43001\..\v1\kill?:1",
            r"a\..\:1",
        ] {
            assert!(!is_host_and_port(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_url_of_it_leads_there(host in r"[a-z0-9\\./@?#%\[\]: _-]{1,12}", port in 1..=u16::MAX) {
            let address = format!("{host}:{port}");
            if is_host_and_port(&address) {
                let url = reqwest::Url::parse(&format!("http://{address}/v1/kill"));
                // Numbers that are no IPv4 address are refused there.
                if let Ok(url) = url {
                    prop_assert_eq!(url.path(), "/v1/kill");
                    prop_assert_eq!(url.port_or_known_default(), Some(port));
                    prop_assert!(url.username().is_empty() && url.query().is_none());
                }
            }
        }
    }
}
