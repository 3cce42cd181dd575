//! Giving a build its secrets. They are in memory alone, but for those that are to be files.

use super::{Setup, SetupError};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::text::masking::Mask;
use clusterrunner_common::work::GivenSecrets;
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;

impl Setup {
    /// The variables of a build with its secrets, which are masked from now on in what its commands print.
    pub(super) async fn with_secrets(
        &self,
        build: BuildId,
        variables: Arc<BuildVariables>,
        secrets: &GivenSecrets,
    ) -> Result<Arc<BuildVariables>, SetupError> {
        if secrets.is_empty() {
            return Ok(variables);
        }
        let (secrets, files) = (secrets.clone(), self.secret_files.clone());
        let give = move || {
            let mut given = BuildVariables::clone(&variables);
            let values = secrets.0.iter().map(|secret| secret.value.expose());
            given.mask = Arc::new(Mask::of(values));
            let (as_files, as_values): (Vec<_>, Vec<_>) =
                secrets.0.iter().partition(|secret| secret.as_file);
            for secret in as_values {
                given.secret.set(&secret.name, secret.value.expose());
            }
            if !as_files.is_empty() {
                let contents = as_files.iter();
                let contents = contents.map(|secret| (secret.name.as_str(), secret.value.expose()));
                for (name, path) in files.write(build, contents)? {
                    given.secret.set(name, path.to_string_lossy());
                }
                given.secret_files = Some(files.of(build));
            }
            Ok(Arc::new(given))
        };
        let given = spawn_blocking(give).await.map_err(io::Error::other);
        given.and_then(|given| given).map_err(SetupError::Secrets)
    }
}
