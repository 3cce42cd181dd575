//! What it means when a caller says where a build stands.

use crate::Cluster;
use crate::builds::status::{PostedStatus, Status, StatusRefusal};
use crate::event::{BuildFact, Fact};
use crate::refusal::Refusal;
use clusterrunner_common::ids::BuildId;

impl Cluster {
    /// The status of a caller is one more status of the build. A final one ends what the farm runs of it.
    pub(super) fn posted(
        &self,
        id: BuildId,
        posted: Box<PostedStatus>,
    ) -> Result<Vec<Fact>, Refusal> {
        let status = posted.status;
        let not_after = |before| StatusRefusal::NotAfter { before, status };
        if self.is_ended(id) {
            return Err(not_after(None).into());
        }
        let build = self.known_build(id)?;
        let before = build.status().0;
        if build.is_over() || !status.may_follow(before) {
            return Err(not_after(Some(before)).into());
        }
        if build.has_enough_posted() && !status.is_final() {
            return Err(StatusRefusal::TooMany.into());
        }
        let end = match status {
            Status::Failed => {
                let said = posted.message.clone();
                let reason = said.unwrap_or_else(|| "A user says that it failed.".to_owned());
                Some(BuildFact::Failed { reason })
            }
            Status::Succeeded | Status::Stopped => Some(BuildFact::Canceled),
            Status::Created
            | Status::Scheduled
            | Status::Building
            | Status::Running
            | Status::Unknown => None,
        };
        // A parent of a matrix is never over before its children.
        let children = match end {
            Some(_) => self.canceled_children(build),
            None => Vec::new(),
        };
        let posted = Fact::Build(id, BuildFact::StatusPosted { posted });
        let end = end.map(|end| Fact::Build(id, end));
        Ok([posted].into_iter().chain(children).chain(end).collect())
    }
}
