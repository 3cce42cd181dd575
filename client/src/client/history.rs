//! What earlier builds say of atoms and tests.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::history::{FlakyBody, HistoryBody};

/// Which jobs are asked about; nothing for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedJobs<'a> {
    /// The name of a project, or its number.
    pub project: Option<&'a str>,
    /// The name of a job.
    pub job: Option<&'a str>,
}

impl WantedJobs<'_> {
    fn add_to(&self, query: &mut form_urlencoded::Serializer<'_, String>) {
        for (name, value) in [("project", self.project), ("job", self.job)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
    }
}

impl Client {
    /// What is known of the atoms of this value and of the tests of this name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history(
        &self,
        name: &str,
        of: &WantedJobs<'_>,
    ) -> Result<HistoryBody, ClientError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", name);
        of.add_to(&mut query);
        self.read(&format!("/v2/history?{}", query.finish())).await
    }

    /// The atoms and tests that are flaky or may be, first what is flaky most surely; at most so many, and no more than
    /// 1,000.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn flaky(&self, of: &WantedJobs<'_>, limit: u64) -> Result<FlakyBody, ClientError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        of.add_to(&mut query);
        self.read(&format!("/v2/flaky?{}", query.finish())).await
    }
}
