//! The pages of a list: `?limit=` and `?offset=`, and the links to the pages beside one.

use super::Api;
use crate::http::list_address::ListAddress;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

/// How many entries a page has where nothing is said.
const DEFAULT_LIMIT: u64 = 20;

/// How many entries a page has at most.
const MAX_LIMIT: u64 = 10_000;

/// Which entries of a list are wanted, and where the list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    limit: u64,
    offset: u64,
    /// With all parameters but the two.
    address: ListAddress,
}

/// A page of a list as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct List<T> {
    count: u64,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<T>,
}

impl Page {
    /// The page that a request asks for.
    pub(super) fn of(mut address: ListAddress) -> Self {
        let mut take = |name| address.take(name).and_then(|value| number(&value));
        let (limit, offset) = (take("limit"), take("offset"));
        Self {
            limit: limit
                .filter(|n| *n > 0)
                .unwrap_or(DEFAULT_LIMIT)
                .min(MAX_LIMIT),
            offset: offset.unwrap_or(0),
            address,
        }
    }

    /// The last value of another parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.address.parameter(name)
    }

    /// The places of the wanted entries in a list of this length.
    pub(super) fn range(&self, length: usize) -> Range<usize> {
        let place = |number: u64| usize::try_from(number).map_or(length, |n| n.min(length));
        place(self.offset)..place(self.offset.saturating_add(self.limit))
    }

    /// The answer with the entries of [`Page::range`] of a list of this length.
    pub(super) fn list<T>(&self, length: usize, results: Vec<T>) -> List<T> {
        let count = length as u64;
        let next = self.offset.saturating_add(self.limit);
        // Behind the end of the list, the page before is the last one that has entries.
        let previous = self.offset.min(count).saturating_sub(self.limit);
        List {
            count,
            next: (next < count).then(|| self.link(next)),
            previous: (self.offset > 0).then(|| self.link(previous)),
            results,
        }
    }

    /// The entries of a list that is at hand.
    pub(super) fn of_all<T>(&self, all: Vec<T>) -> List<T> {
        let (length, range) = (all.len(), self.range(all.len()));
        let wanted = all.into_iter().skip(range.start).take(range.len());
        self.list(length, wanted.collect())
    }

    fn link(&self, offset: u64) -> String {
        let limit = ("limit", self.limit.to_string());
        self.address.link(&[limit, ("offset", offset.to_string())])
    }
}

/// A number as people write it. One that is too large for anything is the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
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
    use proptest::prelude::*;

    fn page(query: &str) -> Page {
        let uri = format!("/api/v1/adam/mnist/builds/?{query}")
            .parse()
            .unwrap();
        Page::of(ListAddress::at(&uri, Some("farm:43000"), false))
    }

    #[track_caller]
    fn check(query: &str, length: usize, range: Range<usize>, links: [Option<&str>; 2]) {
        let page = page(query);
        assert_eq!(page.range(length), range, "{query}");
        let list = page.list(length, vec![(); range.len()]);
        let link = |query: &str| format!("http://farm:43000/api/v1/adam/mnist/builds/?{query}");
        let links = links.map(|query| query.map(link));
        assert_eq!([list.next, list.previous], links, "{query}");
        assert_eq!(list.count, length as u64);
    }

    #[test]
    fn pages_are_linked() {
        check("", 20, 0..20, [None, None]);
        check("", 45, 0..20, [Some("limit=20&offset=20"), None]);
        let links = [Some("limit=20&offset=40"), Some("limit=20&offset=0")];
        check("offset=20", 45, 20..40, links);
        check("offset=40", 45, 40..45, [None, Some("limit=20&offset=20")]);
        check(
            "offset=5&limit=10",
            15,
            5..15,
            [None, Some("limit=10&offset=0")],
        );
        let sorted = "limit=1&offset=1&sort=-created_at&query=status%3Arunning%7Cfailed";
        let asked = "sort=-created_at&query=status:running%7Cfailed&limit=1";
        check(asked, 2, 0..1, [Some(sorted), None]);
    }

    #[test]
    fn odd_numbers_are_the_usual_ones() {
        for limit in ["", "0", "-5", "many", "1.5", "%FF", "٣"] {
            check(
                &format!("limit={limit}"),
                45,
                0..20,
                [Some("limit=20&offset=20"), None],
            );
        }
        for offset in ["", "-5", "many", "1e3"] {
            check(
                &format!("offset={offset}&limit=45"),
                45,
                0..45,
                [None, None],
            );
        }
        check("limit=2&limit=3", 3, 0..3, [None, None]);
    }

    #[test]
    fn huge_numbers_are_the_end() {
        let huge = "99999999999999999999999999";
        check(&format!("limit={huge}"), 45, 0..45, [None, None]);
        check(
            &format!("limit={huge}&offset={huge}"),
            45,
            45..45,
            [None, Some("limit=10000&offset=0")],
        );
        check(
            &format!("offset={}", u64::MAX),
            45,
            45..45,
            [None, Some("limit=20&offset=25")],
        );
        check("offset=7", 0, 0..0, [None, Some("limit=20&offset=0")]);
    }

    proptest! {
        #[test]
        fn every_entry_is_on_one_page(length in 0_usize..200, limit in 1_usize..30) {
            let (mut found, mut offset) = (Vec::new(), 0);
            loop {
                let page = page(&format!("limit={limit}&offset={offset}"));
                let list = page.of_all((0..length).collect());
                found.extend(list.results.iter().copied());
                if list.next.is_none() {
                    break;
                }
                offset += limit;
            }
            prop_assert_eq!(found, (0..length).collect::<Vec<_>>());
        }
    }
}
