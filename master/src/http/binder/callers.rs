//! Who asks, as a handler takes it: there is no other way to know the caller, so no handler forgets the key.

use super::Api;
use super::error::BinderError;
use super::key::candidates;
use crate::http::tokens;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use clusterrunner_common::auth::strangers::proof_holds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use std::sync::Arc;

/// Whoever asks: a key that is none is ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anyone(pub(super) Caller);

/// A caller that may read: whoever asks, or where reads are not open a holder of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader(pub(super) Caller);

/// A holder of the API's key, or a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHolder(pub(super) Caller);

/// The same, with a token that lets its user start something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starter(pub(super) Caller);

impl FromRequestParts<Arc<Api>> for Anyone {
    type Rejection = BinderError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, BinderError> {
        let value = parts.headers.get(header::AUTHORIZATION);
        let Some(value) = value.and_then(|value| value.to_str().ok()) else {
            return Ok(Self(Caller::Nobody));
        };
        for text in candidates(value) {
            if api.key.is(text) {
                proof_holds(&parts.extensions);
                return Ok(Self(Caller::BinderKey));
            }
            let user = tokens::holder(text, &api.cluster, Timestamp::now()).await?;
            if let Some(user) = user {
                proof_holds(&parts.extensions);
                return Ok(Self(Caller::User(user)));
            }
        }
        Ok(Self(Caller::Nobody))
    }
}

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = BinderError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, BinderError> {
        let Anyone(caller) = Anyone::from_request_parts(parts, api).await?;
        match caller {
            Caller::Nobody if !api.reads_are_open => Err(BinderError::Unauthorized),
            caller => Ok(Self(caller)),
        }
    }
}

impl FromRequestParts<Arc<Api>> for KeyHolder {
    type Rejection = BinderError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, BinderError> {
        let Anyone(caller) = Anyone::from_request_parts(parts, api).await?;
        match caller {
            Caller::Nobody => Err(BinderError::Unauthorized),
            caller => Ok(Self(caller)),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Starter {
    type Rejection = BinderError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, BinderError> {
        let KeyHolder(caller) = KeyHolder::from_request_parts(parts, api).await?;
        match access(caller, Subject::Templates, false) >= Access::Use {
            true => Ok(Self(caller)),
            false => Err(BinderError::Unauthorized),
        }
    }
}
