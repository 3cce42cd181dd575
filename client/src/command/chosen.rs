//! Which build a command is about.

use super::request::directory_here;
use super::send::Here;
use crate::options::BuildChoice;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;

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

/// The newest build of the project in the present directory, also one that was sent; where there is none, of the farm, if
/// any build may be meant. Of a matrix it is the parent.
async fn latest(client: &Client, whose: Whose) -> Result<BuildId, Trouble> {
    let builds = client.builds().await?;
    let newest_first = || builds.iter().rev().filter(|build| build.parent.is_none());
    let of_project = match directory_here() {
        Some(directory) => {
            let here = Here::at(&directory).await;
            newest_first().find(|build| here.can_have_started(build))
        }
        None => None,
    };
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
