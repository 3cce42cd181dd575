//! Which part of a list is wanted: `?offset=...&limit=...` on version 2 paths, and `?state=...` of subjobs.

use super::routes::Reached;
use super::version::ApiVersion;
use crate::api::SubjobFilter;
use crate::http::refusal;
use crate::junit::TestOutcome;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use std::ops::Range;

/// How many entries a part of a list has.
#[derive(Clone, Copy)]
struct Limits {
    /// Where nobody says how many.
    default: usize,
    most: usize,
}

/// Of lists of objects.
const OF_OBJECTS: Limits = Limits {
    default: 20,
    most: 200,
};

/// Of lists of rows, which are short.
const OF_ROWS: Limits = Limits {
    default: 1_000,
    most: 10_000,
};

/// Of lists of tests, whose messages may be long.
const OF_TESTS: Limits = Limits {
    default: 100,
    most: 1_000,
};

/// A part of a list. As an extractor it is the whole list on version 1 paths, whatever the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    offset: usize,
    limit: usize,
}

/// A number that is none. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' must be a whole number, not '{value}'.")]
pub struct InvalidPage {
    name: &'static str,
    value: String,
}

/// What is wrong with the parameters of a query. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongQuery {
    /// It is no list of parameters.
    #[error("{0}")]
    Unreadable(String),
    #[error(transparent)]
    Number(#[from] InvalidPage),
    #[error("Parameter '{name}' must be {expected}.")]
    Missing {
        name: &'static str,
        expected: &'static str,
    },
    #[error(
        "Say whose history: 'atom' with the value of an atom, 'test' with the name of a test, or 'name' for both; one of \
         them."
    )]
    NotOneHistory,
    #[error("'{name}' must be {expected}, not '{value}'.")]
    Value {
        name: &'static str,
        expected: String,
        value: String,
    },
}

impl WrongQuery {
    /// A parameter with a value that it can not have.
    pub(super) fn value(name: &'static str, expected: impl Into<String>, value: &str) -> Self {
        Self::Value {
            name,
            expected: expected.into(),
            value: value.to_owned(),
        }
    }
}

impl Page {
    /// The whole list.
    pub const ALL: Self = Self {
        offset: 0,
        limit: usize::MAX,
    };

    /// Reads the two parameters; what is below zero counts as zero, and a limit is at most 200.
    ///
    /// # Errors
    /// One of them is no whole number.
    pub fn parse(offset: Option<&str>, limit: Option<&str>) -> Result<Self, InvalidPage> {
        Self::parse_within(offset, limit, OF_OBJECTS)
    }

    fn parse_within(
        offset: Option<&str>,
        limit: Option<&str>,
        limits: Limits,
    ) -> Result<Self, InvalidPage> {
        let offset = offset.map(|text| number("offset", text)).transpose()?;
        let limit = limit.map(|text| number("limit", text)).transpose()?;
        Ok(Self {
            offset: offset.unwrap_or(0),
            limit: limit.unwrap_or(limits.default).min(limits.most),
        })
    }

    /// The indexes of the page in a list of `length` entries; none where it lies behind the end.
    #[must_use]
    pub fn range(self, length: usize) -> Range<usize> {
        let start = self.offset.min(length);
        start..start.saturating_add(self.limit).min(length)
    }

    /// The entries of the page.
    pub fn of<I: Iterator>(self, entries: I) -> impl Iterator<Item = I::Item> {
        entries.skip(self.offset).take(self.limit)
    }
}

fn number(name: &'static str, value: &str) -> Result<usize, InvalidPage> {
    match value.trim().parse::<i128>() {
        Ok(number) => Ok(usize::try_from(number.max(0)).unwrap_or(usize::MAX)),
        Err(_) => Err(InvalidPage {
            name,
            value: value.to_owned(),
        }),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let reached = parts.extensions.get::<Reached>();
        if reached.is_none_or(|reached| reached.version() == ApiVersion::V1) {
            return Ok(Self::ALL);
        }
        of_query(parts, OF_OBJECTS).map_err(bad_request)
    }
}

/// A part of a list of rows, as an extractor: 1,000 of them where nobody says how many, 10,000 at most, on paths of
/// both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOfRows(pub Page);

