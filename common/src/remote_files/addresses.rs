//! Which addresses remote files may come from: public ones, and what the operator opens.
//!
//! Whoever submits a build chooses the URL, and the master fetches it from inside of the network. So the
//! address that is connected to counts, not the name, and each redirect is a new question.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Networks of IPv4 that are no part of the public internet (IANA's special-purpose registry), and
/// one public address where a cloud tells its machines their credentials.
const PRIVATE_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// What of the public IPv6 addresses (2000::/3) is none: tunnels that others end, and examples.
const PRIVATE_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// What `remote_files_allow` opens beside public addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedSources(Vec<AllowedSource>);

/// One entry of `remote_files_allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum AllowedSource {
    /// All addresses.
    Any,
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
    /// Whatever addresses this name has.
    Host(String),
}

/// An entry of `remote_files_allow` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a host, an address, a network such as 10.0.0.0/8, nor \"any\"")]
pub struct UnknownSource(String);

impl UnknownSource {
    /// The entry.
    #[must_use]
    pub fn entry(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl AllowedSources {
    /// Reads the entries of the setting.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, UnknownSource> {
        let parsed = entries.iter().map(|entry| entry.as_ref().parse());
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether files may come from this address, which the host has.
    #[must_use]
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        is_public(address) || self.0.iter().any(|source| source.covers(host, address))
    }
}

impl AllowedSource {
    fn covers(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Host(name) => name.eq_ignore_ascii_case(host.trim_end_matches('.')),
            Self::Network(network, bits) => {
                is_within(*network, *bits, address)
                    || embedded_v4(address)
                        .is_some_and(|inner| is_within(*network, *bits, inner.into()))
            }
        }
    }
}

impl FromStr for AllowedSource {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        let unknown = || UnknownSource(text.to_owned());
        if text.eq_ignore_ascii_case("any") {
            return Ok(Self::Any);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let unbracketed = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
        if let Ok(address) = unbracketed.unwrap_or(address).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| unknown()))?;
            return match bits <= most {
                true => Ok(Self::Network(address, bits)),
                false => Err(unknown()),
            };
        }
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_host = bits.is_none() && !text.is_empty() && text.bytes().all(is_plain);
        match is_host {
            true => Ok(Self::Host(text.trim_end_matches('.').to_owned())),
            false => Err(unknown()),
        }
    }
}

/// Whether an address is one of the public internet, so that nobody gets further through us than alone.
#[must_use]
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !PRIVATE_V4
            .iter()
            .any(|(network, bits)| is_within((*network).into(), *bits, address.into())),
        IpAddr::V6(v6) => match embedded_v4(address) {
            Some(inner) => is_public(inner.into()),
            None => {
                let in_any =
                    |(network, bits): &(Ipv6Addr, u8)| is_within((*network).into(), *bits, address);
                v6.segments()[0] & 0xe000 == 0x2000 && !PRIVATE_V6.iter().any(in_any)
            }
        },
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 and 6to4.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let from = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(from(high, low))
        }
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

fn is_within(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u32::from(network).into(), u32::from(address).into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (u128::from(network), u128::from(address), 128)
        }
        _ => return false,
    };
    let dropped = u32::from(width - bits.min(width));
    // All bits dropped is a network of everything.
    network.checked_shr(dropped).unwrap_or(0) == address.checked_shr(dropped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.255.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(address(private)), "{private}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address(public)), "{public}");
        }
    }

    #[test]
    fn the_setting_opens_what_it_names_and_no_more() {
        let allowed = |entries: &[&str], host: &str, at: &str| {
            let allowed = AllowedSources::parse(entries).unwrap();
            allowed.allows(host, address(at))
        };
        assert!(!allowed(&[], "files", "10.0.0.1"));
        assert!(allowed(&[], "files", "1.1.1.1"));
        assert!(allowed(&["10.0.0.0/8"], "x", "10.9.9.9"));
        assert!(allowed(&["10.0.0.0/8"], "x", "::ffff:10.9.9.9"));
        assert!(!allowed(&["10.0.0.0/8"], "x", "127.0.0.1"));
        assert!(allowed(&["127.0.0.1"], "x", "127.0.0.1"));
        assert!(!allowed(&["127.0.0.1"], "x", "127.0.0.2"));
        assert!(allowed(&["fd00::/8"], "x", "fd12::1"));
        assert!(!allowed(&["fd00::/8"], "x", "fe80::1"));
        assert!(allowed(&["[::1]"], "x", "::1"));
        assert!(allowed(&["files.corp"], "Files.Corp.", "192.168.0.1"));
        assert!(!allowed(&["files.corp"], "evil.files.corp", "192.168.0.1"));
        assert!(allowed(&["any"], "x", "169.254.169.254"));
        assert!(allowed(&["0.0.0.0/0"], "x", "127.0.0.1"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "a/8",
            "http://a",
            "a:80",
            "fd00::/129",
        ] {
            let error = AllowedSources::parse(&[wrong]).unwrap_err();
            assert!(error.to_string().contains("nor \"any\""), "{wrong}");
        }
    }
}
