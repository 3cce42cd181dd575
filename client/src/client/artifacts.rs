//! The files that single atoms left.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::artifacts::ArtifactsBody;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use std::fmt::Write as _;
use std::path::Path;

/// How many files are asked for at a time: the most that a master gives.
const PAGE: u64 = 10_000;

impl Client {
    /// A page of the files that an ended atom left, from this one on.
    ///
    /// # Errors
    /// See [`ClientError`]; a refusal with 404 where the atom has not ended.
    pub async fn artifacts(
        &self,
        (build, subjob, atom): (BuildId, SubjobId, AtomId),
        offset: u64,
    ) -> Result<ArtifactsBody, ClientError> {
        let page = format!("offset={offset}&limit={PAGE}");
        self.read(&format!(
            "/v2/builds/{build}/subjobs/{subjob}/atoms/{atom}/artifacts?{page}"
        ))
        .await
    }

    /// Streams one of these files into the file at `destination`, which the call makes or empties. A download that breaks
    /// off begins anew.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn artifact(
        &self,
        (build, subjob, atom): (BuildId, SubjobId, AtomId),
        path: &str,
        destination: &Path,
    ) -> Result<(), ClientError> {
        let path = encoded(path);
        let url = format!("/v2/builds/{build}/subjobs/{subjob}/atoms/{atom}/artifacts/{path}");
        let url = self.url(&url);
        self.repeat(ClientError::is_passing, || async {
            self.download_once(build, &url, destination).await
        })
        .await
    }
}

/// A path as a part of a URL.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a text does not fail.
            _ => write!(encoded, "%{byte:02X}").unwrap_or_default(),
        }
    }
    encoded
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn what_a_url_would_take_for_its_own_is_encoded() {
        assert_eq!(encoded("a/b-c_d.~e"), "a/b-c_d.~e");
        assert_eq!(encoded("100%?#é +"), "100%25%3F%23%C3%A9%20%2B");
    }
}
