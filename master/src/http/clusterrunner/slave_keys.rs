//! The keys of slaves, and the tokens with which they join: for the holder of the secret and for superusers.

use super::accounts::{Asking, Empty};
use super::error::ApiError;
use super::{Api, Path};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::slave_keys::{
    CreateJoinToken, CreatedJoinToken, JoinTokenView, JoinTokensBody, SlaveKeyBody, SlaveKeyView,
    SlaveKeysBody,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{PublicKey, TokenId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{Event, Fact, KeyFact};
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::key_facts::{Joining, NewJoinToken};
use clusterrunner_core::slaves::keys::{JoinedKey, KeyCommand, KeyRefused, StoredJoinToken};
use std::sync::Arc;
use std::time::Duration;

const NOT_FOR_USERS: &str = "Only superusers, with a token whose role is admin, and the holder of the farm's secret may do this.";

/// Lets those through who may do everything with slaves.
fn check(asking: Asking) -> Result<(), ApiError> {
    match asking.may(Subject::Slaves) {
        Access::Admin => Ok(()),
        Access::None | Access::Read | Access::Use | Access::Own => {
            Err(ApiError::Forbidden(NOT_FOR_USERS))
        }
    }
}

fn key_view(cluster: &Cluster, key: &PublicKey, joined: &JoinedKey) -> SlaveKeyView {
    let mut holders = cluster.called_slaves();
    let holder = holders.find(|slave| slave.key.as_ref() == Some(key));
    SlaveKeyView {
        key: *key,
        fingerprint: key.fingerprint(),
        address: joined.address.clone(),
        joined: joined.joined.as_unix_seconds(),
        join_token: match joined.by {
            Joining::Secret => None,
            Joining::Token(token) => Some(token),
        },
        revoked: joined.revoked.map(Timestamp::as_unix_seconds),
        slave_id: holder.map(|slave| slave.id),
    }
}

fn token_view(id: TokenId, token: &StoredJoinToken, now: Timestamp) -> JoinTokenView {
    JoinTokenView {
        id,
        name: token.said.name.clone(),
        created: token.created.as_unix_seconds(),
        expires: token.said.expires.map(Timestamp::as_unix_seconds),
        is_expired: token.is_expired(now),
    }
}

/// All keys.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<SlaveKeysBody>, ApiError> {
    check(asking)?;
    let look = |cluster: &Cluster| {
        let keys = cluster.slave_keys().keys();
        let keys = keys.map(|(key, joined)| key_view(cluster, key, joined));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by(|a, b| a.address.cmp(&b.address));
        SlaveKeysBody { keys }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// Lets a key open nothing any more.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(key): Path<PublicKey>,
    _: Signed<Empty>,
) -> Result<Json<SlaveKeyBody>, ApiError> {
    order(&api, asking, key, KeyCommand::Revoke(key)).await
}

/// Lets a key that was revoked be good again.
pub(super) async fn restore(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(key): Path<PublicKey>,
    _: Signed<Empty>,
) -> Result<Json<SlaveKeyBody>, ApiError> {
    order(&api, asking, key, KeyCommand::Restore(key)).await
}

async fn order(
    api: &Api,
    asking: Asking,
    key: PublicKey,
    command: KeyCommand,
) -> Result<Json<SlaveKeyBody>, ApiError> {
    tell(api, asking, command).await?;
    let look = move |cluster: &Cluster| {
        let joined = cluster.slave_keys().key(&key)?;
        Some(key_view(cluster, &key, joined))
    };
    let view = api.cluster.read(look).await?;
    let key = view.ok_or(Refusal::Key(KeyRefused::UnknownKey))?;
    Ok(Json(SlaveKeyBody { key }))
}

async fn tell(api: &Api, asking: Asking, command: KeyCommand) -> Result<Vec<Event>, ApiError> {
    check(asking)?;
    let by = asking.actor();
    let order = Command::SlaveKey { by, command };
    Ok(api.cluster.command(order).await?)
}

/// All join tokens, without their texts.
pub(super) async fn tokens(
    State(api): State<Arc<Api>>,
    asking: Asking,
) -> Result<Json<JoinTokensBody>, ApiError> {
    check(asking)?;
    let now = Timestamp::now();
    let look = move |cluster: &Cluster| {
        let tokens = cluster.slave_keys().tokens();
        let tokens = tokens.map(|(id, token)| token_view(id, token, now));
        JoinTokensBody {
            tokens: tokens.collect(),
        }
    };
    Ok(Json(api.cluster.read(look).await?))
}

/// Creates a join token. The answer is the only one that has the token itself.
pub(super) async fn create_token(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Signed(body): Signed<CreateJoinToken>,
) -> Result<(StatusCode, Json<CreatedJoinToken>), ApiError> {
    if body.expires_in == Some(0) {
        return Err(ApiError::invalid(
            "Field 'expires_in' must be a number of seconds, 1 or more.",
        ));
    }
    let now = Timestamp::now();
    let expires = body.expires_in.map(Duration::from_secs);
    let new = NewJoinToken {
        name: body.name,
        seed: hex::encode(random_bytes::<16>()),
        expires: expires.map(|time| {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Timestamp(now.0.saturating_add(time))
        }),
        most_slaves: None,
    };
    let seed = new.seed.clone();
    let events = tell(&api, asking, KeyCommand::CreateToken(new)).await?;
    let created = events.iter().find_map(|event| match &event.fact {
        Fact::SlaveKey(KeyFact::TokenCreated { token, new }) => Some((*token, new.clone())),
        _ => None,
    });
    let unknown = || Refusal::Key(KeyRefused::UnknownToken(TokenId(0)));
    let (id, said) = created.ok_or_else(unknown)?;
    let text = api.slave_keys.token_text(id, &seed).ok_or_else(unknown)?;
    let stored = StoredJoinToken { said, created: now };
    let token = token_view(id, &stored, now);
    Ok((StatusCode::CREATED, Json(CreatedJoinToken { token, text })))
}

/// Ends a join token.
pub(super) async fn revoke_token(
    State(api): State<Arc<Api>>,
    asking: Asking,
    Path(token): Path<TokenId>,
    _: Signed<Empty>,
) -> Result<Json<Success>, ApiError> {
    tell(&api, asking, KeyCommand::RevokeToken(token)).await?;
    Ok(Json(Success::default()))
}
