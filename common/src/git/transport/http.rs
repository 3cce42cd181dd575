//! Git's smart protocol over http and https (gitprotocol-http), the reading half.

use std::error::Error;
use std::io::{self, Read, Write};
use std::mem;

use bytes::{Buf, Bytes};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};

use super::super::GitOptions;
use super::advertisement::Advertisement;
use super::wire::{Failure, Wire};

/// As many as the git program follows before it takes them for a loop would be 20; honest servers need one or two.
const MAXIMUM_REDIRECTS: usize = 5;

/// Some servers offer the smart protocol only to clients whose name begins with `git/`.
const USER_AGENT: &str = concat!("git/2.0 (clusterrunner ", env!("CARGO_PKG_VERSION"), ")");

const REFS_SUFFIX: &str = "/info/refs";
const SERVICE: &str = "git-upload-pack";

/// The requests of one fetch, all to the place where the first one found the repository.
pub(super) struct Conversation {
    wire: Wire,
    client: Client,
    /// Without slash at the end; with credentials if they may be sent there.
    repository: Url,
}

impl Conversation {
    /// Asks for the refs, following redirects as git does: only on this first request, never from https to http, and
    /// without taking credentials to another host.
    pub(super) fn begin(
        wire: Wire,
        url: &Url,
        options: &GitOptions,
    ) -> Result<(Self, HttpStream), Failure> {
        let client = client(options)?;
        let mut address = refs_address(url)?;
        for _ in 0..=MAXIMUM_REDIRECTS {
            let request = client
                .get(address.clone())
                .header(ACCEPT, "*/*")
                .header(CACHE_CONTROL, "no-cache");
            let response = wire.wait(
                wire.connect_timeout + wire.idle_timeout,
                "the server did not answer",
                async { request.send().await.map_err(describe) },
            )?;
            if response.status().is_redirection() {
                address = redirected(&address, &response)?;
                continue;
            }
            check_status(&response, has_credentials(&address))?;
            check_content_type(&response, "advertisement")?;
            let repository = repository_address(&address)?;
            let stream = HttpStream {
                wire: wire.clone(),
                state: State::Receiving(response, Bytes::new()),
                // Before them, and after a flush of its own, stands which service answers.
                advertisement: Some(Advertisement::new(options.limits.refs, 2)),
            };
            return Ok((
                Self {
                    wire,
                    client,
                    repository,
                },
                stream,
            ));
        }
        Err(Failure::new("the server redirects too often"))
    }

    /// One question to the server; it is sent when the answer is first read.
    pub(super) fn request(&self) -> HttpStream {
        HttpStream {
            wire: self.wire.clone(),
            state: State::Sending {
                client: self.client.clone(),
                address: self.repository.clone(),
                body: Vec::new(),
            },
            advertisement: None,
        }
    }
}

fn client(options: &GitOptions) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_timeout);
    let mut certificates = Vec::new();
    for pem in &options.root_certificates {
        let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| {
            Failure::new(format!(
                "an extra root certificate can not be read: {error}"
            ))
        })?;
        certificates.extend(found);
    }
    if !certificates.is_empty() {
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(describe)
}

fn refs_address(url: &Url) -> Result<Url, Failure> {
    let mut address = url.clone();
    address.set_path(&format!(
        "{}{REFS_SUFFIX}",
        url.path().trim_end_matches('/')
    ));
    address.set_query(Some("service=git-upload-pack"));
    Ok(address)
}

fn repository_address(refs: &Url) -> Result<Url, Failure> {
    let path = refs.path().strip_suffix(REFS_SUFFIX).ok_or_else(|| {
        Failure::new("the server redirected to an address that is not a git repository's")
    })?;
    let mut repository = refs.clone();
    repository.set_path(&format!("{path}/{SERVICE}"));
    repository.set_query(None);
    Ok(repository)
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn redirected(from: &Url, response: &Response) -> Result<Url, Failure> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    redirection_target(from, location.unwrap_or_default())
}

fn redirection_target(from: &Url, location: &str) -> Result<Url, Failure> {
    let mut to = match from.join(location) {
        Ok(to) if !location.is_empty() => to,
        _ => {
            return Err(Failure::new(
                "the server redirected without saying where to",
            ));
        }
    };
    let upgraded = from.scheme() == "http" && to.scheme() == "https";
    if !upgraded && from.scheme() != to.scheme() {
        return Err(Failure::new(format!(
            "the server redirected from {} to {}, which is refused",
            from.scheme(),
            to.scheme()
        )));
    }
    if !to.path().ends_with(REFS_SUFFIX) {
        return Err(Failure::new(format!(
            "the server redirected to {}{}, which is not a git repository; is the URL complete, or is a login needed?",
            to.host_str().unwrap_or_default(),
            to.path()
        )));
    }
    // Who redirects does not get to choose credentials, nor to have ours sent elsewhere. The upgrade of the same host
    // changes the port from 80 to 443.
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let same_server = from.host_str() == to.host_str()
        && (same_port || (upgraded && from.port().is_none() && to.port().is_none()));
    let (user, password) = if same_server {
        (from.username(), from.password())
    } else {
        ("", None)
    };
    to.set_username(user)
        .and_then(|()| to.set_password(password))
        .map_err(|()| Failure::new("the server redirected to an unusable address"))?;
    Ok(to)
}

