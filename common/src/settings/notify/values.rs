//! The texts of these sections, read as what they mean.

use super::super::error::SettingsError;
use super::super::values::{Found, Value};
use super::forge::Forge;
use crate::auth::secret::Secret;
use crate::work::{BuildEvent, UnknownEvent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use std::collections::BTreeSet;

/// Begins a key that is written in base64, as Standard Webhooks write keys.
pub const WRITTEN_KEY: &str = "whsec_";

/// What a receiver is told, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Webhook,
    Statuses(Forge),
}

impl Value for Kind {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let kind: String = found.parse("webhook, github, gitlab or gitea")?;
        Ok(match kind.to_ascii_lowercase().as_str() {
            "webhook" => Self::Webhook,
            "github" => Self::Statuses(Forge::GitHub),
            "gitlab" => Self::Statuses(Forge::GitLab),
            "gitea" | "forgejo" => Self::Statuses(Forge::Gitea),
            _ => {
                return Err(found.wrong(format!(
                    "expected webhook, github, gitlab or gitea, found \"{kind}\""
                )));
            }
        })
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(in super::super) struct HttpUrl(pub(in super::super) Url);

impl Value for HttpUrl {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        // What is there may be secret: the path of a webhook often is.
        let expected = "expected an http or https URL, such as https://example.com/hook";
        let text: String = found.parse("a URL")?;
        let url = Url::parse(&text).map_err(|_| found.wrong(expected))?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        match is_http && !text.contains(|c: char| c == '\\' || c.is_whitespace()) {
            true if !url.username().is_empty() || url.password().is_some() => Err(found.wrong(
                "the URL has a user name or a password; receivers know the master by its signature or token",
            )),
            true if url.fragment().is_some() => {
                Err(found.wrong("the URL has a fragment (#), which is never sent"))
            }
            true => Ok(Self(url)),
            false => Err(found.wrong(expected)),
        }
    }
}

/// What nobody else may know: the key of signatures, or a token.
pub(super) struct Private(pub(super) Secret);

impl Value for Private {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let expected =
            "expected one text of at least 8 characters; put it in quotes if it has a comma or a #";
        let text = match found.values.as_slice() {
            [text] => text.clone(),
            _ => return Err(found.wrong(expected)),
        };
        let secret = Secret::of_the_original(text);
        secret.map(Self).map_err(|_| found.wrong(expected))
    }
}

/// The key of signatures: what nobody else may know, as it is or in base64 behind [`WRITTEN_KEY`].
pub(super) struct SigningKey(pub(super) Secret);

impl Value for SigningKey {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let Private(secret) = Private::read(found)?;
        let text = std::str::from_utf8(secret.as_bytes()).unwrap_or_default();
        let written = text.strip_prefix(WRITTEN_KEY);
        let is_key = |written: &str| STANDARD.decode(written).is_ok_and(|key| !key.is_empty());
        match written.is_none_or(is_key) {
            true => Ok(Self(secret)),
            false => Err(found.wrong(format!(
                "a key that begins with {WRITTEN_KEY} goes on in base64, and this one does not; set the key as the \
                 receiver gave it, or one that does not begin so"
            ))),
        }
    }
}

/// Which events of a build are told.
#[derive(Clone, Debug)]
pub(super) struct Events(pub(super) BTreeSet<BuildEvent>);

impl Value for Events {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let mut events = BTreeSet::new();
        for name in Vec::<String>::read(found)? {
            match name.parse() {
                Ok(event) => {
                    events.insert(event);
                }
                Err(_) if name == "all" => events.extend(BuildEvent::ALL),
                Err(UnknownEvent) => {
                    let known = BuildEvent::ALL.map(BuildEvent::name).join(", ");
                    return Err(found.wrong(format!(
                        "expected a list of these: {known}; or all; found \"{name}\""
                    )));
                }
            }
        }
        match events.is_empty() {
            true => {
                Err(found
                    .wrong("expected at least one event; remove the section to be told of none"))
            }
            false => Ok(Self(events)),
        }
    }
}
