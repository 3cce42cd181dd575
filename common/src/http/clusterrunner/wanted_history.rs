//! Whose history is wanted: `?atom=...` or `?test=...` or `?name=...`, of `?project=...&job=...`.

use super::page::{QueryText, WrongQuery, bad_request};
use crate::api::history::HistoryKind;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;

/// Of which jobs, as an extractor. Empty texts are as if they were not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedJobs {
    /// The name of the project, or its id; none for all.
    pub project: Option<String>,
    /// The name of the job; none for all.
    pub job: Option<String>,
}

/// Whose, as an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedHistory {
    /// Its name; of an atom its value.
    pub name: String,
    /// What it is; nothing where both are wanted.
    pub kind: Option<HistoryKind>,
    /// Of which jobs.
    pub of: WantedJobs,
}

impl WantedJobs {
    fn of(query: &QueryText) -> Self {
        let given = |name| query.last(name).filter(|value| !value.is_empty());
        Self {
            project: given("project").map(str::to_owned),
            job: given("job").map(str::to_owned),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WantedJobs {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        Ok(Self::of(&query))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WantedHistory {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        let kinds = [
            ("atom", Some(HistoryKind::Atom)),
            ("test", Some(HistoryKind::Test)),
            ("name", None),
        ];
        let given = kinds.into_iter().filter_map(|(parameter, kind)| {
            let name = query.last(parameter).filter(|name| !name.is_empty())?;
            Some((name.to_owned(), kind))
        });
        let mut given = given.collect::<Vec<_>>();
        match (given.pop(), given.is_empty()) {
            (Some((name, kind)), true) => Ok(Self {
                name,
                kind,
                of: WantedJobs::of(&query),
            }),
            _ => Err(bad_request(WrongQuery::NotOneHistory)),
        }
    }
}
