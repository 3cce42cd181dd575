//! Working trees that are sent to a master.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::working_trees::{MissingAnswer, MissingRequest, WorkingTreeKept};
use clusterrunner_common::auth::signature::content_digest_of;
use clusterrunner_common::git::SentName;
use futures_util::StreamExt as _;
use reqwest::Method;
use std::fs::File;
use std::path::Path;
use tokio_util::io::ReaderStream;

/// How much is read of a pack at a time.
const PIECE: usize = 256 << 10;

/// The pack of a working tree.
#[derive(Clone, Copy, Debug)]
pub struct SentPack<'a> {
    /// The repository that it is on top of, as the build will name it.
    pub url: &'a str,
    /// The commit in it.
    pub commit: &'a str,
    /// The one that was sent before and has what it lacks.
    pub after: Option<&'a SentName>,
    /// Where it is.
    pub path: &'a Path,
    /// How long it is.
    pub bytes: u64,
}

impl Client {
    /// Which objects of a working tree are to be sent.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn missing_of_working_tree(
        &self,
        request: &MissingRequest,
    ) -> Result<MissingAnswer, ClientError> {
        let url = self.url("/v2/working_trees/missing");
        self.repeat(ClientError::is_passing, || async {
            Ok(self.caller.send(Method::POST, &url, request).await?)
        })
        .await
    }

    /// Sends the pack of a working tree. Sending it again does no harm, so it is repeated while the master can not be
    /// reached. `sent` is told how many bytes are on their way.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send_working_tree(
        &self,
        pack: &SentPack<'_>,
        sent: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> Result<WorkingTreeKept, ClientError> {
        let unreadable = |source| ClientError::Store {
            path: pack.path.to_owned(),
            source,
        };
        let path = pack.path.to_owned();
        let digest = tokio::task::spawn_blocking(move || content_digest_of(File::open(path)?));
        let digest = digest.await.map_err(std::io::Error::other);
        let digest = digest.and_then(|digest| digest).map_err(unreadable)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("url", pack.url);
        query.append_pair("commit", pack.commit);
        if let Some(after) = pack.after {
            query.append_pair("after", &after.to_string());
        }
        let url = self.url(&format!("/v2/working_trees?{}", query.finish()));
        self.repeat(ClientError::is_passing, || async {
            let file = tokio::fs::File::open(pack.path).await.map_err(unreadable)?;
            let (mut passed, told) = (0, sent.clone());
            let pieces = ReaderStream::with_capacity(file, PIECE).map(move |piece| {
                passed += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                told(passed);
                piece
            });
            let body = reqwest::Body::wrap_stream(pieces);
            let kind = "application/x-git-pack";
            let kept = self
                .caller
                .upload(&url, kind, pack.bytes, &digest, body, None);
            Ok(kept.await?)
        })
        .await
    }
}
