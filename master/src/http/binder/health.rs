//! How the master and the slaves are.

use super::Api;
use super::callers::KeyHolder;
use super::error::BinderError;
use super::times;
use axum::Json;
use axum::extract::State;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::Cluster;
use clusterrunner_core::slaves::slave::{Presence, Slave};
use serde::Serialize;
use std::sync::Arc;

/// A part of the farm.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    name: String,
    /// When it was known to run, or since when it is not.
    timestamp: String,
    status: &'static str,
}

/// The master, and each slave that is listed.
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    KeyHolder(_): KeyHolder,
) -> Result<Json<Vec<Part>>, BinderError> {
    let now = Timestamp::now();
    let look = move |cluster: &Cluster| {
        let listed = cluster.slaves().filter(|slave| slave.is_listed());
        listed.map(|slave| part_of(slave, now)).collect()
    };
    let slaves: Vec<Part> = api.cluster.read(look).await?;
    let mut parts = vec![Part::running("master".to_owned(), now)];
    parts.extend(slaves);
    Ok(Json(parts))
}

impl Part {
    fn running(name: String, now: Timestamp) -> Self {
        let timestamp = times::shown(now);
        Self {
            name,
            timestamp,
            status: "running",
        }
    }
}

fn part_of(slave: &Slave, now: Timestamp) -> Part {
    let name = format!("slave {}", slave.url);
    match slave.presence {
        Presence::Alive | Presence::ShuttingDown => Part::running(name, now),
        Presence::Lost { at, .. } => Part {
            name,
            timestamp: times::shown(at),
            status: "down",
        },
        Presence::Ending | Presence::ShutDown | Presence::Replaced => Part {
            name,
            timestamp: times::shown(now),
            status: "down",
        },
    }
}
