//! The parts of a repository's address: who, where, and which path.

use super::url_error::{GitUrlError, forbidden_character, malformed};

/// The part up to the first slash, and the decoded path from there on.
pub(super) fn split_authority<'t>(
    text: &str,
    rest: &'t str,
) -> Result<(&'t str, String), GitUrlError> {
    let slash = rest
        .find('/')
        .ok_or_else(|| malformed(text, "it has no path"))?;
    let path = percent_decoded(&rest[slash..])
        .filter(|path| path.len() > 1)
        .ok_or_else(|| malformed(text, "it has no usable path"))?;
    if forbidden_character(&path).is_some() || path.starts_with("/-") {
        return Err(malformed(
            text,
            "its path begins with \"-\" or contains a quote or control character",
        ));
    }
    Ok((&rest[..slash], path))
}

/// `[user@]host[:port]`; an IPv6 host stands in brackets and is returned without them.
pub(super) fn parse_authority<'t>(
    text: &str,
    authority: &'t str,
) -> Result<(Option<&'t str>, &'t str, Option<u16>), GitUrlError> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = if let Some(inner) = host.strip_prefix('[') {
        let (address, after) = inner
            .split_once(']')
            .filter(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
            .ok_or_else(|| malformed(text, "it has no usable host"))?;
        (address, after.strip_prefix(':'))
    } else {
        match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        }
    };
    let host_is_plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    if host.is_empty() || host.starts_with('-') || !host_is_plain {
        return Err(malformed(text, "it has no usable host"));
    }
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(
            port.parse()
                .map_err(|_| malformed(text, "its port is not a number up to 65535"))?,
        ),
    };
    let user_is_plain = |user: &str| {
        !user.is_empty()
            && !user.starts_with('-')
            && user
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-+~:".contains(&byte))
    };
    if user.is_some_and(|user| !user_is_plain(user)) {
        return Err(malformed(
            text,
            "its user name contains a character that can not be used",
        ));
    }
    Ok((user, host, port))
}

/// `user@host:path`, where the colon comes before any slash.
pub(super) fn split_scp(text: &str) -> Option<(&str, &str)> {
    let after_brackets = match (text.find('['), text.find(']')) {
        (Some(open), Some(close)) if open < close => close,
        _ => 0,
    };
    let colon = after_brackets + text[after_brackets..].find(':')?;
    let (host, path) = (&text[..colon], &text[colon + 1..]);
    (!host.contains('/')).then_some((host, path))
}

pub(super) fn destination(user: Option<&str>, host: &str) -> String {
    user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"))
}

pub(super) fn host_of(destination: &str) -> &str {
    destination
        .rsplit_once('@')
        .map_or(destination, |(_, host)| host)
}

/// Where the path begins: at its slash, or after the colon of `user@host:path`.
pub(super) fn path_start(address: &str) -> usize {
    if let Some(scheme) = address.find("://") {
        let authority = scheme + 3;
        address[authority..]
            .find('/')
            .map_or(address.len(), |slash| authority + slash)
    } else {
        split_scp(address).map_or(0, |(host, _)| host.len() + 1)
    }
}

/// `None` for an escape that is not two hexadecimal digits, or if the outcome is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            let mut value = [0];
            hex::decode_to_slice(pair, &mut value).ok()?;
            decoded.extend(value);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}
