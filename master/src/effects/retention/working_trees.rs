//! Which working trees that were sent go: those of which no build is known any more, and the oldest beyond a bound.

use super::{Keeper, Projects};
use crate::store::working_trees::{Sent, Shelf};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::kept_projects::{remove_unnamed, unname};
use clusterrunner_common::git::{CommitId, GitUrl, SentName};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::builds::build::Build;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How long one stays that no build has needed yet: its build is about to be submitted.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// The same where there is too much.
const SHORT_GRACE: Duration = Duration::from_secs(10 * 60);

/// How many archived builds are read between two looks.
const READ_AT_ONCE: usize = 500;

/// A working tree as a build names it: the folder of its repository, and its commit.
pub(super) type Named = (String, CommitId);

/// What archived builds need. It does not change once a build is archived.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<BuildId, Option<Named>>);

/// The working tree that a build is of, if it is of one.
fn named(request: &BuildRequest) -> Option<Named> {
    request.working_tree.as_ref()?;
    let ProjectSource::Git { url, hash, .. } = &request.project else {
        return None;
    };
    // Whether a path may be used was settled when the build was accepted.
    let repository = GitUrl::parse(url, true).ok()?.sent_directory_name();
    Some((repository, hash.as_deref()?.parse().ok()?))
}

/// Those that go. `needed` are those of builds that are known, `in_use` those of builds that are not over.
fn surplus(
    sent: &[Sent],
    (needed, in_use): (&BTreeSet<Named>, &BTreeSet<Named>),
    most: Option<u64>,
    now: Timestamp,
) -> Vec<Sent> {
    let named = |sent: &Sent| (sent.shelf.repository.clone(), sent.name.commit.clone());
    let is_within = |sent: &Sent, grace| sent.known.at.until(now) < grace;
    let mut bytes: u64 = sent.iter().map(|sent| sent.known.bytes).sum();
    let mut stay: Vec<&Sent> = sent.iter().collect();
    stay.sort_by_key(|sent| sent.known.at);
    let mut go = Vec::new();
    // Those that others come after go after these, so each that goes may let another one go.
    loop {
        let followed: BTreeSet<(Shelf, SentName)> =
            stay.iter().filter_map(|sent| sent.after()).collect();
        let is_too_much = most.is_some_and(|most| bytes > most);
        let goes = |sent: &Sent| {
            let unneeded = !needed.contains(&named(sent)) && !is_within(sent, GRACE);
            let too_much =
                is_too_much && !in_use.contains(&named(sent)) && !is_within(sent, SHORT_GRACE);
            let is_followed = followed.contains(&(sent.shelf.clone(), sent.name.clone()));
            (unneeded || too_much) && !is_followed
        };
        let Some(next) = stay.iter().position(|sent| goes(sent)) else {
            return go;
        };
        let next = stay.remove(next);
        bytes -= next.known.bytes;
        go.push(next.clone());
    }
}

impl Keeper {
    /// Removes working trees that nothing needs any more.
    pub(super) async fn look_at_working_trees(&mut self) {
        let trees = self.projects.working_trees.clone();
        if !matches!(trees.all().await, Ok(sent) if !sent.is_empty()) {
            return;
        }
        if !self.learn_what_builds_need().await {
            return;
        }
        // Nobody begins to use one until it is decided which go.
        let only = trees.changing().await;
        let sent = match trees.all().await {
            Ok(sent) => sent,
            Err(error) => {
                tracing::warn!(%error, "could not list the working trees that were sent");
                return;
            }
        };
        let looked = self.cluster.read(|cluster| {
            let of = |build: &Build| Some((named(&build.request)?, build.is_over()));
            let known: Vec<(Named, bool)> = cluster.builds().filter_map(of).collect();
            let ended: BTreeSet<BuildId> = cluster.ended().map(|(build, _)| build).collect();
            (known, ended)
        });
        let Ok((known, ended)) = looked.await else {
            return;
        };
        if !ended.iter().all(|build| self.needs.0.contains_key(build)) {
            // One was archived meanwhile: the next look is soon.
            return;
        }
        let in_use = known.iter().filter(|(_, is_over)| !is_over);
        let in_use: BTreeSet<Named> = in_use.map(|(named, _)| named.clone()).collect();
        let of_ended = self.needs.0.values().flatten().cloned();
        let needed = known.into_iter().map(|(named, _)| named).chain(of_ended);
        let needed: BTreeSet<Named> = needed.collect();
        let go = surplus(
            &sent,
            (&needed, &in_use),
            trees.keep_bytes,
            Timestamp::now(),
        );
        let projects = self.projects.clone();
        let removed = spawn_blocking(move || {
            let removed = go.iter().try_for_each(Sent::remove);
            drop(only);
            let used: BTreeSet<&String> = in_use.iter().map(|(repository, _)| repository).collect();
            let repositories: BTreeSet<&String> =
                go.iter().map(|sent| &sent.shelf.repository).collect();
            for repository in repositories.difference(&used) {
                projects.remove_made_of_sent(repository)?;
            }
            for sent in &go {
                tracing::info!(
                    repository = sent.shelf.repository, name = %sent.name, bytes = sent.known.bytes,
                    "a working tree that was sent is removed"
                );
            }
            removed
        });
        if let Err(error) = removed
            .await
            .map_err(io::Error::other)
            .and_then(|done| done)
        {
            tracing::warn!(%error, "could not remove a working tree that was sent");
        }
    }