fn check_status(response: &Response, with_credentials: bool) -> Result<(), Failure> {
    let status = response.status();
    let text = match status {
        StatusCode::OK => return Ok(()),
        StatusCode::UNAUTHORIZED if with_credentials => {
            "the server refused the user name and password given in the URL (401)".to_owned()
        }
        StatusCode::UNAUTHORIZED => {
            let realm = response
                .headers()
                .get(WWW_AUTHENTICATE)
                .and_then(|value| value.to_str().ok())
                .map(|value| format!(", {value}"))
                .unwrap_or_default();
            format!(
                "credentials are missing: the server asks for a user name and a password (401{realm}); give them in \
                 the URL, as https://user:token@host/path, or use an ssh URL"
            )
        }
        StatusCode::FORBIDDEN => "the server does not allow this (403)".to_owned(),
        StatusCode::NOT_FOUND | StatusCode::GONE => format!(
            "there is no such repository ({}); servers also answer so when credentials are missing",
            status.as_u16()
        ),
        _ => format!("the server answered {status}"),
    };
    Err(Failure::new(text))
}

fn check_content_type(response: &Response, kind: &str) -> Result<(), Failure> {
    let expected = format!("application/x-{SERVICE}-{kind}");
    let found = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("none");
    if found.split(';').next().map(str::trim) == Some(expected.as_str()) {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "this is not a git repository served with git's smart http protocol (content type {found})"
        )))
    }
}

/// The whole chain of reasons: the outermost one of reqwest says little. Without the URL, which may hold a password.
fn describe(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() && error.is_connect() {
        return Failure::new("the server could not be reached in time");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        let reason_text = reason.to_string();
        if !text.contains(&reason_text) {
            text = format!("{text}: {reason_text}");
        }
        source = reason.source();
    }
    Failure::new(text)
}

/// A request being written, then its answer being read.
pub(super) struct HttpStream {
    wire: Wire,
    state: State,
    /// While refs are received.
    advertisement: Option<Advertisement>,
}

enum State {
    Sending {
        client: Client,
        address: Url,
        body: Vec<u8>,
    },
    Receiving(Response, Bytes),
    Ended,
}

impl HttpStream {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        if matches!(self.state, State::Sending { .. })
            && let State::Sending {
                client,
                address,
                body,
            } = mem::replace(&mut self.state, State::Ended)
        {
            let with_credentials = has_credentials(&address);
            let request = client
                .post(address)
                .header(CONTENT_TYPE, format!("application/x-{SERVICE}-request"))
                .header(ACCEPT, format!("application/x-{SERVICE}-result"))
                .body(body);
            let limit = self.wire.connect_timeout + self.wire.idle_timeout;
            let response = self.wire.wait(limit, "the server did not answer", async {
                request.send().await.map_err(describe)
            })?;
            check_status(&response, with_credentials)?;
            check_content_type(&response, "result")?;
            self.state = State::Receiving(response, Bytes::new());
        }
        let State::Receiving(response, rest) = &mut self.state else {
            return Ok(0);
        };
        while rest.is_empty() {
            let chunk =
                self.wire
                    .wait(self.wire.idle_timeout, "the server sent nothing", async {
                        response.chunk().await.map_err(describe)
                    })?;
            match chunk {
                Some(chunk) => *rest = chunk,
                None => {
                    self.state = State::Ended;
                    return Ok(0);
                }
            }
        }
        let length = rest.len().min(buffer.len());
        rest.copy_to_slice(&mut buffer[..length]);
        if let Some(advertisement) = &mut self.advertisement {
            advertisement.look_at(&buffer[..length])?;
        }
        Ok(length)
    }
}

impl Read for HttpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer).map_err(Failure::into_io)
    }
}

impl Write for HttpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Sending { body, .. } => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            State::Receiving(..) | State::Ended => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(from: &str, location: &str) -> Result<String, String> {
        let from = Url::parse(from).unwrap();
        redirection_target(&from, location)
            .map(String::from)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn redirects_never_take_credentials_elsewhere_or_leave_tls() {
        let from = "https://u:p@host/a/info/refs?service=git-upload-pack";
        assert_eq!(
            target(from, "/b/info/refs?service=x").unwrap(),
            "https://u:p@host/b/info/refs?service=x"
        );
        assert_eq!(
            target(from, "https://other/b/info/refs").unwrap(),
            "https://other/b/info/refs"
        );
        assert_eq!(
            target(from, "https://host:444/b/info/refs").unwrap(),
            "https://host:444/b/info/refs"
        );
        assert_eq!(
            target(from, "https://evil:x@other/b/info/refs").unwrap(),
            "https://other/b/info/refs"
        );
        assert_eq!(
            target("http://u:p@host/a/info/refs", "https://host/a/info/refs").unwrap(),
            "https://u:p@host/a/info/refs"
        );
        assert!(
            target(from, "http://host/a/info/refs")
                .unwrap_err()
                .contains("from https to http")
        );
        assert!(target(from, "file:///a/info/refs").is_err());
        assert!(target(from, "").is_err());
        assert!(
            target(from, "/login?next=x")
                .unwrap_err()
                .contains("not a git repository")
        );
    }
}
