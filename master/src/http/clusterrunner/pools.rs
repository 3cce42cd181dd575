//! Slaves on demand, and how it goes with them.

use super::Api;
use super::requests::sees_farm;
use crate::read::pools::PoolSeen;
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::pools::{PoolFailureView, PoolSlaveView, PoolView, PoolsBody};
use clusterrunner_common::ids::SlaveId;
use clusterrunner_core::access::Caller;
use std::sync::Arc;

/// All of them. What tools of a provider complain of may tell of accounts and machines: holders of the secret and superusers
/// read it.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Json<PoolsBody> {
    let sees_all = sees_farm(caller);
    let pools = api.pools.all().into_iter();
    let shown = |view: PoolView| match sees_all {
        true => view,
        false => without_complaints(view),
    };
    Json(PoolsBody {
        pools: pools.map(view).map(shown).collect(),
    })
}

fn without_complaints(view: PoolView) -> PoolView {
    let why = match view.reason.as_str() {
        "paused" => "something failed, and the next attempt waits".to_owned(),
        "hindered" => "something is in the way of what is to start".to_owned(),
        "queue_stands" => "slaves wait in the provider's queue for long".to_owned(),
        _ => view.why,
    };
    PoolView {
        why,
        last_failure: None,
        ..view
    }
}

fn view(pool: PoolSeen) -> PoolView {
    let counts = pool.counts;
    let slaves = pool.slaves.into_iter().map(|slave| PoolSlaveView {
        name: slave.name,
        state: slave.state.to_owned(),
        slave_id: slave.slave.map(SlaveId),
    });
    PoolView {
        name: pool.name,
        provider: pool.provider.to_owned(),
        min_slaves: u64::from(pool.min_slaves),
        max_slaves: u64::from(pool.max_slaves),
        executors: u64::from(pool.executors),
        labels: pool.labels.into_iter().collect(),
        wanted_slaves: pool.wanted_slaves,
        wanted_executors: pool.wanted_executors,
        queued: counts.queued,
        starting: counts.starting,
        idle: counts.idle,
        busy: counts.joined.saturating_sub(counts.idle),
        leaving: counts.leaving,
        busy_executors: counts.busy,
        failed: pool.failed,
        reason: pool.reason.to_owned(),
        why: pool.why,
        last_failure: pool.last_failure.map(|(at, message)| PoolFailureView {
            at: at.as_unix_seconds(),
            message,
        }),
        slaves: slaves.collect(),
    }
}
