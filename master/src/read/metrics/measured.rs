//! What is counted while the process lives: how long requests take, and what went wrong inside. As in
//! the original it begins anew with the process.

use super::notices::{NoticeOutcome, Notices};
use super::text::{family, line, write_histogram};
use clusterrunner_common::lock::lock;
use clusterrunner_core::histogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Upper bounds in seconds, the original's.
const REQUEST_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 50.0,
];

/// The counts. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Measured(Arc<Counts>);

/// Route, method and status.
type Answered = (usize, &'static str, u16);

/// The route's endpoint, and how long it took.
type Timed = (String, Histogram);

/// How many parts the counts of requests have.
const PARTS: usize = 16;

/// Counts of requests, bounded by what routes, methods and statuses there are. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Requests(Mutex<BTreeMap<Answered, Timed>>);

thread_local! {
    /// The part that this thread counts in.
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

#[derive(Debug, Default)]
struct Counts {
    /// In parts, so that threads do not wait for each other with each request.
    requests: [Requests; PARTS],
    errors: [AtomicU64; InternalError::ALL.len()],
    removed: [AtomicU64; Removed::ALL.len()],
    notices: Notices,
}

/// What is removed because it is beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A build that is over.
    Build,
    /// The results of a build that has no archive.
    PartialResults,
    /// A mirror of a repository, with its work tree.
    Project,
}

impl Removed {
    const ALL: [Self; 3] = [Self::Build, Self::PartialResults, Self::Project];

    fn label(self) -> &'static str {
        match self {
            Self::Build => "builds",
            Self::PartialResults => "partial_results",
            Self::Project => "projects",
        }
    }
}

/// What can go wrong inside the master, in the original's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::enum_variant_names,
    reason = "they are the labels of the metric"
)]
pub enum InternalError {
    /// An atomizer's command failed.
    AtomizerFailure,
    /// A slave did not answer a call.
    NetworkRequestFailure,
    /// The archives of a build could not be made.
    PostBuildFailure,
    /// A result could not be stored.
    SubjobWriteFailure,
}

impl InternalError {
    const ALL: [Self; 4] = [
        Self::AtomizerFailure,
        Self::NetworkRequestFailure,
        Self::PostBuildFailure,
        Self::SubjobWriteFailure,
    ];
}

impl Measured {
    /// Counts an error.
    pub fn count(&self, error: InternalError) {
        self.0.errors[error as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts something that was removed.
    pub fn removed(&self, what: Removed) {
        self.0.removed[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts notices to a receiver, or attempts to send one.
    pub(crate) fn notices(&self, receiver: &str, outcome: NoticeOutcome, number: u64) {
        self.0.notices.count(receiver, outcome, number);
    }

    /// Takes note of how many notices wait for a receiver.
    pub fn notices_wait(&self, receiver: &str, number: usize) {
        self.0.notices.wait(receiver, number);
    }

    pub(super) fn write_notices(&self, text: &mut String) {
        self.0.notices.write(text);
    }

    pub(super) fn write_removed(&self, text: &mut String) {
        let name = "master_removed_total";
        let help = "Removals beyond a retention bound";
        family(text, name, "counter", help);
        for what in Removed::ALL {
            let count = self.0.removed[what as usize].load(Ordering::Relaxed);
            line(
                text,
                format_args!("{name}{{what=\"{}\"}} {count}", what.label()),
            );
        }
    }

    /// Counts an answer, by its route's number and name. As in the original, downloads of archives are not counted:
    /// they take what the reader takes.
    pub fn answered(&self, route: (usize, &str), method: &str, status: u16, took: Duration) {
        let (index, endpoint) = route;
        let known = ["GET", "POST", "PUT", "HEAD", "OPTIONS"];
        // A stranger can make up methods; labels must not grow with them.
        let method = known.into_iter().find(|known| *known == method);
        let key = (index, method.unwrap_or("OTHER"), status);
        let part = &self.0.requests[PART.with(|part| *part)];
        let mut requests = lock(&part.0);
        if let Some((_, histogram)) = requests.get_mut(&key) {
            return histogram.observe(took.as_secs_f64());
        }
        if !endpoint.contains("/artifacts.") {
            let mut histogram = Histogram::new(REQUEST_BUCKETS);
            histogram.observe(took.as_secs_f64());
            requests.insert(key, (endpoint.to_owned(), histogram));
        }
    }

    pub(super) fn write_requests(&self, text: &mut String) {
        let name = "http_request_duration_seconds";
        family(
            text,
            name,
            "histogram",
            "Latency of HTTP requests in seconds",
        );
        let mut all: BTreeMap<Answered, Timed> = BTreeMap::new();
        for part in &self.0.requests {
            let part = lock(&part.0);
            for (key, (endpoint, histogram)) in part.iter() {
                let timed = all.entry(*key);
                let (_, sum) = timed.or_insert_with(|| {
                    let histogram = Histogram::new(REQUEST_BUCKETS);
                    (endpoint.clone(), histogram)
                });
                sum.add(histogram);
            }
        }
        for ((_, method, status), (endpoint, histogram)) in &all {
            // In a label a backslash is written twice.
            let endpoint = endpoint.replace('\\', r"\\");
            let labels =
                format!("endpoint=\"{endpoint}\",method=\"{method}\",status=\"{status}\",");
            write_histogram(text, name, &labels, histogram);
        }
    }

    pub(super) fn write_errors(&self, text: &mut String) {
        let name = "internal_errors";
        family(text, name, "counter", "Total number of internal errors");
        for error in InternalError::ALL {
            let count = self.0.errors[error as usize].load(Ordering::Relaxed);
            if count > 0 {
                line(text, format_args!("{name}{{type=\"{error:?}\"}} {count}"));
            }
        }
    }
}
