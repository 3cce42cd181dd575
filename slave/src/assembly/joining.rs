//! What a slave joins its master with: the key that it has, a join token, the farm's secret.

use super::ServeError;
use crate::data_directory::DataDirectory;
use crate::master::identity::{Identity, Way};
use clusterrunner_common::auth::keys::{JoinToken, NoJoinToken};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::settings::SlaveSettings;
use std::path::Path;
use tokio::task::spawn_blocking;

/// No file with a join token is longer.
const LONGEST_TOKEN: u64 = 4096;

/// Who the slave is, and the farm's secret if it has that. It makes one, as all programs do, where it has nothing else to
/// join with.
pub(super) async fn identity(
    settings: &SlaveSettings,
    data: &DataDirectory,
) -> Result<(Identity, Option<Secret>), ServeError> {
    let general = &settings.general;
    let directory = data.path().join("identity");
    let has_joined = directory.join("master.pub").exists();
    let token = match &settings.join_token_file {
        // It needs none any more.
        Some(file) if has_joined && !settings.forgets_master && !file.exists() => {
            tracing::warn!(
                "there is no join token in {} any more: this slave goes on with its own key",
                file.display()
            );
            None
        }
        Some(file) => Some(read_token(file)?),
        None => None,
    };
    let has_other = token.is_some() || has_joined;
    let secret = match &general.secret {
        Some(secret) => Some(secret.clone()),
        None if has_other => None,
        None => {
            tracing::warn!(
                "made a secret in {}, since there was none; a master with another secret takes no slave: put the master's \
                 secret there, or give this slave a join token",
                general.config_file.display()
            );
            Some(general.secret_or_generate()?)
        }
    };
    let ways = token.map(Way::Token).into_iter();
    let ways = ways.chain(secret.clone().map(Way::Secret)).collect();
    let forgets = settings.forgets_master;
    let open = move || Identity::open(directory, forgets, ways);
    let identity = spawn_blocking(open).await?.map_err(ServeError::Identity)?;
    Ok((identity, secret))
}

fn read_token(file: &Path) -> Result<JoinToken, ServeError> {
    let unusable = |reason: String| ServeError::JoinToken {
        file: file.to_owned(),
        reason,
    };
    let text = regular_file::read_secret(file, LONGEST_TOKEN);
    let text = text.map_err(|error| unusable(error.to_string()))?;
    text.parse()
        .map_err(|error: NoJoinToken| unusable(error.to_string()))
}
