//! The tests of builds.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::TestsBody;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::TestOutcome;
use std::path::Path;

/// Which tests of a build are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedTests<'a> {
    /// How they ended; nothing for all.
    pub outcomes: &'a [TestOutcome],
    /// A text that their name, class, file or atom has.
    pub text: Option<&'a str>,
    /// Whether those that took longest come first.
    pub slowest_first: bool,
    /// How many are left out.
    pub offset: u64,
    /// How many there are at most; the master gives no more than 1,000 at a time.
    pub limit: u64,
}

impl Client {
    /// Some tests of a build.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tests(
        &self,
        build: BuildId,
        wanted: &WantedTests<'_>,
    ) -> Result<TestsBody, ClientError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("offset", &wanted.offset.to_string());
        query.append_pair("limit", &wanted.limit.to_string());
        if !wanted.outcomes.is_empty() {
            let names: Vec<&str> = wanted
                .outcomes
                .iter()
                .map(|outcome| outcome.name())
                .collect();
            query.append_pair("outcome", &names.join(","));
        }
        if let Some(text) = wanted.text {
            query.append_pair("q", text);
        }
        if wanted.slowest_first {
            query.append_pair("sort", "slowest");
        }
        self.read(&format!("/v2/builds/{build}/tests?{}", query.finish()))
            .await
    }

    /// Writes all tests of a build into the file at `path` as one JUnit report. It makes or empties the file.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn junit(&self, build: BuildId, path: &Path) -> Result<(), ClientError> {
        let url = self.url(&format!("/v2/builds/{build}/junit.xml"));
        self.repeat(ClientError::is_passing, || async {
            self.download_once(build, &url, path).await
        })
        .await
    }
}
