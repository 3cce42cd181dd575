//! Readers of a build that wait for its end: `?wait_s=S` at a build has it answered once it is over, and after S seconds
//! at the latest.

use super::Api;
use super::error::ApiError;
use super::events::Live;
use crate::coordinator::Gone;
use crate::read::awaiting;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::event::{BuildFact, Fact};
use std::time::Duration;

/// The longest wait, in seconds: proxies between give up on answers that take much longer.
const LONGEST_WAIT: u64 = 30;

/// How long a reader waits for the end of a build; most do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(Duration);

impl Wait {
    /// Reads `wait_s` of a query; other parameters mean nothing here.
    fn of(query: &str) -> Result<Self, ApiError> {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let Some((_, value)) = pairs.find(|(name, _)| *name == "wait_s") else {
            return Ok(Self(Duration::ZERO));
        };
        let seconds = value.parse::<u64>().map_err(|_| {
            let shown: String = value.chars().take(40).collect();
            ApiError::Invalid(format!(
                "'wait_s' must be a whole number of seconds, 0 or more, not '{shown}'."
            ))
        })?;
        Ok(Self(Duration::from_secs(seconds.min(LONGEST_WAIT))))
    }

    /// Returns when the build is over or there is none, after this time at the latest; at once where too many follow the
    /// farm already, and when the master ends.
    ///
    /// # Errors
    /// The master is gone.
    pub(super) async fn until_over(self, api: &Api, build: BuildId) -> Result<(), Gone> {
        if self.0.is_zero() {
            return Ok(());
        }
        let Ok(_place) = api.live.place() else {
            return Ok(());
        };
        let look = move |cluster: &Cluster| match cluster.build(build) {
            Some(build) if !build.is_over() => None,
            Some(_) | None => Some(()),
        };
        let Live { feed, stop, .. } = &api.live;
        let seen = awaiting::seen(&api.cluster, feed, |fact| may_end(build, fact), look);
        tokio::select! {
            seen = seen => seen,
            () = tokio::time::sleep(self.0) => Ok(()),
            () = stop.cancelled() => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wait {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(parts.uri.query().unwrap_or_default())
    }
}

/// Whether a build may be over, or gone, with a fact.
fn may_end(build: BuildId, fact: &Fact) -> bool {
    match fact {
        Fact::Build(of, fact) if *of == build => matches!(
            fact,
            BuildFact::Finished
                | BuildFact::Failed { .. }
                | BuildFact::Canceled
                | BuildFact::Retired
                | BuildFact::Forgotten { .. }
                | BuildFact::Deleted
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_read_from_the_query() {
        let parse = |query: &str| Wait::of(query).map_err(|error| error.to_string());
        let seconds = |seconds| Ok(Wait(Duration::from_secs(seconds)));
        assert_eq!(parse(""), seconds(0));
        assert_eq!(parse("x=1&wait_s=7"), seconds(7));
        assert_eq!(parse("wait_s=31"), seconds(LONGEST_WAIT));
        for wrong in ["wait_s=", "wait_s=-1", "wait_s=1.5"] {
            assert!(parse(wrong).unwrap_err().contains("'wait_s'"), "{wrong}");
        }
    }
}
