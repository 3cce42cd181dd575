//! Links that begin a session: each once, and only for a short time.

use super::Holder;
use crate::http::tokens;
use clusterrunner_common::lock::lock;
use clusterrunner_core::accounts::users::TokenDigest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a link waits to be followed.
pub(crate) const LASTS: Duration = Duration::from_secs(60);

/// How many wait at a time. Beyond it the oldest opens nothing any more.
const MOST: usize = 1_000;

/// The links that wait. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(Arc<Mutex<BTreeMap<TokenDigest, (Instant, Holder)>>>);

impl Links {
    /// A new link.
    pub(super) fn make(&self, holder: Holder, now: Instant) -> String {
        let link = tokens::random();
        let mut links = lock(&self.0);
        links.retain(|_, (ends, _)| *ends > now);
        if links.len() == MOST {
            let oldest = links.iter().min_by_key(|(_, (ends, _))| *ends);
            let oldest = oldest.map(|(digest, _)| digest.clone());
            oldest.and_then(|oldest| links.remove(&oldest));
        }
        links.insert(tokens::digest(&link), (now + LASTS, holder));
        link
    }

    /// What a link is for, if it waits.
    pub(super) fn take(&self, link: &str, now: Instant) -> Option<Holder> {
        let (ends, holder) = lock(&self.0).remove(&tokens::digest(link))?;
        (ends > now).then_some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_once_and_in_time() {
        let (links, now) = (Links::default(), Instant::now());
        let link = links.make(Holder::Secret, now);
        assert_eq!(links.take("other", now), None);
        assert_eq!(links.take(&link, now), Some(Holder::Secret));
        assert_eq!(links.take(&link, now), None);
        let link = links.make(Holder::Secret, now);
        assert_eq!(links.take(&link, now + LASTS), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (links, now) = (Links::default(), Instant::now());
        let first = links.make(Holder::Secret, now);
        let later = now + Duration::from_secs(1);
        let second = links.make(Holder::Secret, later);
        for _ in 2..=MOST {
            drop(links.make(Holder::Secret, later + Duration::from_secs(1)));
        }
        assert_eq!(links.take(&first, later), None);
        assert_eq!(links.take(&second, later), Some(Holder::Secret));
    }
}
