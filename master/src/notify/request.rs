//! A request that tells of a build, ready to be sent.

use clusterrunner_common::auth::secret::Secret;
use reqwest::Url;
use std::fmt;

/// What is sent: a POST with JSON.
pub(super) struct Outgoing {
    pub(super) url: Url,
    /// Names and values.
    pub(super) headers: Vec<(&'static str, String)>,
    /// A header that nobody else may know: its name, and the beginning of its value.
    pub(super) token: Option<(&'static str, &'static str, Secret)>,
    pub(super) body: String,
}

impl fmt::Debug for Outgoing {
    /// Without what is secret: the path of an address may be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}
