//! Which build a command is about.

use super::failed_before::is_of_the_same_project;
use super::request::directory_here;
use crate::options::BuildChoice;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use serde_json::Value;
use std::path::Path;

impl BuildChoice {
    /// Its number. The master is asked only for the latest build.
    pub(super) async fn of(self, client: &Client) -> Result<BuildId, Trouble> {
        match self {
            Self::Number(build) => Ok(build),
            Self::Latest => latest(client, Whose::Anybodys).await,
        }
    }

    /// Its number, for a command that changes something: the latest build then is one of the project here, and nobody
    /// else's.
    pub(super) async fn own(self, client: &Client) -> Result<BuildId, Trouble> {
        match self {
            Self::Number(build) => Ok(build),
            Self::Latest => latest(client, Whose::OfProject).await,
        }
    }
}

/// Which builds may be meant where the present directory has no project, or one without builds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    OfProject,
    Anybodys,
}

/// The newest build of the project in the present directory; where that is none, or has no builds, of the farm, if any
/// build may be meant. Of a matrix it is the parent.
async fn latest(client: &Client, whose: Whose) -> Result<BuildId, Trouble> {
    let builds = client.builds().await?;
    let newest_first = || builds.iter().rev().filter(|build| build.parent.is_none());
    let here = directory_here()?;
    let of_project = here.and_then(|here| {
        newest_first()
            .find(|build| is_of_the_same_project(build, &here) || is_of_repository(build, &here))
    });
    let id = |build: &BuildView| build.id;
    if of_project.is_none() && whose == Whose::OfProject {
        return Err(
            Trouble::usage("there is no build of a project in this directory")
                .hint("name the build by its number: `clusterrunner status` lists them"),
        );
    }
    let found = of_project.or_else(|| newest_first().next());
    found.map(id).ok_or_else(|| {
        Trouble::usage("the master knows no build, so there is no latest one")
            .hint("`clusterrunner build` runs one")
    })
}

/// Whether a build is of the git repository in the directory that a request names, by its path as its URL.
fn is_of_repository(build: &BuildView, request: &BuildRequest) -> bool {
    let ProjectSource::Directory { project_directory } = &request.project else {
        return false;
    };
    let url = build.request_params.get("url").and_then(Value::as_str);
    let path = url.map(|url| url.strip_prefix("file://").unwrap_or(url));
    path.is_some_and(|path| Path::new(path) == Path::new(project_directory))
}
