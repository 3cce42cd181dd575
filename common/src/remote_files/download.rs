//! Fetching by http and https: each address is looked at before it is connected to.

use super::addresses::AllowedSources;
use super::{RemoteFileRules, describe};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long connecting to a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How many redirects are followed, as by curl's sisters.
const MAX_REDIRECTS: usize = 10;

/// Why a URL is not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    #[error("{}", describe(.0))]
    Request(reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it was redirected to what is no http or https URL")]
    BadRedirect,
    #[error("it was redirected more than {MAX_REDIRECTS} times")]
    ManyRedirects,
}

impl DownloadError {
    /// Without the URL, which may hold a password.
    fn request(error: reqwest::Error) -> Self {
        Self::Request(error.without_url())
    }
}

/// An address that remote files may not come from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address {address} of {host} is not public; the setting remote_files_allow = {address} allows it"
)]
pub struct NotPublic {
    host: String,
    address: IpAddr,
}

/// Makes requests that reach allowed addresses only.
#[derive(Debug)]
pub(super) struct Downloader {
    client: Client,
    allowed: Arc<AllowedSources>,
}

impl Downloader {
    pub(super) fn new(rules: &RemoteFileRules) -> Result<Self, DownloadError> {
        // Fails if the program has chosen a provider before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let allowed = Arc::new(rules.allowed.clone());
        let client = Client::builder()
            .user_agent(concat!("clusterrunner/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(rules.idle_timeout)
            // Each step is looked at.
            .redirect(Policy::none())
            .dns_resolver(Arc::new(Resolver(Arc::clone(&allowed))))
            .build()
            .map_err(DownloadError::request)?;
        Ok(Self { client, allowed })
    }

    /// The answer with the file.
    pub(super) async fn get(&self, mut url: Url) -> Result<Response, DownloadError> {
        for _ in 0..=MAX_REDIRECTS {
            check_literal(&url, &self.allowed)?;
            let sent = self.client.get(url.clone()).send().await;
            let response = sent.map_err(DownloadError::request)?;
            let status = response.status();
            let location = response.headers().get(LOCATION);
            match location {
                Some(location) if status.is_redirection() => {
                    let location = location.to_str().ok();
                    let next = location.and_then(|location| url.join(location).ok());
                    url = next.filter(is_http).ok_or(DownloadError::BadRedirect)?;
                }
                _ if status.is_success() => return Ok(response),
                _ => return Err(DownloadError::Status(status)),
            }
        }
        Err(DownloadError::ManyRedirects)
    }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// An address in a URL is connected to without asking the resolver.
pub(super) fn check_literal(url: &Url, allowed: &AllowedSources) -> Result<(), NotPublic> {
    let host = url.host_str().unwrap_or_default();
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return Ok(());
    };
    check(&address.to_string(), address, allowed)
}

fn check(host: &str, address: IpAddr, allowed: &AllowedSources) -> Result<(), NotPublic> {
    match allowed.allows(host, address) {
        true => Ok(()),
        false => Err(NotPublic {
            host: host.to_owned(),
            address,
        }),
    }
}

/// Gives only addresses that are allowed, so no others are connected to, whatever a name's server
/// says the next time.
#[derive(Debug)]
struct Resolver(Arc<AllowedSources>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let mut refused = None;
            let mut good: Vec<SocketAddr> = Vec::new();
            for address in found {
                match check(host, address.ip(), &allowed) {
                    Ok(()) => good.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if good.is_empty() => {
                    Err(Box::new(error) as Box<dyn Error + Send + Sync>)
                }
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}
