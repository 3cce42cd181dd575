//! Whether a browser sends a request on behalf of a web page of another site. Such pages reach what only this machine's
//! users can reach, without their knowing it.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;

/// Whether it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfOtherSite(pub(super) bool);

impl<S: Sync> FromRequestParts<S> for OfOtherSite {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let (origin, host) = (text(header::ORIGIN), text(header::HOST));
        Ok(Self(is_of_other_site(origin, host)))
    }
}

/// Programs send no origin. A name that anybody may have given to this machine's address (DNS rebinding) is no name of the
/// farm: where a page may launch without a key, the browser was sent to the address itself, or to this machine's own name.
fn is_of_other_site(origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else {
        return false;
    };
    let named = origin.split_once("://").map(|(_, named)| named);
    named.is_none() || named != host || !host.is_some_and(is_own_name)
}

/// Whether a host, with or without its port, is an address or a name that no server of names elsewhere gives.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = name.to_ascii_lowercase().ends_with(".localhost") || !name.contains('.');
    bare.parse::<IpAddr>().is_ok() || is_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_this_site_where_their_host_is_this_machine() {
        for (origin, host, is_other) in [
            (None, Some("farm.example.com"), false),
            (
                Some("http://127.0.0.1:43000"),
                Some("127.0.0.1:43000"),
                false,
            ),
            (Some("http://[::1]:43000"), Some("[::1]:43000"), false),
            (
                Some("http://localhost:43000"),
                Some("localhost:43000"),
                false,
            ),
            (Some("http://box"), Some("box"), false),
            (Some("http://a.localhost"), Some("a.localhost"), false),
            (Some("http://elsewhere"), Some("box"), true),
            (Some("null"), Some("box"), true),
            (
                Some("http://rebound.example.com:43000"),
                Some("rebound.example.com:43000"),
                true,
            ),
            (
                Some("http://127.0.0.1.example.com"),
                Some("127.0.0.1.example.com"),
                true,
            ),
        ] {
            assert_eq!(
                is_of_other_site(origin, host),
                is_other,
                "{origin:?} {host:?}"
            );
        }
    }
}
