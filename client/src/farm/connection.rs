//! Clients of a master, with what they say to the user while they wait.

use crate::options::MasterAddress;
use crate::output;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::client::Outage;
use clusterrunner_common::caller::Caller;
use std::sync::Arc;
use std::time::Duration;

/// A client of the master at `master`.
pub(crate) fn client_of(
    master: &str,
    patience: Duration,
    settings: &Settings,
) -> Result<Client, Trouble> {
    let secret = settings.secret.clone();
    let caller = Caller::with_https(secret, settings.http_timeout, &settings.https)?
        .with_read_token(settings.read_token.clone())
        .with_user_token(settings.user_token.clone());
    let client = Client::new(caller, master, patience);
    let listener = |outage: Outage<'_>| match outage {
        Outage::Began { error, patience } => output::note(format!(
            "{error}; trying again for {} s",
            patience.as_secs()
        )),
        Outage::Ended => output::note("the master is back"),
    };
    let client = client.with_outage_listener(Arc::new(listener));
    if !settings.accept_legacy_peers {
        return Ok(client);
    }
    Ok(client.with_legacy_masters(Arc::new(|| {
        output::note(
            "the master is one of the original ClusterRunner: the request is signed by its body alone",
        );
    })))
}

/// Says under `--verbose` which master is asked, and whose settings are used.
pub(crate) fn tell_whom(master: &str, settings: &Settings) {
    let file = settings.file.display();
    output::detail(format!("master {master}, settings {file}"));
}

/// The same client for a look at a farm: where no master is now, the user wants to know it now, unless `--patience`
/// says otherwise.
pub(crate) fn impatient(client: &Client, address: &MasterAddress) -> Client {
    client.with_patience(address.patience_or(Duration::ZERO))
}
