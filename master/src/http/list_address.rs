//! Where a list is that is answered in pages: for the parameters that choose a page, and for links to the others.

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};

/// The address of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListAddress {
    /// The address without its parameters.
    address: String,
    parameters: Vec<(String, String)>,
}

impl ListAddress {
    /// What a request asks for.
    pub(super) fn of(parts: &Parts, is_tls: bool) -> Self {
        Self::at(&parts.uri, host(&parts.headers, &parts.uri), is_tls)
    }

    /// The list at this path of a host.
    pub(super) fn at(uri: &Uri, host: Option<&str>, is_tls: bool) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        Self {
            address: address(host, is_tls, uri.path()),
            parameters: form_urlencoded::parse(query).into_owned().collect(),
        }
    }

    /// The last value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter().rev();
        parameters.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// Takes all values of a parameter out; the last one.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let value = self.parameter(name).map(str::to_owned);
        self.parameters.retain(|(known, _)| known != name);
        value
    }

    /// The same list with other parameters before its own.
    pub(super) fn link(&self, first: &[(&str, String)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(first);
        query.extend_pairs(&self.parameters);
        format!("{}?{}", self.address, query.finish())
    }
}

/// The host that a request is for, as it says.
pub(super) fn host<'h>(headers: &'h HeaderMap, uri: &'h Uri) -> Option<&'h str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// The address of a path; without a host where the request named none.
pub(super) fn address(host: Option<&str>, is_tls: bool, path: &str) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    match host {
        Some(host) => format!("{scheme}://{host}{path}"),
        None => path.to_owned(),
    }
}
