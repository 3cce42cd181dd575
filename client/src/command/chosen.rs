//! Which build a command is about.

use super::failed_before::is_of_the_same_project;
use super::request::directory_here;
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
            Self::Latest => latest(client).await,
        }
    }
}

/// The newest build of the project in the present directory; where that is none, or has no builds, of the farm. Of a
/// matrix it is the parent.
async fn latest(client: &Client) -> Result<BuildId, Trouble> {
    let builds = client.builds().await?;
    let newest_first = || builds.iter().rev().filter(|build| build.parent.is_none());
    let here = directory_here()?;
    let of_project =
        here.and_then(|here| newest_first().find(|build| is_of_the_same_project(build, &here)));
    let id = |build: &BuildView| build.id;
    let found = of_project.or_else(|| newest_first().next());
    found.map(id).ok_or_else(|| {
        Trouble::usage("the master knows no build, so there is no latest one")
            .hint("`clusterrunner build` runs one")
    })
}
