//! Who asks, as a handler takes it: there is no other way to know the caller, so no handler forgets to ask for access.

use super::Api;
use super::error::{BadToken, DeisError};
use crate::http::caller::actor;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::actor::Actor;
use std::sync::Arc;

/// A user, or the holder of the farm's secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking(pub(super) Caller);

/// A user that reads what is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfUser(pub(super) UserId);

/// A user that changes what is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByUser(pub(super) UserId);

/// A superuser, or the holder of the farm's secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superuser(pub(super) Actor);

impl Asking {
    /// As whom the caller gives orders.
    pub(super) fn actor(self) -> Actor {
        actor(self.0)
    }

    /// What the caller may do to something. Whoever has a token has proved enough to read.
    pub(super) fn may(self, subject: Subject<'_>) -> Access {
        access(self.0, subject, true)
    }

    /// The holder of the secret is no user.
    fn user(self, needs: Access) -> Result<UserId, DeisError> {
        match self.0 {
            Caller::User(user) if self.may(Subject::User(user.id)) >= needs => Ok(user.id),
            _ => Err(DeisError::Forbidden),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Asking {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, DeisError> {
        match parts.extensions.get::<Caller>() {
            Some(caller @ (Caller::User(_) | Caller::Secret(_))) => Ok(Self(*caller)),
            _ => Err(BadToken::Missing.into()),
        }
    }
}

impl FromRequestParts<Arc<Api>> for OfUser {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, DeisError> {
        let asking = Asking::from_request_parts(parts, api).await?;
        asking.user(Access::Read).map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for ByUser {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, DeisError> {
        let asking = Asking::from_request_parts(parts, api).await?;
        asking.user(Access::Own).map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for Superuser {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, DeisError> {
        let asking = Asking::from_request_parts(parts, api).await?;
        match asking.may(Subject::Accounts) >= Access::Admin {
            true => Ok(Self(asking.actor())),
            false => Err(DeisError::Forbidden),
        }
    }
}
