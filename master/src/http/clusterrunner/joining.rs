//! What a slave that joins must say of itself.

use super::error::ApiError;
use clusterrunner_common::api::{ConnectRequest, PROTOCOL};
use clusterrunner_common::auth::joining::is_life_with_key;
use clusterrunner_common::auth::signature::is_session;
use clusterrunner_common::ids::{PublicKey, SessionId};
use clusterrunner_common::text::labels::{LABEL_FORM, MAX_LABELS, is_label};
use clusterrunner_common::text::slave_address::is_slave_address;
use clusterrunner_common::work::Seen;
use clusterrunner_core::access::Caller;
use clusterrunner_core::slaves::key_facts::Joining;
use clusterrunner_core::slaves::keys::OfferedKey;

/// What a slave can have seen. All other ids go on behind it, so it must leave some.
const HIGHEST_ID: u64 = 1 << 48;
const HIGHEST_ATTEMPT: u32 = 1 << 24;

/// Of how many incarnations a slave may know something.
const MAX_SEEN: usize = 64;

/// How many characters the version of a slave may have.
const MAX_VERSION: usize = 64;

/// Whether one of our slaves may join; the session that it names.
pub(super) fn check(request: &ConnectRequest) -> Result<SessionId, ApiError> {
    let invalid = |error: &str| Err(ApiError::Invalid(error.to_owned()));
    check_slave(&request.slave, request.num_executors)?;
    match request.protocol {
        Some(PROTOCOL) => {}
        Some(other) => {
            return Err(ApiError::Invalid(format!(
                "Field 'protocol' must be {PROTOCOL}, not {other}: run the same version of ClusterRunner on this \
                 slave as on its master, which has {}.",
                env!("CARGO_PKG_VERSION")
            )));
        }
        None => {
            return Err(ApiError::Invalid(format!(
                "Field 'protocol' must be {PROTOCOL}: slaves of the original ClusterRunner are served \
                 with accept_legacy_peers = True in clusterrunner.conf only."
            )));
        }
    }
    if request.labels.len() > MAX_LABELS || !request.labels.iter().all(|label| is_label(label)) {
        return Err(ApiError::Invalid(format!(
            "Field 'labels' must be a list of at most {MAX_LABELS} {LABEL_FORM}."
        )));
    }
    let is_version = |version: &String| {
        version.len() <= MAX_VERSION && version.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !request.version.iter().all(is_version) {
        return Err(ApiError::Invalid(format!(
            "Field 'version' must be a text of at most {MAX_VERSION} printable ASCII characters, without blanks."
        )));
    }
    let is_possible = |seen: &Seen| {
        seen.build.0 <= HIGHEST_ID
            && seen.slave.0 <= HIGHEST_ID
            && seen.attempt.0 <= HIGHEST_ATTEMPT
    };
    if request.seen.len() > MAX_SEEN || !request.seen.iter().all(is_possible) {
        return Err(ApiError::Invalid(format!(
            "Field 'seen' must be a list of at most {MAX_SEEN}, with ids up to {HIGHEST_ID} and attempts up to \
             {HIGHEST_ATTEMPT}."
        )));
    }
    match &request.session_id {
        Some(session) if is_session(&session.0) => Ok(session.clone()),
        _ => invalid(
            "Field 'session_id' must be a text that is new with each start of the slave: at most 128 printable \
             ASCII characters, without blanks and semicolons.",
        ),
    }
}

/// The longest challenge that a slave shows.
const MAX_CHALLENGE: usize = 128;

/// The key that a slave shows, and what it joins with: all that it has shown is true. None of a slave that has but the
/// secret.
pub(super) fn offered_key(
    caller: Caller,
    request: &ConnectRequest,
    session: &SessionId,
) -> Result<Option<OfferedKey>, ApiError> {
    let (signed_with, joins) = match caller {
        Caller::SlaveKey(key) => (Some(key), None),
        Caller::JoinToken(token) => (None, Some(Joining::Token(token))),
        _ => (None, Some(Joining::Secret)),
    };
    let Some(identity) = &request.identity else {
        return match caller {
            Caller::SlaveKey(_) | Caller::JoinToken(_) => Err(ApiError::Invalid(
                "Field 'identity' is missing: who connects with a key or a join token shows its key.".to_owned(),
            )),
            _ => Ok(None),
        };
    };
    if identity.challenge.len() > MAX_CHALLENGE {
        let error = format!("Field 'identity.challenge' may have {MAX_CHALLENGE} bytes at most.");
        return Err(ApiError::Invalid(error));
    }
    let is_same = signed_with.is_none_or(|key| key == identity.key);
    if !is_same || !identity.is_proved(&request.slave, session) {
        return Err(ApiError::Invalid(
            "Field 'identity' does not prove that the slave has the key: its 'proof' is signed with another one, or for \
             another address or session."
                .to_owned(),
        ));
    }
    if !is_life_with_key(session, &identity.key) {
        return Err(ApiError::Invalid(
            "Field 'session_id' must end with a hyphen and the slave's key: orders are signed for it, and must not be good \
             at another slave."
                .to_owned(),
        ));
    }
    Ok(Some(OfferedKey {
        key: identity.key,
        joins,
    }))
}

/// Whether a slave that has proved what it shows takes orders from the master with this key. One that does not is not
/// registered: it would stand among those that build, and run nothing.
pub(super) fn check_master(request: &ConnectRequest, own: &PublicKey) -> Result<(), ApiError> {
    let joined = request.identity.as_ref().and_then(|shown| shown.master);
    match joined.filter(|joined| joined != own) {
        None => Ok(()),
        Some(joined) => Err(ApiError::OtherMaster {
            slave: request.slave.clone(),
            own: own.fingerprint(),
            joined: joined.fingerprint(),
        }),
    }
}

/// Whether any slave may be at this address, with so many executors.
pub(super) fn check_slave(address: &str, num_executors: u32) -> Result<(), ApiError> {
    let invalid = |error: &str| Err(ApiError::Invalid(error.to_owned()));
    if !is_slave_address(address) {
        return invalid(
            "Field 'slave' must be the slave's own address, host:port; poll://host:port of one that can not be called.",
        );
    }
    if num_executors == 0 {
        return invalid("Field 'num_executors' must be at least 1.");
    }
    Ok(())
}