    /// Reads what archived builds need, some at a time; whether all is known.
    async fn learn_what_builds_need(&mut self) -> bool {
        let ended = self
            .cluster
            .read(|cluster| cluster.ended().map(|(build, _)| build).collect());
        let Ok(ended) = ended.await else {
            return false;
        };
        let ended: BTreeSet<BuildId> = ended;
        self.needs.0.retain(|build, _| ended.contains(build));
        let unknown = ended
            .iter()
            .filter(|build| !self.needs.0.contains_key(build));
        let unknown: Vec<BuildId> = unknown.take(READ_AT_ONCE).copied().collect();
        let is_all = unknown.len() < READ_AT_ONCE;
        for build in unknown {
            let needs = match self.ended.build(build).await {
                Ok(Some(ended)) => named(&ended.build.request),
                // It is being removed.
                Ok(None) => None,
                // What can not be read can not be run again either.
                Err(error) => {
                    tracing::warn!(build.id = build.0, %error, "could not read what a build needs");
                    None
                }
            };
            self.needs.0.insert(build, needs);
        }
        is_all
    }
}

impl Projects {
    /// Removes the mirror and the work tree that were made of what was sent: what is still there is made of again. Blocks.
    fn remove_made_of_sent(&self, repository: &str) -> io::Result<()> {
        let Some(_only_user) = self.locks.try_lock(&self.work_trees.join(repository)) else {
            return Ok(());
        };
        let parents = [self.work_trees.clone(), self.mirrors.clone()];
        unname(&parents, OsStr::new(repository))?;
        remove_unnamed(&parents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::working_trees::{Known, Sender};
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn commit(digit: u8) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn sent(digit: u8, minutes: u64) -> Sent {
        let (commit, pack) = (commit(digit), commit(digit));
        Sent {
            shelf: Shelf {
                repository: "r".to_owned(),
                sender: Sender::SecretHolder,
            },
            name: SentName { commit, pack },
            pack: "p".into(),
            known: Known {
                bases: Vec::new(),
                after: None,
                objects: 1,
                bytes: 10,
                at: Timestamp(NOW.0 - minutes * 60_000),
            },
        }
    }

    fn check(all: &[Sent], (needed, in_use): (&[u8], &[u8]), most: Option<u64>, expected: &[u8]) {
        let set = |digits: &[u8]| -> BTreeSet<Named> {
            let named = digits.iter().map(|digit| ("r".to_owned(), commit(*digit)));
            named.collect()
        };
        let go = surplus(all, (&set(needed), &set(in_use)), most, NOW);
        let digits = go
            .iter()
            .map(|sent| sent.name.commit.as_str().as_bytes()[0] - b'0');
        assert_eq!(digits.collect::<Vec<u8>>(), expected);
    }

    #[test]
    fn what_no_build_needs_goes_after_a_while() {
        let all = [sent(1, 500), sent(2, 300), sent(3, 400), sent(4, 59)];
        check(&all, (&[1, 3], &[]), None, &[2]);
        check(&all, (&[1, 2, 3], &[]), None, &[]);
    }

    #[test]
    fn the_oldest_go_beyond_the_bound_but_none_that_is_in_use_or_new() {
        let all = [sent(1, 500), sent(2, 300), sent(3, 400), sent(4, 5)];
        check(&all, (&[1, 2, 3], &[]), Some(40), &[]);
        check(&all, (&[1, 2, 3], &[]), Some(20), &[1, 3]);
        check(&all, (&[1, 2, 3], &[1]), Some(20), &[3, 2]);
        check(&all, (&[1, 2, 3], &[1, 2, 3]), Some(0), &[]);
        check(&[sent(1, 30), sent(2, 20)], (&[], &[]), Some(10), &[1]);
    }

    #[test]
    fn what_others_come_after_stays_as_long_as_these() {
        let mut all = [sent(1, 500), sent(2, 300), sent(3, 200)];
        all[1].known.after = Some(all[0].name.clone());
        all[2].known.after = Some(all[1].name.clone());
        check(&all, (&[3], &[]), None, &[]);
        check(&all, (&[2], &[]), None, &[3]);
        check(&all, (&[], &[]), None, &[3, 2, 1]);
        check(&all, (&[1, 2, 3], &[1]), Some(10), &[3, 2]);
        check(&all, (&[1, 2, 3], &[3]), Some(10), &[]);
    }

    #[test]
    fn only_builds_of_working_trees_need_one() {
        let mut body = json!({"type": "git", "url": "https://h/a", "hash": "1".repeat(40)});
        let named = |body: &serde_json::Value| named(&BuildRequest::from_json(body).unwrap());
        assert_eq!(named(&body), None);
        body["working_tree"] = json!({"files": 2});
        let (repository, found) = named(&body).unwrap();
        assert!(repository.ends_with(".sent"), "{repository}");
        assert_eq!(found, commit(1));
    }
}
