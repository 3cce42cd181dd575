//! Bringing entries from the master, and to it: what one slave has installed, no other slave has to install.

use super::seal::is_sealed;
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::upload::Upload;
use clusterrunner_common::api::{KeptSetupReport, KeptSetupRequest};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::kept_entries::{EntryKey, Part};
use clusterrunner_common::disk::regular_file;
use reqwest::StatusCode;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How long one may take to come: then the set-up is done as if there were none.
const AT_MOST: Duration = Duration::from_secs(300);

/// The master as the place where entries of other slaves are.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    pub(crate) api: MasterApi,
    pub(crate) registration: Registration,
    pub(crate) secret: Secret,
    /// Whether that is the farm's, so that others can open what is sealed with it.
    pub(crate) is_shared: bool,
}

impl Sharing {
    fn is_with_others(&self) -> bool {
        self.is_shared && !self.api.dialect.is_original()
    }

    /// Brings an entry whole to a file; says whether the master has it.
    ///
    /// # Errors
    /// Why it did not come. The text goes to the user.
    pub(super) async fn bring(
        &self,
        key: &EntryKey,
        part: &Part,
        max_bytes: u64,
    ) -> Result<bool, String> {
        if !self.is_with_others() {
            return Ok(false);
        }
        let brought = self.try_to_bring(key, part, max_bytes);
        let brought = tokio::time::timeout(AT_MOST, brought).await;
        brought.unwrap_or_else(|_| Err("the master takes too long to bring it".to_owned()))
    }

    async fn try_to_bring(
        &self,
        key: &EntryKey,
        part: &Part,
        max_bytes: u64,
    ) -> Result<bool, String> {
        let request = KeptSetupRequest {
            slave_id: self.registration.some_id().await,
            session_id: self.api.session.clone(),
            key: key.as_str().to_owned(),
        };
        let mut response = match self.api.kept_setup(&request).await {
            Ok(response) => response,
            // An older master knows nothing of entries.
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(false),
            Err(error) => return Err(not_brought(&error)),
        };
        let mut file = regular_file::create(part.path()).map_err(|error| not_brought(&error))?;
        let mut left = max_bytes;
        while let Some(bytes) = response
            .chunk()
            .await
            .map_err(|error| not_brought(&error))?
        {
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or("it has more bytes than there is room for")?;
            file.write_all(&bytes)
                .map_err(|error| not_brought(&error))?;
        }
        let (secret, key, path) = (self.secret.clone(), key.clone(), part.path().to_owned());
        let checked = spawn_blocking(move || check(&secret, &key, path, &file)).await;
        let checked = checked
            .map_err(io::Error::other)
            .and_then(|checked| checked);
        match checked.map_err(|error| not_brought(&error))? {
            true => Ok(true),
            false => Err("what the master has brought is damaged or not of this farm".to_owned()),
        }
    }

    /// Brings an entry to the master. That it was not brought is told in the log alone: the next slave that makes one
    /// brings it.
    pub(super) async fn give(&self, key: &EntryKey, path: PathBuf) {
        if !self.is_with_others() {
            return;
        }
        match self.try_to_give(key, path).await {
            Ok(()) => {
                tracing::debug!(%key, "an entry of the set-up cache is at the master");
            }
            Err(why) => {
                tracing::warn!(%key, "the master has not taken an entry of the set-up cache: {why}");
            }
        }
    }

    async fn try_to_give(&self, key: &EntryKey, path: PathBuf) -> Result<(), String> {
        let report = KeptSetupReport {
            slave_id: self.registration.some_id().await,
            session_id: self.api.session.clone(),
            key: key.as_str().to_owned(),
        };
        let report = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        let upload = spawn_blocking(move || Upload::of_file(&report, &path)).await;
        let upload = upload.map_err(io::Error::other).and_then(|upload| upload);
        let upload = upload.map_err(|error| error.to_string())?;
        let sent = self.api.upload_kept_setup(upload).await;
        sent.map_err(|error| error.to_string())
    }
}

fn not_brought(error: &dyn std::fmt::Display) -> String {
    format!("the master did not bring it: {error}")
}

fn check(secret: &Secret, key: &EntryKey, path: PathBuf, written: &File) -> io::Result<bool> {
    written.sync_all()?;
    is_sealed(secret, key, &mut regular_file::open_itself(&path)?)
}
