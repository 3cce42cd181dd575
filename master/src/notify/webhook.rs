//! The requests to programs that receive webhooks: body, id and signatures. Pure.
//!
//! The headers are those of Standard Webhooks 1.0 (<https://www.standardwebhooks.com>), which libraries in many languages
//! check, and beside them the signature of GitHub's webhooks, which many receivers know already.

use super::queue::Notice;
use super::request::Outgoing;
use super::subject::Subject;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::settings::{WRITTEN_KEY, Webhook};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The version of the body. A field that is new does not change it.
const VERSION: u32 = 1;

/// How many failed atoms a body names.
const MOST_FAILED_ATOMS: usize = 50;

/// The id of a notice: the same whenever the notice is sent, and of no other one. `receiver` is the name of the receiver.
pub(super) fn delivery_id(receiver: &str, notice: &Notice, queued: Timestamp) -> String {
    // With the moment: a new data directory begins with build 1 again.
    let named = format!("{receiver} {} {} {}", notice.build, queued.0, notice.event);
    let digest = hex::encode(Sha256::digest(named.as_bytes()));
    format!("msg_{}", &digest[..32])
}

/// The request that tells of a build. `page` is the address of its page, `now` the moment of the signature.
pub(super) fn request(
    webhook: &Webhook,
    receiver: &str,
    notice: &Notice,
    (subject, page): (&Subject, &str),
    now: Timestamp,
) -> Outgoing {
    let id = delivery_id(receiver, notice, subject.queued);
    let body = json!({
        "version": VERSION,
        "id": id,
        "event": notice.event,
        "at": notice.at.as_unix_seconds(),
        "project": subject.place.name(),
        "commit": subject.commit,
        "branch": subject.branch,
        "url": page,
        "build": build(subject),
    });
    signed(webhook, notice.event.name(), &id, &body, now)
}

/// The request that tries a receiver.
pub(super) fn ping(webhook: &Webhook, id: &str, now: Timestamp) -> Outgoing {
    const EVENT: &str = "ping";
    let body = json!({
        "version": VERSION,
        "id": id,
        "event": EVENT,
        "at": now.as_unix_seconds(),
    });
    signed(webhook, EVENT, id, &body, now)
}

/// A request with such a body.
fn signed(webhook: &Webhook, event: &str, id: &str, body: &Value, now: Timestamp) -> Outgoing {
    let body = body.to_string();
    let seconds = (now.0 / 1000).to_string();
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.clone()),
        ("x-clusterrunner-event", event.to_owned()),
    ];
    if let Some(secret) = &webhook.secret {
        let key = secret.as_bytes();
        let content = format!("{id}.{seconds}.{body}");
        let standard = STANDARD.encode(mac(&key_of(key), content.as_bytes()));
        let of_body = hex::encode(mac(key, body.as_bytes()));
        headers.push(("webhook-signature", format!("v1,{standard}")));
        headers.push(("x-hub-signature-256", format!("sha256={of_body}")));
    }
    Outgoing {
        url: webhook.url.clone(),
        headers,
        token: None,
        body,
    }
}

/// The build as the API shows it, but for what would make the body large, and for passwords in addresses.
fn build(subject: &Subject) -> Value {
    let mut view = subject.view.clone();
    if let Some(failed) = &mut view.failed_atoms {
        failed.truncate(MOST_FAILED_ATOMS);
    }
    for field in ["url", "remote"] {
        if let Some(Value::String(url)) = view.request_params.get_mut(field)
            && let Ok(parsed) = GitUrl::parse(url, true)
        {
            *url = parsed.without_credentials();
        }
    }
    // Of remote files each is an address that may have a password or a token in it; the others may be very long.
    for field in ["remote_files", "atoms_override", "config"] {
        view.request_params.shift_remove(field);
    }
    serde_json::to_value(view).unwrap_or_default()
}

/// The key that a secret stands for. The settings have seen that one that is to be base64 is.
fn key_of(secret: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(secret).unwrap_or_default();
    let written = text.strip_prefix(WRITTEN_KEY);
    let key = written.and_then(|written| STANDARD.decode(written).ok());
    key.unwrap_or_else(|| secret.to_vec())
}

fn mac(key: &[u8], content: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "this code has keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(content);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
