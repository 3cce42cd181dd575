//! Tells the master where all instances stand: after each connect, and after each change.

use super::Supervisor;
use crate::instances::Placement;
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use clusterrunner_common::api::instances::{InstanceReport, InstancesReport};
use clusterrunner_common::ids::SessionId;
use reqwest::StatusCode;
use std::convert::Infallible;
use tokio_util::sync::CancellationToken;

impl Supervisor {
    /// Reports until `stop`.
    pub(crate) async fn report(
        &self,
        api: &MasterApi,
        registration: &Registration,
        stop: &CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_reporting(api, registration) => {}
            never = self.tell_of_runtime() => match never {},
        }
    }

    /// What is reported before the search for a container runtime is over does not say that images run here.
    async fn tell_of_runtime(&self) -> Infallible {
        if self.0.means.containers.runtime().await.is_ok() {
            self.has_news();
        }
        std::future::pending().await
    }

    async fn keep_reporting(&self, api: &MasterApi, registration: &Registration) {
        let mut news = self.0.news.subscribe();
        let mut connects = registration.connects();
        let (mut number, mut backoff) = (0, Backoff::quick());
        loop {
            let id = registration.some_id().await;
            news.mark_unchanged();
            connects.mark_unchanged();
            number += 1;
            let (report, over) = self.report_now(api.session.clone(), number);
            let sent = match api.dialect.is_original() {
                // It has none.
                true => Ok(()),
                false => api.report_instances(id, &report).await,
            };
            match sent {
                Ok(()) => {
                    let forgotten = self.lock().instances.was_told(&over);
                    for placement in forgotten {
                        self.0.means.places.forget_run(placement);
                    }
                    backoff = Backoff::quick();
                    tokio::select! {
                        _ = news.changed() => {}
                        _ = connects.changed() => {}
                    }
                }
                Err(error) => {
                    if error.status() == Some(StatusCode::PRECONDITION_FAILED) {
                        registration.doubt();
                    }
                    tracing::debug!(%error, "could not report instances; retrying");
                    tokio::select! {
                        () = backoff.pause() => {}
                        _ = connects.changed() => {}
                    }
                }
            }
        }
    }

    /// The report, and which of it are told to be over.
    fn report_now(&self, session_id: SessionId, number: u64) -> (InstancesReport, Vec<Placement>) {
        let snapshots = self.0.means.templates.whole();
        let state = self.lock();
        let all = state.instances.all();
        let instances = all.map(|(id, instance)| InstanceReport {
            id,
            generation: instance.generation,
            state: instance.standing.clone(),
            restarts: instance.restarts,
        });
        let report = InstancesReport {
            session_id,
            number,
            max_instances: self.0.means.max_instances,
            runs_images: self.0.means.containers.known().is_some(),
            instances: instances.collect(),
            snapshots,
        };
        (report, state.instances.over())
    }
}
