//! The app that a path names, as a handler takes it: with the access that the route needs, so no handler forgets to ask.

use super::Api;
use super::callers::Asking;
use super::error::DeisError;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::apps::command::AppCommand;
use clusterrunner_core::apps::facts::AppFact;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Fact;
use std::marker::PhantomData;
use std::sync::Arc;

/// The least access that a route needs, and how it says no.
pub(super) trait Needs: Send + Sync + 'static {
    /// The access.
    const ACCESS: Access;
    /// What is told to those who may see the app, but not this.
    fn refused() -> DeisError {
        DeisError::Forbidden
    }
    /// What is told to those who may not see the app.
    fn unseen() -> DeisError {
        DeisError::NotFound
    }
}

/// The route only reads.
#[derive(Debug)]
pub(super) struct Reading;

/// The route changes something that collaborators may change.
#[derive(Debug)]
pub(super) struct Using;

/// The route deletes.
#[derive(Debug)]
pub(super) struct Owning;

/// The route shows who works on the app.
#[derive(Debug)]
pub(super) struct SeeingUsers;

/// The route says who works on the app.
#[derive(Debug)]
pub(super) struct ChoosingUsers;

impl Needs for Reading {
    const ACCESS: Access = Access::Read;
}

impl Needs for Using {
    const ACCESS: Access = Access::Use;
}

impl Needs for Owning {
    const ACCESS: Access = Access::Own;
}

impl Needs for SeeingUsers {
    const ACCESS: Access = Access::Read;

    fn unseen() -> DeisError {
        DeisError::SilentlyForbidden
    }
}

impl Needs for ChoosingUsers {
    const ACCESS: Access = Access::Own;

    fn refused() -> DeisError {
        DeisError::SilentlyForbidden
    }

    fn unseen() -> DeisError {
        DeisError::SilentlyForbidden
    }
}

/// An app that the caller may do something with.
#[derive(Debug)]
pub(super) struct Granted<N> {
    /// Who asks.
    pub(super) asking: Asking,
    /// The project that is deployed.
    pub(super) project: ProjectId,
    /// The app's id.
    pub(super) id: String,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Arc<Api>> for Granted<N> {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, DeisError> {
        let asking = Asking::from_request_parts(parts, api).await?;
        let named = RawPathParams::from_request_parts(parts, &()).await;
        let named = named.map_err(|_| DeisError::NotFound)?;
        let id = named.iter().find(|(name, _)| *name == "app");
        let id = id.map(|(_, id)| id.to_owned()).unwrap_or_default();
        let of = id.clone();
        let look = move |cluster: &Cluster| {
            let app = cluster.app_of_id(&of)?;
            let project = cluster.project(app.project)?;
            Some((app.project, asking.may(Subject::App(project))))
        };
        let found = api.cluster.read(look).await?;
        let (project, may) = found.ok_or(DeisError::NotFound)?;
        if may == Access::None {
            return Err(N::unseen());
        }
        if may < N::ACCESS {
            return Err(N::refused());
        }
        Ok(Self {
            asking,
            project,
            id,
            needs: PhantomData,
        })
    }
}

impl<N> Granted<N> {
    /// Gives an order about apps. What the core decided because of it.
    pub(super) async fn order(
        &self,
        api: &Api,
        command: AppCommand,
    ) -> Result<Vec<Fact>, DeisError> {
        order(api, self.asking, command).await
    }
}

/// Gives an order about apps.
pub(super) async fn order(
    api: &Api,
    asking: Asking,
    command: AppCommand,
) -> Result<Vec<Fact>, DeisError> {
    let by = asking.actor();
    let events = api.cluster.command(Command::App { by, command }).await?;
    Ok(events.into_iter().map(|event| event.fact).collect())
}

/// The version of the release that an order made.
pub(super) fn released(facts: &[Fact]) -> Result<u64, DeisError> {
    let released = facts.iter().find_map(|fact| match fact {
        Fact::App(_, AppFact::Released { release }) => Some(release.version),
        _ => None,
    });
    // Each order that asks for this makes one.
    released.ok_or(DeisError::NotFound)
}
