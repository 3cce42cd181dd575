//! What becomes of the head of a request on its way to a program, and of the head of its answer on the way back. Pure.

use axum::http::header::{
    CONNECTION, COOKIE, EXPECT, HOST, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, request};
use clusterrunner_common::auth::gate::SESSION_COOKIE;
use std::net::IpAddr;

/// What is in front of the key of an instance.
const TOP: &str = "/user/";

/// How many digits a key has.
const KEY_DIGITS: usize = 32;

/// Headers that are meant for the next connection alone, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// A path below `/user/<key>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'p> {
    /// The key of an instance.
    pub(super) key: &'p str,
    /// `/user/<key>`.
    pub(super) prefix: &'p str,
}

impl<'p> Asked<'p> {
    /// A path of an instance; none for all other paths.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let after = path.strip_prefix(TOP)?;
        let key = &after[..after.find('/').unwrap_or(after.len())];
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_key = key.len() == KEY_DIGITS && key.bytes().all(is_digit);
        is_key.then(|| Self {
            key,
            prefix: &path[..TOP.len() + KEY_DIGITS],
        })
    }
}

/// The user's side of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// The address that the request came from.
    pub(super) peer: Option<IpAddr>,
    /// Whether the request came by TLS.
    pub(super) is_tls: bool,
}

/// What the program is asked instead of the user's request. `address` is `host:port` of the program, and `cut` the prefix
/// that the program does not see. None where the rest of the path is none, which no request of the HTTP library leads to.
pub(super) fn outgoing(
    mut parts: request::Parts,
    address: &str,
    cut: Option<&str>,
    side: Side,
) -> Option<request::Parts> {
    let path = parts.uri.path();
    let path = match cut.map(|prefix| path.strip_prefix(prefix)) {
        Some(rest) => rest?,
        None => path,
    };
    let path = if path.is_empty() { "/" } else { path };
    let query = parts.uri.query();
    let path = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let path = PathAndQuery::try_from(path).ok()?;
    let host = parts.headers.get(HOST).cloned();
    let upgrade = parts.headers.get(UPGRADE).cloned();
    let upgrade = upgrade.filter(|_| names(&parts.headers, "upgrade"));
    let headers = &mut parts.headers;
    drop_hop_by_hop(headers);
    drop_session(headers);
    // The body is asked for here.
    headers.remove(EXPECT);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    headers.remove(FORWARDED_PREFIX);
    let peer = side.peer.and_then(|peer| peer.to_string().try_into().ok());
    if let Some(peer) = peer {
        headers.append(FORWARDED_FOR, peer);
    }
    match host {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => {
            headers.remove(FORWARDED_HOST);
            headers.insert(HOST, address.try_into().ok()?)
        }
    };
    let scheme = if side.is_tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(prefix) = cut {
        headers.insert(FORWARDED_PREFIX, prefix.try_into().ok()?);
    }
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    Some(parts)
}

/// Makes the head of a program's answer one for the user. `cut` is the prefix that the program did not see: redirects
/// to a path of the program's own lead below it.
pub(super) fn incoming(headers: &mut HeaderMap, is_upgrade: bool, cut: Option<&str>) {
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| is_upgrade);
    drop_hop_by_hop(headers);
    drop_new_session(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    let Some(prefix) = cut else {
        return;
    };
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    // `//host` is another host.
    let own = location.filter(|to| to.starts_with('/') && !to.starts_with("//"));
    let below = own.and_then(|to| HeaderValue::from_str(&format!("{prefix}{to}")).ok());
    if let Some(below) = below {
        headers.insert(LOCATION, below);
    }
}

/// Takes the cookie out by which a user is signed in to the farm's page: browsers send it to all that has the farm's name, and
/// who runs the program is not to have it.
fn drop_session(headers: &mut HeaderMap) {
    let is_session = |cookie: &[u8]| name_of(cookie) == SESSION_COOKIE.as_bytes();
    let values = headers.get_all(COOKIE).into_iter();
    let mut cookies = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    if !cookies.any(is_session) {
        return;
    }
    let values = headers.get_all(COOKIE).into_iter();
    let cookies = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let others: Vec<&[u8]> = cookies
        .filter(|cookie| !is_session(cookie))
        .map(<[u8]>::trim_ascii)
        .collect();
    // What is left is a part of what was a value.
    let others = HeaderValue::from_bytes(&others.join(&b"; "[..])).ok();
    headers.remove(COOKIE);
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        headers.insert(COOKIE, others);
    }
}

/// Takes out what would sign a user in to the farm's page as somebody else.
fn drop_new_session(headers: &mut HeaderMap) {
    let values: Vec<HeaderValue> = headers.get_all(SET_COOKIE).into_iter().cloned().collect();
    let is_session = |value: &HeaderValue| name_of(value.as_bytes()) == SESSION_COOKIE.as_bytes();
    if values.iter().any(is_session) {
        headers.remove(SET_COOKIE);
        for other in values.into_iter().filter(|value| !is_session(value)) {
            headers.append(SET_COOKIE, other);
        }
    }
}

/// The name of a cookie.
fn name_of(cookie: &[u8]) -> &[u8] {
    let end = cookie.iter().position(|byte| *byte == b'=');
    cookie[..end.unwrap_or(cookie.len())].trim_ascii()
}

