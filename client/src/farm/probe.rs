//! Which program answers at an address.

use super::connection::client_of;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::ClientError;
use clusterrunner_common::api::SlaveView;
use clusterrunner_common::caller::CallError;
use std::time::Duration;

/// How long a look may take. The daemons of this machine answer at once, or not at all.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Who answers at an address.
pub(super) enum Probe {
    /// A master with these slaves.
    Master(Vec<SlaveView>),
    /// Another program.
    Stranger,
    /// No answer.
    Nobody,
}

/// Whether a master takes what this user signs. One that does not say so in time does.
pub(super) async fn takes_us(address: &str, settings: &Settings) -> Result<bool, Trouble> {
    let client = client_of(address, Duration::ZERO, settings)?;
    let asked = tokio::time::timeout(PROBE_LIMIT, client.is_trusted()).await;
    Ok(asked.is_err() || asked.is_ok_and(|answer| answer.unwrap_or(true)))
}

pub(super) async fn probe(address: &str, settings: &Settings) -> Result<Probe, Trouble> {
    let client = client_of(address, Duration::ZERO, settings)?;
    match tokio::time::timeout(PROBE_LIMIT, client.master_view()).await {
        Ok(Ok(master)) => Ok(Probe::Master(master.slaves)),
        Ok(Err(error)) if error.is_unreachable() => Ok(Probe::Nobody),
        Ok(Err(error @ ClientError::Call(CallError::Insecure { .. }))) => Err(error.into()),
        Err(_) => Ok(Probe::Nobody),
        Ok(Err(_)) => Ok(Probe::Stranger),
    }
}
