//! Of which build the status of a commit was set last. Several builds of one commit have one status, and an older build
//! that ends late must not take it from a newer one.

use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// How many statuses are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 10_000;

/// The newest builds, by the names of statuses.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<HashMap<String, BuildId>>);

impl Newest {
    /// Takes note of a build, unless a newer one was told of; whether it is the newest.
    pub(super) fn take(&self, name: &str, build: BuildId) -> bool {
        let mut newest = lock(&self.0);
        match newest.get_mut(name) {
            Some(known) if *known > build => return false,
            Some(known) => *known = build,
            None => {
                if newest.len() >= REMEMBERED {
                    newest.clear();
                }
                newest.insert(name.to_owned(), build);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_build_does_not_follow_a_newer_one() {
        let newest = Newest::default();
        assert!(newest.take("a", BuildId(2)));
        assert!(newest.take("a", BuildId(2)));
        assert!(newest.take("b", BuildId(1)));
        assert!(newest.take("a", BuildId(4)));
        assert!(!newest.take("a", BuildId(3)));
        assert!(newest.take("a", BuildId(4)));
        for number in 0..2 * REMEMBERED {
            newest.take(&number.to_string(), BuildId(1));
        }
        assert!(lock(&newest.0).len() <= REMEMBERED);
    }
}
