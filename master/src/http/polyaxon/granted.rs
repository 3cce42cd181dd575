//! What a handler of a project or of a build takes: it is there, and the caller may do what the route needs. There is no
//! other way to a project, so no handler forgets to ask.

use super::Api;
use super::error::PolyaxonError;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, UserCaller, access};
use clusterrunner_core::accounts::projects::Project;
use std::marker::PhantomData;
use std::sync::Arc;

/// The least access that a route needs.
pub(super) trait Needs: Send + Sync + 'static {
    /// The access.
    const ACCESS: Access;
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

impl Needs for Reading {
    const ACCESS: Access = Access::Read;
}

impl Needs for Using {
    const ACCESS: Access = Access::Use;
}

impl Needs for Owning {
    const ACCESS: Access = Access::Own;
}

/// The user that asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking(pub(super) UserCaller);

/// A project that the caller may do something with.
#[derive(Debug)]
pub(super) struct Granted<N> {
    /// The user that asks.
    pub(super) caller: UserCaller,
    /// The name of the project's owner.
    pub(super) owner: String,
    /// The project.
    pub(super) project: Project,
    needs: PhantomData<N>,
}

/// A build of a project that the caller may do something with.
#[derive(Debug)]
pub(super) struct GrantedBuild<N> {
    /// The build's project.
    pub(super) of: Granted<N>,
    /// The build. It is kept, archived or not.
    pub(super) build: BuildId,
}

impl FromRequestParts<Arc<Api>> for Asking {
    type Rejection = PolyaxonError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, PolyaxonError> {
        match parts.extensions.get() {
            Some(Caller::User(user)) => Ok(Self(*user)),
            _ => Err(PolyaxonError::NotAuthenticated),
        }
    }
}

impl<N: Needs> FromRequestParts<Arc<Api>> for Granted<N> {
    type Rejection = PolyaxonError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, PolyaxonError> {
        let Asking(caller) = Asking::from_request_parts(parts, api).await?;
        let path = PathNames::of(parts).await?;
        let look = move |cluster: &Cluster| path.project(cluster, caller, N::ACCESS);
        let (owner, project) = api.cluster.read(look).await??;
        Ok(Self {
            caller,
            owner,
            project,
            needs: PhantomData,
        })
    }
}

impl<N: Needs> FromRequestParts<Arc<Api>> for GrantedBuild<N> {
    type Rejection = PolyaxonError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, PolyaxonError> {
        let of = Granted::<N>::from_request_parts(parts, api).await?;
        let path = PathNames::of(parts).await?;
        let build = path.build.ok_or(PolyaxonError::NotFound)?;
        let project = of.project.id;
        let is_of_project = move |cluster: &Cluster| {
            let found = cluster.project_of(build);
            found.is_some_and(|found| found.id == project)
        };
        match api.cluster.read(is_of_project).await? {
            true => Ok(Self { of, build }),
            false => Err(PolyaxonError::NotFound),
        }
    }
}

/// What a path names.
#[derive(Debug, Default)]
struct PathNames {
    owner: String,
    project: String,
    build: Option<BuildId>,
}

impl PathNames {
    async fn of(parts: &mut Parts) -> Result<Self, PolyaxonError> {
        let named = RawPathParams::from_request_parts(parts, &()).await;
        let named = named.map_err(|_| PolyaxonError::NotFound)?;
        let mut names = Self::default();
        for (name, value) in &named {
            match name {
                "user" => value.clone_into(&mut names.owner),
                "project" => value.clone_into(&mut names.project),
                // As it is shown: a sign before it would make a second address.
                "build" => {
                    // As it is shown: a sign before it would make a second address.
                    let is_shown_so = |id: &BuildId| id.to_string() == value;
                    names.build = value.parse().ok().filter(is_shown_so);
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn project(
        &self,
        cluster: &Cluster,
        caller: UserCaller,
        needs: Access,
    ) -> Result<(String, Project), PolyaxonError> {
        let owner = cluster.owner_named(&self.owner);
        let project = owner.and_then(|owner| cluster.project_named(owner, &self.project));
        let project = project.ok_or(PolyaxonError::NotFound)?;
        // Whoever has a token has proved enough to read what is public.
        let may = access(Caller::User(caller), Subject::Project(project), true);
        if may < needs {
            return Err(PolyaxonError::Forbidden);
        }
        Ok((self.owner.clone(), project.clone()))
    }
}
