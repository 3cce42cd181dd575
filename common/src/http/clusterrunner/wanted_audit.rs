//! Which entries of the audit log are wanted: `?before=...&limit=...&by=...`, and of a look at all of it `?head=...`.

use super::page::{QueryText, WrongQuery, bad_request};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;

/// How many entries one answer has at most.
pub const MOST: usize = 1000;

/// How many it has where nothing is said.
const USUALLY: usize = 100;

/// Which entries, as an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAudit {
    /// Only those before this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only those of this name: of a user, or as the answer names the others.
    pub by: Option<String>,
}

/// The hash of a link that should be there, as an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedHead(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for WantedAudit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        let limit = number(&query, "limit").map_err(bad_request)?;
        let before = number(&query, "before").map_err(bad_request)?;
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(MOST));
        Ok(Self {
            before,
            limit: limit.unwrap_or(USUALLY).min(MOST),
            by: query
                .last("by")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }
}

fn number(query: &QueryText, name: &'static str) -> Result<Option<u64>, WrongQuery> {
    let text = query.last(name).filter(|text| !text.is_empty());
    let number = text.map(|text| {
        let number = text.parse();
        number.map_err(|_| WrongQuery::value(name, "a number from 0 on", text))
    });
    number.transpose()
}

impl<S: Send + Sync> FromRequestParts<S> for ExpectedHead {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        let Some(head) = query.last("head").filter(|head| !head.is_empty()) else {
            return Ok(Self(None));
        };
        let is_hash = head.len() == 64 && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            let expected = "the 64 hex digits that an earlier answer had as `head`";
            return Err(bad_request(WrongQuery::value("head", expected, head)));
        }
        Ok(Self(Some(head.to_ascii_lowercase())))
    }
}
