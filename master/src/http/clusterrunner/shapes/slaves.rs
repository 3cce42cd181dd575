//! Slaves as this API shows them. Pure.

use crate::read::slave_signs::SlaveSigns;
use clusterrunner_common::api::{BuildOnSlaveState, SlaveView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::slaves::slave::{BuildOnSlave, Presence, Slave};

/// A slave.
#[must_use]
pub(crate) fn slave(slave: &Slave) -> SlaveView {
    // One that is cleared away counts until that is done, as in the original.
    let is_leaving = |place: &BuildOnSlave| *place == BuildOnSlave::TearingDown;
    let current = slave
        .builds
        .iter()
        .min_by_key(|(_, place)| is_leaving(place));
    SlaveView {
        url: slave.url.clone(),
        id: slave.id,
        session_id: Some(slave.session.clone()).filter(|session| !session.0.is_empty()),
        num_executors: slave.num_executors,
        num_executors_in_use: u32::try_from(slave.num_busy()).unwrap_or(u32::MAX),
        current_build_id: current.map(|(build, _)| *build),
        current_build_state: current.map(|(_, place)| match place {
            BuildOnSlave::SettingUp { .. } => BuildOnSlaveState::SettingUp,
            BuildOnSlave::Ready => BuildOnSlaveState::Ready,
            BuildOnSlave::TearingDown => BuildOnSlaveState::TearingDown,
        }),
        is_alive: slave.is_alive(),
        is_in_shutdown_mode: slave.was_shut_down(),
        is_drained: slave.is_drained,
        labels: slave.labels.iter().cloned().collect(),
        is_quarantined: slave.quarantine.is_some(),
        quarantine_reason: slave.quarantine.clone(),
        next_probe_at: slave.next_probe().map(Timestamp::as_unix_seconds),
        is_in_doubt: slave.limit.is_some(),
        lost_reason: None,
        is_stopped: false,
        last_heard_at: None,
        version: None,
        load_of_last_hour: Vec::new(),
        isolation: None,
        runs_containers: None,
        key: slave.key.map(|key| key.fingerprint()),
    }
}

/// A slave with what is known of it beside the facts.
pub(crate) fn slave_with_signs(known: &Slave, signs: &SlaveSigns) -> SlaveView {
    let signs = signs.of(known.id);
    let (lost_reason, is_stopped) = match &known.presence {
        Presence::Lost {
            reason, is_stopped, ..
        } => (Some(reason.clone()), *is_stopped),
        _ => (None, false),
    };
    SlaveView {
        lost_reason,
        is_stopped,
        last_heard_at: signs.last_heard.map(Timestamp::as_unix_seconds),
        version: signs.version,
        load_of_last_hour: signs.load,
        isolation: signs.isolation,
        runs_containers: known.hosting.map(|hosting| hosting.runs_images),
        ..slave(known)
    }
}
