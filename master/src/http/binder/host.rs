//! Where users reach applications, as a caller can reach it: on the host that the caller has asked, at the router's port.

use super::Api;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use std::convert::Infallible;

/// The host that a request was sent to, without its port; none where it names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(Option<String>);

impl<S: Sync> FromRequestParts<S> for Host {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let named = parts.headers.get(header::HOST);
        let named = named.and_then(|host| host.to_str().ok());
        Ok(Self::named(named))
    }
}

impl Host {
    fn named(text: Option<&str>) -> Self {
        let authority = text.and_then(|text| text.parse::<Authority>().ok());
        let host = authority.as_ref().map(Authority::host);
        let host = host.filter(|host| !host.is_empty());
        Self(host.map(str::to_owned))
    }

    /// Where users reach applications.
    pub(super) fn of_users(&self, api: &Api) -> String {
        let host = self.0.as_deref().unwrap_or(&api.farm);
        format!("{host}:{}", api.router_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port_and_no_user() {
        for (text, host) in [
            ("farm:43000", Some("farm")),
            ("farm.example.com", Some("farm.example.com")),
            ("[::1]:8084", Some("[::1]")),
            ("ann@farm:1", Some("farm")),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(Host::named(Some(text)).0.as_deref(), host, "{text}");
        }
        assert_eq!(Host::named(None).0, None);
    }
}
