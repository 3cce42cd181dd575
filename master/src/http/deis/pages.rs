//! The pages of a list: `?page=`, counted from 1, and the links to the pages beside one.

use super::Api;
use super::error::DeisError;
use crate::http::list_address::ListAddress;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;

/// How many entries a page has.
const OF_A_PAGE: usize = 100;

/// Which page of a list is wanted, and where the list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    wanted: Wanted,
    address: ListAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Number(usize),
    Last,
    /// What was asked for is no number.
    None,
}

/// A page of a list as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct List<T> {
    count: usize,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<T>,
}

impl Page {
    fn of(mut address: ListAddress) -> Self {
        let wanted = match address.take("page").as_deref() {
            None => Wanted::Number(1),
            Some("last") => Wanted::Last,
            Some(number) => match number.parse() {
                Ok(number) if number > 0 => Wanted::Number(number),
                _ => Wanted::None,
            },
        };
        Self { wanted, address }
    }

    /// The page of a list, whose entries are made when they are shown.
    ///
    /// # Errors
    /// The list has no such page.
    pub(super) fn map_all<E, T>(
        &self,
        all: &[E],
        shown: impl Fn(&E) -> T,
    ) -> Result<List<T>, DeisError> {
        let count = all.len();
        let last = count.div_ceil(OF_A_PAGE).max(1);
        let number = match self.wanted {
            Wanted::Number(number) if number <= last => number,
            Wanted::Last => last,
            Wanted::Number(_) | Wanted::None => return Err(DeisError::NotFound),
        };
        let link = |number: usize| self.address.link(&[("page", number.to_string())]);
        let wanted = all.iter().skip((number - 1) * OF_A_PAGE);
        Ok(List {
            count,
            next: (number < last).then(|| link(number + 1)),
            previous: (number > 1).then(|| link(number - 1)),
            results: wanted.take(OF_A_PAGE).map(shown).collect(),
        })
    }
}

impl FromRequestParts<Arc<Api>> for Page {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        Ok(Self::of(ListAddress::of(parts, api.is_tls)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str, length: usize) -> Option<List<usize>> {
        let uri = format!("/v1/apps{query}").parse().unwrap();
        let page = Page::of(ListAddress::at(&uri, Some("farm"), false));
        page.map_all(&(0..length).collect::<Vec<_>>(), |n| *n).ok()
    }

    #[track_caller]
    fn check(query: &str, length: usize, first: Option<usize>, beside: [Option<&str>; 2]) {
        let list = list(query, length).unwrap();
        assert_eq!(list.results.first().copied(), first, "{query}");
        let link = |query: &str| format!("http://farm/v1/apps?{query}");
        let beside = beside.map(|query| query.map(link));
        assert_eq!([list.previous, list.next], beside, "{query}");
        assert_eq!(list.count, length);
    }

    #[test]
    fn pages_are_linked() {
        check("", 0, None, [None, None]);
        check("?page=1", 100, Some(0), [None, None]);
        check("", 101, Some(0), [None, Some("page=2")]);
        let beside = [Some("page=1&x=y"), Some("page=3&x=y")];
        check("?page=2&x=y", 300, Some(100), beside);
        check("?page=last", 300, Some(200), [Some("page=2"), None]);
        check("?page=last", 0, None, [None, None]);
    }

    #[test]
    fn other_pages_are_not_there() {
        for query in ["2", "0", "-1", "x", "", "1.0", "99999999999999999999999"] {
            assert_eq!(list(&format!("?page={query}"), 100), None, "{query}");
        }
    }
}
