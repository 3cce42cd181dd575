//! Host names: that of the request, and those of apps.

use super::Api;
use crate::http::list_address::{address, host};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

/// How the name of a controller begins. The rest is the domain of its apps.
const CONTROLLER: &str = "deis.";

/// The host that a request is for, and the domain of apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    /// As the request names it, with the port.
    host: Option<String>,
    is_tls: bool,
    /// The domain below which each app has a name; none where nothing says it.
    domain: Option<String>,
}

impl Hosts {
    fn of(host: Option<&str>, is_tls: bool, domain: Option<&str>) -> Self {
        let of_host = || {
            let name = name(host?);
            Some(name.strip_prefix(CONTROLLER)?.to_owned()).filter(|rest| !rest.is_empty())
        };
        Self {
            domain: domain.map(str::to_owned).or_else(of_host),
            host: host.map(str::to_owned),
            is_tls,
        }
    }

    /// The name by which an app is reached; its id alone where no domain is known.
    pub(super) fn of_app(&self, id: &str) -> String {
        match &self.domain {
            Some(domain) => format!("{id}.{domain}"),
            None => id.to_owned(),
        }
    }

    /// The address of a path here.
    pub(super) fn address(&self, path: &str) -> String {
        address(self.host.as_deref(), self.is_tls, path)
    }

    /// Whether requests with this host name are for the farm itself, or for the names that apps have by their ids. An app
    /// that had such a domain would be sent what is for others.
    pub(super) fn is_own(&self, domain: &str, names: &[String]) -> bool {
        let is_below = |top: &str| {
            let below = domain.strip_suffix(top);
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        };
        self.domain.as_deref().is_some_and(is_below)
            || self
                .host
                .as_deref()
                .is_some_and(|host| name(host) == domain)
            || names.iter().any(|own| name(own) == domain)
    }
}

/// A host name without its port, in lower case.
fn name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl FromRequestParts<Arc<Api>> for Hosts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let host = host(&parts.headers, &parts.uri);
        Ok(Self::of(host, api.is_tls, api.apps.domain.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_set_or_follows_from_the_host() {
        for (host, domain, url) in [
            (Some("deis.example.com"), None, "go.example.com"),
            (Some("Deis.Example.com:43000"), None, "go.example.com"),
            (Some("farm:43000"), None, "go"),
            (Some("deis."), None, "go"),
            (
                Some("farm"),
                Some("apps.example.com"),
                "go.apps.example.com",
            ),
            (Some("deis.x.com"), Some("y.com"), "go.y.com"),
            (None, None, "go"),
        ] {
            let hosts = Hosts::of(host, false, domain);
            assert_eq!(hosts.of_app("go"), url, "{host:?} {domain:?}");
        }
        let hosts = Hosts::of(Some("farm:43000"), true, None);
        assert_eq!(hosts.address("/x"), "https://farm:43000/x");
    }

    #[test]
    fn names_of_the_farm_are_no_domains_of_apps() {
        let hosts = Hosts::of(
            Some("API.example.org:43000"),
            false,
            Some("apps.example.com"),
        );
        let names = ["farm.example.net".to_owned()];
        for own in [
            "api.example.org",
            "apps.example.com",
            "other.apps.example.com",
            "farm.example.net",
        ] {
            assert!(hosts.is_own(own, &names), "{own}");
        }
        for other in ["example.org", "xapps.example.com", "www.farm.example.net"] {
            assert!(!hosts.is_own(other, &names), "{other}");
        }
    }
}
