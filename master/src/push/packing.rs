//! Packs of many pushes become one, in the background: one repository of the farm at a time, and none that somebody writes
//! to.

use super::Pushes;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::lock::lock;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// With how many packs a repository stays as it is. Each push adds one.
const FEW: u64 = 20;

/// How long packing may take.
const AT_MOST: Duration = Duration::from_secs(3600);

/// How much of what git says is read for the log.
const SAID: u64 = 2000;

impl Pushes {
    /// Packs the repository of a project in the background, where it has got many packs.
    pub(super) fn pack_soon(&self, project: ProjectId) {
        let pushes = self.clone();
        self.git.in_background(async move {
            let stop = pushes.parts.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = pushes.pack(project) => {}
            }
        });
    }

    /// What fails or is broken off is done after a later push: what is in the repository stays there all the time.
    async fn pack(&self, project: ProjectId) {
        let _turn = self.packing.lock().await;
        if self.is_pushed_to(project) {
            return;
        }
        let own = &self.parts.own;
        let Some((packer, is_wanted)) = own.packer(project) else {
            return;
        };
        let bytes = match own.packs(project).await {
            Ok((FEW.., bytes)) => bytes,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(project.id = %project, %error, "the packs of a repository can not be counted");
                return;
            }
        };
        if let Err(error) = self.parts.space.check(bytes) {
            tracing::warn!(project.id = %project, %error, "a repository is not packed");
            return;
        }
        let directory = own.directory_of(project);
        let mut packing = match self.git.pack(&directory, packer) {
            Ok(packing) => packing,
            Err(error) => {
                tracing::warn!(project.id = %project, %error, "git could not be started to pack a repository");
                return;
            }
        };
        let mut said = Vec::new();
        let ended = async {
            if let Some(stderr) = packing.stderr.as_mut() {
                stderr.take(SAID).read_to_end(&mut said).await.ok();
            }
            packing.end().await
        };
        let code = tokio::select! {
            () = is_wanted.cancelled() => {
                tracing::debug!(project.id = %project, "packing makes way for somebody who writes");
                return;
            }
            ended = tokio::time::timeout(AT_MOST, ended) => ended.ok().flatten(),
        };
        if code == Some(0) {
            tracing::debug!(project.id = %project, bytes, "the packs of a repository are one");
        } else {
            let said = String::from_utf8_lossy(&said);
            let said = clusterrunner_common::text::printable::plain(&said);
            tracing::warn!(project.id = %project, ?code, %said, "git could not pack a repository");
        }
    }

    /// Whether a push to a project is under way.
    fn is_pushed_to(&self, project: ProjectId) -> bool {
        let awaited = lock(&self.awaited);
        let mut awaited = awaited.values();
        awaited.any(|pushed| pushed.opened.project == project) || self.places.is_pushed_to(project)
    }
}
