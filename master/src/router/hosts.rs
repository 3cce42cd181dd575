//! Hosts: which app a request is for, by the name that its user asked. Pure.

use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri};
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// The label below the domain of apps that Deis has its own API at.
const API_LABEL: &str = "deis";

/// The name that every machine has for itself.
const LOOPBACK: &str = "localhost";

/// Under which names apps are reached beside their own domains, and which names are the farm's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// Each app is at its id below this domain.
    app_domain: Option<String>,
    /// Names of the master itself, which are never those of apps.
    own: Vec<String>,
}

/// Whom a name may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'h> {
    /// The whole name.
    pub(super) host: &'h str,
    /// What is in front of the domain of apps, if the name is right below that.
    pub(super) label: Option<&'h str>,
}

impl Hosts {
    /// Apps below `app_domain`, on a master with these names.
    pub(crate) fn new(app_domain: Option<&str>, own: &[impl AsRef<str>]) -> Self {
        Self {
            app_domain: app_domain.map(str::to_ascii_lowercase),
            own: own
                .iter()
                .map(|name| name.as_ref().to_ascii_lowercase())
                .collect(),
        }
    }

    /// Whether apps have names beside their own domains.
    pub(super) fn has_app_domain(&self) -> bool {
        self.app_domain.is_some()
    }

    /// What a name says; none where it is the farm's own.
    pub(super) fn named<'h>(&self, host: &'h str) -> Option<Named<'h>> {
        let is_own = self.own.iter().any(|own| own == host)
            || host == LOOPBACK
            || host.parse::<Ipv4Addr>().is_ok();
        let label = self.app_domain.as_deref().and_then(|domain| {
            let label = host.strip_suffix(domain)?.strip_suffix('.')?;
            (!label.contains('.')).then_some(label)
        });
        (!is_own && label != Some(API_LABEL)).then_some(Named { host, label })
    }
}

/// The name of the host that a request is for: without its port, in lower case. None where the request has none, or an
/// address of version 6.
pub(super) fn host_of<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<Cow<'r, str>> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST)?.to_str().ok()?,
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.starts_with('[') {
        return None;
    }
    Some(match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_host_is_a_name_in_lower_case_without_its_port() {
        for (given, host) in [
            ("Example.COM:8000", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("example.com", Some("example.com")),
            ("[::1]:80", None),
            (":80", None),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(given))]);
            let uri = Uri::from_static("/path");
            assert_eq!(host_of(&uri, &headers).as_deref(), host, "{given}");
        }
        let uri = Uri::from_static("http://one.example.com:80/path");
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("other"))]);
        assert_eq!(host_of(&uri, &headers).as_deref(), Some("one.example.com"));
        assert_eq!(host_of(&Uri::from_static("/"), &HeaderMap::new()), None);
    }

    #[test]
    fn names_of_the_farm_are_never_those_of_apps() {
        let hosts = Hosts::new(Some("Apps.Example"), &["Farm.Apps.Example"]);
        for (host, label) in [
            ("go.apps.example", Some(Some("go"))),
            ("a.go.apps.example", Some(None)),
            ("apps.example", Some(None)),
            ("goapps.example", Some(None)),
            ("shop.example", Some(None)),
            ("farm.apps.example", None),
            ("deis.apps.example", None),
            ("localhost", None),
            ("127.0.0.1", None),
        ] {
            let named = hosts.named(host);
            assert_eq!(named.map(|named| named.label), label, "{host}");
            assert!(named.is_none_or(|named| named.host == host));
        }
        let none = Hosts::new(None, &["farm"]);
        let label = none.named("go.apps.example").map(|named| named.label);
        assert_eq!(label, Some(None));
    }
}
