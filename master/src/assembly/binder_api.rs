//! The Binder API, and its key.

use super::{Farm, ServeError};
use crate::http::binder::{Api, Printed};
use crate::http::shared_key::SharedKey;
use crate::store::own_keys::{BINDER_KEY, Kept, binder_key};

impl Farm {
    /// The API; users reach applications at `router_port`.
    pub(super) fn binder_api(&self, router_port: u16) -> Result<Api, ServeError> {
        let settings = &self.settings;
        let consoles = (
            self.results.clone(),
            self.caller.clone(),
            self.turns.clone(),
        );
        Ok(Api {
            cluster: self.cluster.clone(),
            builds: self.builds(),
            printed: Printed::new(self.builds(), consoles),
            space: self.space.clone(),
            key: self.binder_key()?,
            launch_without_key: settings.binder.launch_without_key,
            reads_are_open: !settings.service.require_signed_reads,
            allow_local_sources: settings.service.allow_local_sources,
            image_policy: settings.image_policy,
            farm: settings.general.hostname.clone(),
            router_port,
        })
    }

    /// The key that is set, or else the one that is kept. A new one is printed once where somebody reads that, and never
    /// logged.
    #[expect(clippy::print_stdout, reason = "the user is to see it, and no log")]
    fn binder_key(&self) -> Result<SharedKey, ServeError> {
        if let Some(key) = &self.settings.binder.api_key {
            return Ok(SharedKey::new(key));
        }
        match binder_key(&self.directory).map_err(ServeError::BinderKey)? {
            Kept::Known(key) => Ok(SharedKey::new(&key)),
            Kept::Made(key) => {
                let file = self.directory.join(BINDER_KEY);
                let file = file.display();
                match self.is_output_read {
                    true => println!(
                        "The key of the Binder API, printed only this once and kept in {file}: {}",
                        String::from_utf8_lossy(key.as_bytes())
                    ),
                    false => tracing::info!(%file, "made a key of the Binder API"),
                }
                Ok(SharedKey::new(&key))
            }
        }
    }
}
