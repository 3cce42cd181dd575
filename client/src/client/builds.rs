//! Builds: submitting, following and canceling them.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::explanation::{Explanation, ExplanationBody};
use clusterrunner_common::api::plan::{PlanBody, PlanView};
use clusterrunner_common::api::{
    AtomBody, AtomView, BuildBody, BuildView, BuildsBody, FinishView, QueueBody, SubjobBody,
    SubjobFilter, SubjobView, SubjobsBody,
};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What counts of the answer to a submission; masters of the original send less than ours.
#[derive(Deserialize)]
struct Accepted {
    build_id: BuildId,
}

impl Client {
    /// Submits a build. Repeated only while the connection itself is refused: otherwise nobody knows
    /// whether the master has the build already.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(&self, request: &BuildRequest) -> Result<BuildId, ClientError> {
        self.submit_params(&request.to_body()).await
    }

    /// Submits a build described by the request's own fields, unchecked.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit_params(&self, params: &Map<String, Value>) -> Result<BuildId, ClientError> {
        let url = self.url("/v1/build");
        let accepted: Accepted = self
            .repeat(ClientError::never_arrived, || {
                self.send(Method::POST, &url, params)
            })
            .await?;
        Ok(accepted.build_id)
    }

    /// Cancels a build; does nothing to one that is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, build: BuildId) -> Result<(), ClientError> {
        let url = self.url(&format!("/v1/build/{build}"));
        let order = json!({"status": "canceled"});
        let _answer: Value = self
            .repeat(ClientError::is_passing, || {
                self.send(Method::PUT, &url, &order)
            })
            .await?;
        Ok(())
    }

    /// Leaves a message among the warnings of a build; does nothing to one that is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn note(&self, build: BuildId, note: &str) -> Result<(), ClientError> {
        let url = self.url(&format!("/v1/build/{build}"));
        let order = json!({"note": note});
        let _answer: Value = self
            .repeat(ClientError::is_passing, || {
                self.send(Method::PUT, &url, &order)
            })
            .await?;
        Ok(())
    }

    /// Where the time of a build went.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explanation(&self, build: BuildId) -> Result<Explanation, ClientError> {
        let path = format!("/v2/builds/{build}/explanation");
        let body: ExplanationBody = self.read(&path).await?;
        Ok(body.explanation)
    }

    /// How long a build takes with how many slaves, and with how many it ends in so many seconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan(
        &self,
        build: BuildId,
        slaves: Option<usize>,
        under_seconds: Option<f64>,
    ) -> Result<PlanView, ClientError> {
        let slaves = slaves.map(|slaves| format!("slaves={slaves}"));
        let under = under_seconds.map(|seconds| format!("under={seconds}"));
        let query: Vec<String> = slaves.into_iter().chain(under).collect();
        let path = format!("/v2/builds/{build}/plan?{}", query.join("&"));
        let body: PlanBody = self.read(&path).await?;
        Ok(body.plan)
    }

    /// When a build will end; `None` where nothing is known of that.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn finish(&self, build: BuildId) -> Result<Option<FinishView>, ClientError> {
        let body: BuildBody = self.read(&format!("/v2/builds/{build}")).await?;
        Ok(body.build.finish.flatten())
    }

    /// One build.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build(&self, build: BuildId) -> Result<BuildView, ClientError> {
        let body: BuildBody = self.read(&format!("/v1/build/{build}")).await?;
        Ok(body.build)
    }

    /// One build once it is over, and after so many seconds (30 at most) as it is then. Masters that do not know this
    /// answer at once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build_when_over(
        &self,
        build: BuildId,
        seconds: u64,
    ) -> Result<BuildView, ClientError> {
        let path = format!("/v1/build/{build}?wait_s={seconds}");
        let body: BuildBody = self.read(&path).await?;
        Ok(body.build)
    }

    /// The same as [`build`](Self::build) with what only version 2 of the API tells, where the master knows that.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build_in_full(&self, build: BuildId) -> Result<BuildView, ClientError> {
        match self.build_in_version_2(build).await? {
            Some(build) => Ok(build),
            None => self.build(build).await,
        }
    }

    /// One build as version 2 of the API tells it; `None` where the master does not know that version, or the build.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build_in_version_2(
        &self,
        build: BuildId,
    ) -> Result<Option<BuildView>, ClientError> {
        match self.read(&format!("/v2/builds/{build}")).await {
            Ok(BuildBody { build }) => Ok(Some(build)),
            Err(error) if error.status().is_some_and(|status| status == 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All builds that the master remembers, in order of their ids.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn builds(&self) -> Result<Vec<BuildView>, ClientError> {
        let body: BuildsBody = self.read("/v1/build").await?;
        Ok(body.builds)
    }

    /// The builds that are not over, in order of their ids.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queue(&self) -> Result<Vec<BuildView>, ClientError> {
        let body: QueueBody = self.read("/v1/queue").await?;
        Ok(body.queue)
    }

    /// A build's subjobs with their atoms.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subjobs(&self, build: BuildId) -> Result<Vec<SubjobView>, ClientError> {
        let body: SubjobsBody = self.read(&format!("/v1/build/{build}/subjob")).await?;
        Ok(body.subjobs)
    }

    /// Those of a build's subjobs that a filter has. Masters that know no filters send all of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn filtered_subjobs(
        &self,
        build: BuildId,
        filter: SubjobFilter,
    ) -> Result<Vec<SubjobView>, ClientError> {
        let path = format!("/v1/build/{build}/subjob?state={}", filter.name());
        let body: SubjobsBody = self.read(&path).await?;
        let wanted = |subjob: &SubjobView| filter.has(subjob);
        Ok(body.subjobs.into_iter().filter(wanted).collect())
    }

    /// One subjob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subjob(
        &self,
        build: BuildId,
        subjob: SubjobId,
    ) -> Result<SubjobView, ClientError> {
        let path = format!("/v1/build/{build}/subjob/{subjob}");
        let body: SubjobBody = self.read(&path).await?;
        Ok(body.subjob)
    }

    /// One atom.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn atom(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    ) -> Result<AtomView, ClientError> {
        let path = format!("/v1/build/{build}/subjob/{subjob}/atom/{atom}");
        let body: AtomBody = self.read(&path).await?;
        Ok(body.atom)
    }
}