/// Whether `Connection` has this word.
fn names(headers: &HeaderMap, word: &str) -> bool {
    let values = headers.get_all(CONNECTION).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut words = texts.flat_map(|text| text.split(','));
    words.any(|one| one.trim().eq_ignore_ascii_case(word))
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let values = headers.get_all(CONNECTION).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let words = texts.flat_map(|text| text.split(','));
    let named = words.filter_map(|word| word.trim().parse().ok());
    // Most requests and answers have none of them, and to look is less than to remove.
    let always = headers.keys().filter(|name| HOP_BY_HOP.contains(name));
    let dropped: Vec<HeaderName> = named.chain(always.cloned()).collect();
    for name in dropped {
        // A request without its host is none, whatever its sender calls that.
        if name != HOST {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const SIDE: Side = Side {
        peer: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7))),
        is_tls: false,
    };

    fn parts(path: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn sent(path: &str, keeps_prefix: bool, headers: &[(&str, &str)]) -> request::Parts {
        let path = path.replace("KEY", KEY);
        let prefix = format!("/user/{KEY}");
        let cut = (!keeps_prefix).then_some(prefix.as_str());
        outgoing(parts(&path, headers), "slave:5000", cut, SIDE).unwrap()
    }

    #[test]
    fn paths_below_a_key_belong_to_an_instance() {
        for (path, is_asked) in [
            ("/user/KEY", true),
            ("/user/KEY/", true),
            ("/user/KEY/a//b", true),
            ("/user/KEYa/", false),
            ("/user/0123/", false),
            ("/users/KEY", false),
            ("//user/KEY", false),
            ("/", false),
        ] {
            let path = path.replace("KEY", KEY);
            let asked = Asked::of(&path);
            assert_eq!(asked.is_some(), is_asked, "{path}");
            let prefix = format!("/user/{KEY}");
            assert!(asked.is_none_or(|asked| asked.key == KEY && asked.prefix == prefix));
        }
        let upper = format!("/user/{}", KEY.to_uppercase());
        assert_eq!(Asked::of(&upper), None);
    }

    #[test]
    fn a_program_sees_its_own_paths_or_the_whole_ones() {
        for (path, cut) in [
            ("/user/KEY", "/"),
            ("/user/KEY/", "/"),
            ("/user/KEY/a%20b/?x=/y", "/a%20b/?x=/y"),
            ("/user/KEY?x", "/?x"),
            ("/user/KEY/a//b", "/a//b"),
        ] {
            let uri = sent(path, false, &[]).uri;
            assert_eq!(uri.to_string(), cut, "{path}");
            let uri = sent(path, true, &[]).uri;
            let whole = path.replace("KEY", KEY);
            assert_eq!(uri.path_and_query().unwrap().as_str(), whole);
        }
        // HTTP/1.0 needs no host, but the program's version does.
        assert_eq!(sent("/user/KEY", false, &[]).headers["host"], "slave:5000");
    }

    #[test]
    fn a_program_learns_where_a_request_comes_from() {
        let given = [
            ("host", "farm:43000"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-prefix", "/elsewhere"),
        ];
        let headers = sent("/user/KEY/", false, &given).headers;
        let all = |name: &str| Vec::from_iter(headers.get_all(name));
        assert_eq!(all("host"), ["farm:43000"]);
        assert_eq!(all("x-forwarded-for"), ["1.2.3.4", "10.0.0.7"]);
        assert_eq!(all("x-forwarded-host"), ["farm:43000"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-prefix"), [&format!("/user/{KEY}")]);
        let whole = sent("/user/KEY/", true, &given).headers;
        assert!(!whole.contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let given = [
            ("connection", "close, X-Mine, host"),
            ("x-mine", "1"),
            ("x-yours", "2"),
            ("keep-alive", "3"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("host", "farm"),
        ];
        let headers = sent("/user/KEY/", false, &given).headers;
        for name in [
            "connection",
            "x-mine",
            "keep-alive",
            "te",
            "upgrade",
            "expect",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert!(headers.contains_key("x-yours") && headers.contains_key("host"));
        let given = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        let headers = sent("/user/KEY/", false, &given).headers;
        assert_eq!(
            [&headers["connection"], &headers["upgrade"]],
            ["Upgrade", "websocket"]
        );
    }

    #[test]
    fn the_cookie_of_the_farms_page_is_for_the_farm_alone() {
        let session = format!("{SESSION_COOKIE}=secret");
        for (given, seen) in [
            (&[&*session][..], &[][..]),
            (&["a=b; c=d"], &["a=b; c=d"]),
            (&[&format!("a=b;{session}; c=d")], &["a=b; c=d"]),
            (&["a=b", &session, "c=d"], &["a=b; c=d"]),
            (
                &[&format!(" {SESSION_COOKIE} =x; my_{session}")],
                &[&*format!("my_{session}")],
            ),
        ] {
            let given: Vec<_> = given.iter().map(|value| ("cookie", *value)).collect();
            let headers = sent("/user/KEY/", false, &given).headers;
            assert_eq!(Vec::from_iter(headers.get_all(COOKIE)), seen, "{given:?}");
        }
        let mut headers = HeaderMap::new();
        for value in ["a=b", &format!("{session}; Path=/"), "c=d; HttpOnly"] {
            headers.append(SET_COOKIE, value.parse().unwrap());
        }
        incoming(&mut headers, false, None);
        assert_eq!(
            Vec::from_iter(headers.get_all(SET_COOKIE)),
            ["a=b", "c=d; HttpOnly"]
        );
    }

    #[test]
    fn redirects_of_a_program_stay_below_its_prefix() {
        for (location, seen) in [
            ("/login?next=/", "/user/k/login?next=/"),
            ("login", "login"),
            ("//elsewhere/", "//elsewhere/"),
            ("https://elsewhere/", "https://elsewhere/"),
        ] {
            let mut headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            incoming(&mut headers, false, None);
            assert_eq!(headers[LOCATION], location);
            incoming(&mut headers, false, Some("/user/k"));
            assert_eq!(headers[LOCATION], seen);
        }
    }
}
