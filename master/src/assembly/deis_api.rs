//! The API of the Deis controller.

use super::Farm;
use crate::http::accounts::Accounts;
use crate::http::deis::Api;
use crate::read::feed::Feed;
use crate::read::runs::Runs;
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::settings::MasterSettings;
use std::sync::Arc;
use tokio::sync::watch;

/// The names by which users reach the master: no app may have them.
pub(super) fn own_names(settings: &MasterSettings) -> Vec<String> {
    let general = &settings.general;
    let first = [&general.hostname, &general.master_hostname];
    let all = first.into_iter().chain(&settings.apps.further_hostnames);
    all.cloned().collect()
}

impl Farm {
    /// The last of the arguments tells when it is settled whether users can push by SSH.
    pub(super) fn deis_api(
        &self,
        accounts: Accounts,
        is_tls: bool,
        feed: Feed,
        ssh_is_settled: watch::Receiver<bool>,
    ) -> Api {
        let logs = self.launched.logs.clone();
        Api {
            runs: Runs::new(self.cluster.clone(), feed.clone(), logs),
            app_logs: self.launched.app_logs.clone(),
            feed,
            cluster: self.cluster.clone(),
            accounts,
            apps: self.settings.apps.clone(),
            own_names: own_names(&self.settings),
            is_tls,
            ssh_is_settled,
        }
    }

    /// Requests that are signed with the secret pass it, also those that only read.
    pub(super) fn deis_gate(&self, secret: Secret) -> Arc<Gate> {
        let max_age = self.settings.service.signature_max_age;
        Gate::new(secret, &self.session, max_age, |_, _| false).with_proved_reads(None)
    }
}