impl<S: Send + Sync> FromRequestParts<S> for PageOfRows {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let page = of_query(parts, OF_ROWS).map_err(bad_request)?;
        Ok(Self(page))
    }
}

/// A part of a list of tests, as an extractor: 100 of them where nobody says how many, 1,000 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOfTests(pub Page);

impl<S: Send + Sync> FromRequestParts<S> for PageOfTests {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let page = of_query(parts, OF_TESTS).map_err(bad_request)?;
        Ok(Self(page))
    }
}

/// Which tests are wanted, as an extractor: `?outcome=failed,flaky&q=parser&sort=slowest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedTests {
    /// How they ended; nothing for all.
    pub outcomes: Vec<TestOutcome>,
    /// A text that their name, class, file or atom has, whatever the case; nothing for all.
    pub text: String,
    /// Whether those that took longest come first, in place of the order of the atoms.
    pub slowest_first: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for WantedTests {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        Ok(Self {
            outcomes: outcomes(query.last("outcome").unwrap_or_default()).map_err(bad_request)?,
            text: query.last("q").unwrap_or_default().to_lowercase(),
            slowest_first: match query.last("sort") {
                None | Some("") => false,
                Some("slowest") => true,
                Some(other) => {
                    return Err(bad_request(WrongQuery::value("sort", "slowest", other)));
                }
            },
        })
    }
}

fn outcomes(names: &str) -> Result<Vec<TestOutcome>, WrongQuery> {
    let names = names.split(',').map(str::trim);
    let outcomes = names.filter(|name| !name.is_empty()).map(|name| {
        let found = TestOutcome::ALL
            .into_iter()
            .find(|known| known.name() == name);
        found.ok_or_else(|| {
            let expected = TestOutcome::ALL.map(TestOutcome::name).join(", ");
            WrongQuery::value("outcome", format!("of {expected}"), name)
        })
    });
    outcomes.collect()
}

fn of_query(parts: &Parts, limits: Limits) -> Result<Page, WrongQuery> {
    let query = QueryText::of(parts)?;
    let page = Page::parse_within(query.last("offset"), query.last("limit"), limits);
    Ok(page?)
}

pub(super) fn bad_request(wrong: WrongQuery) -> Response {
    refusal(StatusCode::BAD_REQUEST, wrong.to_string())
}

/// A part of a list of objects, as an extractor: 20 of them where nobody says how many, 200 at most, on paths of both
/// versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOfObjects(pub Page);

impl<S: Send + Sync> FromRequestParts<S> for PageOfObjects {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        of_query(parts, OF_OBJECTS).map(Self).map_err(bad_request)
    }
}

/// Which entries are wanted of a list whose newest ones come first, as an extractor: `?before=12&limit=50`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestFirst {
    /// Only those before this id.
    pub before: Option<u64>,
    /// At most so many: 20 where nobody says how many, 200 at most.
    pub limit: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for NewestFirst {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let page = of_query(parts, OF_OBJECTS).map_err(bad_request)?;
        let query = QueryText::of(parts).map_err(bad_request)?;
        let before = before(query.last("before")).map_err(bad_request)?;
        let limit = page.limit;
        Ok(Self { before, limit })
    }
}

fn before(text: Option<&str>) -> Result<Option<u64>, WrongQuery> {
    let before = text.map(|text| number("before", text)).transpose()?;
    Ok(before.map(|id| u64::try_from(id).unwrap_or(u64::MAX)))
}

/// Whether the newest entries are wanted, and how many, as an extractor: `?newest_first=true&before=12&limit=50`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// The list is wanted in its usual order.
    No,
    /// The newest entries before this id, or of all, and at most so many.
    Before(Option<u64>, usize),
}

impl Newest {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them is wrong.
    fn parse(first: Option<&str>, last: Option<&str>, page: Page) -> Result<Self, WrongQuery> {
        match first {
            None | Some("false") => return Ok(Self::No),
            Some("true") => {}
            Some(other) => {
                return Err(WrongQuery::value("newest_first", "true or false", other));
            }
        }
        Ok(Self::Before(before(last)?, page.limit))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Newest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let page = Page::from_request_parts(parts, state).await?;
        // Version 1 has whole lists in their usual order.
        if page == Page::ALL {
            return Ok(Self::No);
        }
        let query = QueryText::of(parts).map_err(bad_request)?;
        let newest = Self::parse(query.last("newest_first"), query.last("before"), page);
        newest.map_err(bad_request)
    }
}

