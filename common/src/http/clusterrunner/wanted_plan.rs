//! What a plan is asked for: `?slaves=8`, `?under=300`.

use super::page::{QueryText, WrongQuery, bad_request};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use std::time::Duration;

/// How many slaves a plan thinks of at most.
pub const MOST_SLAVES: usize = 1024;

/// The longest time that can be asked for: nothing runs for longer.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What is asked, as an extractor. Empty texts are as if they were not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedPlan {
    /// How long it takes with so many slaves.
    pub slaves: Option<usize>,
    /// How many slaves it takes to end within this time.
    pub under: Option<Duration>,
}

impl WantedPlan {
    fn of(query: &QueryText) -> Result<Self, WrongQuery> {
        let given = |name| query.last(name).filter(|value| !value.is_empty());
        let slaves = given("slaves").map(|text| {
            let number = text.parse().ok();
            let number = number.filter(|number| (1..=MOST_SLAVES).contains(number));
            number.ok_or_else(|| {
                let expected = format!("a whole number from 1 to {MOST_SLAVES}");
                WrongQuery::value("slaves", expected, text)
            })
        });
        let under = given("under").map(|text| {
            let seconds = text.parse().ok();
            let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let time = time.filter(|time| !time.is_zero() && *time <= LONGEST);
            time.ok_or_else(|| WrongQuery::value("under", "a number of seconds, more than 0", text))
        });
        Ok(Self {
            slaves: slaves.transpose()?,
            under: under.transpose()?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WantedPlan {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        Self::of(&query).map_err(bad_request)
    }
}
