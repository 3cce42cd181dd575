//! The tests of a build: a list, and one report of all of them.

use super::error::ApiError;
use super::{Api, Path};
use crate::read::builds::ReadError;
use crate::read::tested::{TestsError, TestsOfAtom, Walk};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::{TestCounts, TestView, TestsBody};
use clusterrunner_common::http::clusterrunner::page::{Page, PageOfTests, WantedTests};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::{self, ReportedTest};
use clusterrunner_core::builds::build::Build;
use futures_util::stream;
use std::collections::VecDeque;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// How many bytes of a report are made at a time, roughly.
const CHUNK: usize = 256 << 10;

/// How many tests are sorted at once at least, and how many of the slowest can be asked for.
const SORTED: usize = 2_000;

/// How many characters of an atom's value are told with each of its tests.
const MAX_VALUE: usize = 1_000;

impl From<TestsError> for ApiError {
    fn from(error: TestsError) -> Self {
        match error {
            TestsError::Build(error) => error.into(),
            TestsError::Disk(source) => Self::Disk {
                what: "Reading the tests of a build",
                source,
            },
        }
    }
}

/// What is listed, as far as it is known.
struct Listing {
    wanted: WantedTests,
    /// Which of those that are wanted.
    places: Range<usize>,
    found: usize,
    tests: Vec<TestView>,
    counts: TestCounts,
}

impl Listing {
    fn new(page: Page, wanted: WantedTests) -> Self {
        // What is sorted is held meanwhile.
        let end = match wanted.slowest_first {
            true => SORTED,
            false => usize::MAX,
        };
        Self {
            wanted,
            places: page.range(end),
            found: 0,
            tests: Vec::new(),
            counts: TestCounts::default(),
        }
    }

    fn add(&mut self, TestsOfAtom { atom, tests, .. }: TestsOfAtom) {
        let value: String = atom.value.chars().take(MAX_VALUE).collect();
        for test in tests {
            self.counts.add(test.outcome);
            if !is_wanted(&self.wanted, &test, &atom.value) {
                continue;
            }
            let has_place = match self.wanted.slowest_first {
                true => self.places.end > 0,
                false => self.places.contains(&self.found),
            };
            if has_place {
                self.tests.push(TestView {
                    name: test.name,
                    class: test.class,
                    file: test.file,
                    time: test.time,
                    outcome: test.outcome,
                    atom: value.clone(),
                    message: test.message,
                    subjob_id: atom.subjob,
                    atom_id: atom.atom,
                });
            }
            self.found += 1;
            // Now and then, so that few are held that are not shown.
            if self.tests.len() > self.places.end.saturating_mul(2).max(SORTED) {
                self.sort();
            }
        }
    }

    /// Leaves those of the slowest that may be shown, where they come first.
    fn sort(&mut self) {
        if self.wanted.slowest_first {
            let time = |test: &TestView| test.time.unwrap_or(-1.0);
            self.tests
                .sort_by(|one, other| time(other).total_cmp(&time(one)));
            self.tests.truncate(self.places.end);
        }
    }

    fn finish(mut self) -> TestsBody {
        if self.wanted.slowest_first {
            self.sort();
            self.tests.drain(..self.places.start.min(self.tests.len()));
        }
        TestsBody {
            tests: self.tests,
            total: self.found as u64,
            counts: self.counts,
        }
    }
}

fn is_wanted(wanted: &WantedTests, test: &ReportedTest, atom: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(&wanted.text);
    let texts = [
        Some(&*test.name),
        test.class.as_deref(),
        test.file.as_deref(),
        Some(atom),
    ];
    (wanted.outcomes.is_empty() || wanted.outcomes.contains(&test.outcome))
        && (wanted.text.is_empty() || texts.into_iter().flatten().any(has))
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(build): Path<BuildId>,
    PageOfTests(page): PageOfTests,
    wanted: WantedTests,
) -> Result<Json<TestsBody>, ApiError> {
    let mut walk = Walk::begin(api.builds.clone(), api.results.clone(), build).await?;
    let mut listing = Listing::new(page, wanted);
    while !walk.is_over() {
        let turn = Some(api.turns.take().await);
        let listed = walk.go_on(turn, listing, |listing, tests| {
            listing.add(tests);
            ControlFlow::Continue(())
        });
        listing = listed.await?;
    }
    Ok(Json(listing.finish()))
}

/// All tests as one report, made while it is sent; of a parent those of the builds of its matrix.
pub(super) async fn junit(
    State(api): State<Arc<Api>>,
    Path(build): Path<BuildId>,
) -> Result<Response, ApiError> {
    let parts = |build: &Build| match build.is_parent() {
        true => build.names_of_children(),
        false => vec![(build.id, String::new())],
    };
    let seen = api
        .builds
        .seen(build, move |_, live| parts(live), |it| parts(&it.build));
    let report = Report {
        parts: seen.await?.into(),
        walk: None,
        text: junit::beginning(&format!("build {build}")),
        api,
    };
    let report = stream::unfold(Some(report), move |report| async move {
        let mut report = report?;
        match report.next().await {
            Ok(text) => {
                let next = (!report.is_over()).then_some(report);
                Some((Ok(Bytes::from(text)), next))
            }
            Err(error) => {
                tracing::debug!(build.id = build.0, %error, "a report broke off while it was sent");
                Some((Err(io::Error::other(error.to_string())), None))
            }
        }
    });
    let kind = [
        (header::CONTENT_TYPE, "application/xml"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((kind, Body::from_stream(report)).into_response())
}

/// A report on its way.
struct Report {
    api: Arc<Api>,
    /// The builds whose tests are still to come; those of a matrix have names.
    parts: VecDeque<(BuildId, String)>,
    walk: Option<(Walk, String)>,
    text: String,
}

impl Report {
    fn is_over(&self) -> bool {
        self.walk.is_none() && self.parts.is_empty()
    }

    async fn next(&mut self) -> Result<String, TestsError> {
        let mut text = std::mem::take(&mut self.text);
        if self.walk.is_none()
            && let Some((build, name)) = self.parts.pop_front()
        {
            let (builds, results) = (self.api.builds.clone(), self.api.results.clone());
            match Walk::begin(builds, results, build).await {
                Ok(walk) => self.walk = Some((walk, name)),
                // What is left of a matrix has tests, too.
                Err(TestsError::Build(ReadError::Refused(_))) if !name.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        if let Some((walk, name)) = &mut self.walk {
            let turn = Some(self.api.turns.take().await);
            let name = name.clone();
            let add = move |text: &mut String, tests| add_suite(text, &name, tests);
            text = walk.go_on(turn, text, add).await?;
            if walk.is_over() {
                self.walk = None;
            }
        }
        if self.is_over() {
            text.push_str(junit::end());
        }
        Ok(text)
    }
}

/// The suite of an atom says of which build of a matrix it is.
fn add_suite(text: &mut String, name: &str, mut tests: TestsOfAtom) -> ControlFlow<()> {
    if !name.is_empty() {
        tests.atom.value = format!("{name}: {}", tests.atom.value);
    }
    text.push_str(&tests.suite());
    match text.len() < CHUNK {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}
