//! Which addresses a join token is for: `host:port` or `host`, where `*` stands for any characters.

use clusterrunner_common::text::path_pattern::fits;
use clusterrunner_common::text::slave_address::host_and_port;

/// How many characters a pattern may have.
const LONGEST: usize = 255;

/// Whether a text is a pattern.
#[must_use]
pub(crate) fn is_pattern(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*.-_:[]".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_plain)
}

/// Whether a slave with this address is meant. Without a port the pattern is for all ports; case does not matter, nor whether
/// the slave polls. Neither host nor port has a slash, so a pattern of paths does.
#[must_use]
pub(crate) fn matches(pattern: &str, address: &str) -> bool {
    let (pattern, address) = (pattern.to_ascii_lowercase(), address.to_ascii_lowercase());
    let address = host_and_port(&address);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    fits(&pattern, address) || fits(&pattern, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_whole_addresses() {
        for (pattern, address, expected) in [
            ("farm-1", "farm-1:43001", true),
            ("farm-1:43001", "farm-1:43001", true),
            ("farm-1:43001", "farm-1:43002", false),
            ("farm-1", "farm-12:43001", false),
            ("farm-1", "not-farm-1:43001", false),
            ("farm-*", "farm-12:43001", true),
            ("FARM-*", "farm-12:43001", true),
            ("farm-*:43001", "farm-12:43002", false),
            ("10.0.0.*", "10.0.0.7:43001", true),
            ("10.0.0.*", "10.0.1.7:43001", false),
            ("*.farm.example", "a.b.farm.example:1", true),
            ("*.farm.example", "farm.example.org:1", false),
            ("a*b*c", "a-b-b-c:1", true),
            ("a*b*c", "a-c-b:1", false),
            ("a*a", "a:1", false),
            ("*", "anything:1", true),
            ("[fd00::*]", "[fd00::7]:43001", true),
            ("farm-1", "poll://farm-1:43001", true),
            ("farm-1", "poll://farm-2:43001", false),
        ] {
            assert_eq!(matches(pattern, address), expected, "{pattern} {address}");
        }
        let stars = "*a".repeat(100);
        assert!(!matches(&stars, &format!("{}:1", "a".repeat(99) + "b")));
    }

    #[test]
    fn what_no_address_has_is_no_pattern() {
        for good in ["farm-1", "10.0.0.*", "[fd00::*]:43001", "a_b"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "http://a", "a\n", "ä", &"a".repeat(256)] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
