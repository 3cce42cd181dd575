//! Which working tree is sent: `?url=...&commit=...&after=...`.

use super::page::{QueryText, WrongQuery, bad_request};
use crate::git::{CommitId, SentName};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;

/// The parameters of a working tree that is sent, as an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTree {
    /// The repository that it is on top of, as builds name it.
    pub url: String,
    /// Its commit.
    pub commit: CommitId,
    /// The one that was sent before and has what this one lacks.
    pub after: Option<SentName>,
}

impl<S: Send + Sync> FromRequestParts<S> for SentTree {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        let wrong = |name, expected| bad_request(WrongQuery::Missing { name, expected });
        let given = |name: &str| query.last(name).filter(|value| !value.is_empty());
        let url = given("url").map(str::to_owned);
        let commit = given("commit").and_then(|commit| commit.parse().ok());
        match (url, commit) {
            (Some(url), Some(commit)) => {
                let after = given("after").map(str::parse).transpose();
                let after =
                    after.map_err(|_| wrong("after", "the name of a pack that was sent"))?;
                Ok(Self { url, commit, after })
            }
            (None, _) => Err(wrong(
                "url",
                "the URL of the repository, as the build will name it",
            )),
            (_, None) => Err(wrong("commit", "the full id of the commit in the pack")),
        }
    }
}