/// The parameters of a query.
pub(super) struct QueryText(Vec<(String, String)>);

impl QueryText {
    pub(super) fn of(parts: &Parts) -> Result<Self, WrongQuery> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(WrongQuery::Unreadable(error.body_text())),
        }
    }

    /// Of a parameter that is given twice the last one counts, as in the original.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        let mut given = self.0.iter().rev().filter(|(given, _)| given == name);
        given.next().map(|(_, value)| value.as_str())
    }
}

/// Which subjobs are wanted, as an extractor: `?state=failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted(pub Option<SubjobFilter>);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = QueryText::of(parts).map_err(bad_request)?;
        let Some(name) = query.last("state") else {
            return Ok(Self(None));
        };
        let mut known = SubjobFilter::ALL.into_iter();
        let filter = known.find(|filter| filter.name() == name);
        let expected = SubjobFilter::ALL.map(SubjobFilter::name).join(" or ");
        let wrong = || bad_request(WrongQuery::value("state", expected, name));
        let filter = filter.ok_or_else(wrong)?;
        Ok(Self(Some(filter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Recorded from the original, after it had put the numbers into their bounds.
    #[test]
    fn pages_are_those_of_the_original() {
        let vectors = include_str!("../../../testdata/vectors/pagination.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().map(|number| number.to_string());
            let page = Page::parse(number("offset").as_deref(), number("limit").as_deref());
            let length = usize::try_from(case["length"].as_u64().unwrap()).unwrap();
            let found = page.unwrap().range(length).collect::<Vec<_>>();
            let (start, end) = (case["start"].as_u64(), case["end"].as_u64());
            let expected: Vec<_> = (start.unwrap()..end.unwrap()).collect();
            assert_eq!(found.len(), expected.len(), "{case}");
            assert_eq!(found.first().map(|i| *i as u64), expected.first().copied());
            let entries = page_entries(case, length);
            assert_eq!(entries, found, "{case}");
        }
    }

    fn page_entries(case: &Value, length: usize) -> Vec<usize> {
        let number = |name: &str| case[name].as_u64().map(|number| number.to_string());
        let page = Page::parse(number("offset").as_deref(), number("limit").as_deref());
        page.unwrap().of(0..length).collect()
    }

    #[test]
    fn numbers_out_of_bounds_are_put_into_them_and_others_are_named() {
        let parse = |offset, limit| Page::parse(offset, limit);
        assert_eq!(parse(Some("-3"), Some("-1")).unwrap().range(9), 0..0);
        assert_eq!(parse(None, Some("500")).unwrap().range(999), 0..200);
        let of_rows = |limit| Page::parse_within(None, limit, OF_ROWS).unwrap();
        assert_eq!(of_rows(None).range(99_999), 0..1_000);
        assert_eq!(of_rows(Some("20000")).range(99_999), 0..10_000);
        let huge = "99999999999999999999";
        assert_eq!(parse(Some(huge), Some(huge)).unwrap().range(9), 9..9);
        for (offset, limit, name) in [
            (Some("x"), None, "'offset'"),
            (Some(""), None, "'offset'"),
            (Some("1"), Some("1.5"), "'limit'"),
        ] {
            let error = parse(offset, limit).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
        assert_eq!(Page::ALL.range(7), 0..7);
    }

    #[test]
    fn the_newest_are_asked_for_by_name() {
        let page = Page::parse(None, Some("50")).unwrap();
        let parse = |first, before| Newest::parse(first, before, page);
        assert_eq!(parse(None, Some("7")), Ok(Newest::No));
        assert_eq!(parse(Some("false"), None), Ok(Newest::No));
        assert_eq!(parse(Some("true"), None), Ok(Newest::Before(None, 50)));
        let before = Newest::Before(Some(7), 50);
        assert_eq!(parse(Some("true"), Some("7")), Ok(before));
        for (first, before, name) in [
            ("yes", None, "'newest_first'"),
            ("true", Some("x"), "'before'"),
        ] {
            let error = parse(Some(first), before).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
