//! Telling a slave which instances it is to run: always all of them, so only the newest order counts. It is repeated
//! until the slave answers, and goes beside the calls about builds.

use super::batch::encode;
use super::calls::Calls;
use super::repeating::{FIRST_PAUSE, LONGEST_PAUSE, may_pass};
use crate::read::metrics::InternalError;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::instances::{InstanceOrder, InstancesOrder, OrderedPurpose};
use clusterrunner_common::caller::CallError;
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::WantedInstance;
use clusterrunner_core::instances::instance::Purpose;
use reqwest::{Method, StatusCode};
use std::sync::Arc;
use tokio::sync::watch;

/// All that a slave is to run, and what it is to fetch before anything asks for it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) instances: Vec<WantedInstance>,
    pub(super) preloads: Vec<TemplateContent>,
}

/// The newest order; none before the first.
pub(super) type Newest = Option<Arc<Wanted>>;

impl Calls {
    /// Works until no more orders can come.
    pub(super) async fn tell_instances(&self, mut newest: watch::Receiver<Newest>) {
        while newest.changed().await.is_ok() {
            self.until_told(&mut newest).await;
        }
    }

    /// Repeats the newest order until the slave answers or patience ends.
    async fn until_told(&self, newest: &mut watch::Receiver<Newest>) {
        let slave = self.callee.slave;
        let mut pause = FIRST_PAUSE;
        let began = tokio::time::Instant::now();
        loop {
            let Some(wanted) = newest.borrow_and_update().clone() else {
                return;
            };
            let Err(error) = self.tell_all(&wanted).await else {
                return;
            };
            if error.status().is_none() {
                self.measured.count(InternalError::NetworkRequestFailure);
            }
            let command = match may_pass(&error) {
                true if began.elapsed() < self.patience => None,
                // If it lives it will connect again, and say what it runs.
                true => Some(Command::GiveSlaveUp {
                    slave,
                    reason: format!("the master can not call it: {error}"),
                }),
                false if error.status() == Some(StatusCode::PRECONDITION_FAILED) => {
                    Some(Command::ReportSlaveStartedAgain { slave })
                }
                false => {
                    tracing::error!(slave.id = slave.0, %error, "a slave refuses its instances");
                    return;
                }
            };
            if let Some(command) = command {
                if self.cluster.note(command).await.is_err() {
                    tracing::debug!(slave.id = slave.0, "nobody needs to know of a slave");
                }
                return;
            }
            tracing::debug!(slave.id = slave.0, %error, "telling instances again");
            // A newer order is sent at once: the slave may take that one.
            if tokio::time::timeout(pause, newest.changed()).await.is_ok() {
                newest.mark_changed();
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn tell_all(&self, wanted: &Wanted) -> Result<Success, CallError> {
        let order = InstancesOrder {
            instances: wanted.instances.iter().map(instance).collect(),
            preloads: wanted.preloads.clone(),
            master: self.mark(),
        };
        let url = format!("{}/v1/instances", self.callee.url);
        self.send(Method::PUT, url, encode(&order)?).await
    }
}

fn instance(wanted: &WantedInstance) -> InstanceOrder {
    InstanceOrder {
        id: wanted.id,
        generation: wanted.generation,
        key: wanted.key.clone(),
        template: wanted.template_name.clone(),
        snapshot: wanted.content.clone(),
        image: wanted.image.clone(),
        purpose: match wanted.purpose {
            Purpose::Launch => OrderedPurpose::Launch,
            Purpose::App { .. } => OrderedPurpose::App,
            Purpose::Run { .. } => OrderedPurpose::Run,
        },
        settles_after_ms: wanted.settles_after_ms,
        command: wanted.command.clone(),
        environment: wanted.environment.clone(),
        max_memory_bytes: wanted.max_memory_bytes,
        cpu_shares: wanted.cpu_shares,
    }
}
