//! What a push means: which refs it changes, and which commit it deploys. Pure.

use clusterrunner_common::git::CommitId;
use clusterrunner_common::text::printable::plain;
use serde::{Deserialize, Serialize};

/// How many refs one push may change.
pub(crate) const MOST: usize = 1000;

const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// One ref that a push changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Update {
    /// The object that it leads to afterwards; zeros where it goes.
    pub(crate) new: String,
    /// Its whole name.
    pub(crate) name: String,
}

impl Update {
    /// An update as git tells it to hooks: the old object, the new one, the name.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ').skip(1);
        Some(Self {
            new: parts.next()?.to_owned(),
            name: parts.next()?.to_owned(),
        })
    }

    fn removes(&self) -> bool {
        !self.new.is_empty() && self.new.bytes().all(|byte| byte == b'0')
    }
}

/// What is to become of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Tags come, or refs go.
    OnlyRefs,
    /// A commit is built and deployed.
    Deploy {
        /// The whole name of the branch.
        branch: String,
        /// The commit.
        commit: CommitId,
    },
}

/// Why a push means nothing, in a sentence for the pusher.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Meaningless {
    /// It changes something else than branches and tags.
    #[error("Only branches and tags can be pushed here, not {}.", plain(.0))]
    Foreign(String),
    /// Each branch would be deployed.
    #[error("Push one branch at a time: the branch that is pushed is deployed.")]
    SeveralBranches,
    /// What the branch leads to has no id.
    #[error("git has named no commit.")]
    NoCommit,
}

/// What these updates mean.
pub(crate) fn meaning(updates: &[Update]) -> Result<Meaning, Meaningless> {
    let foreign = updates
        .iter()
        .find(|update| !update.name.starts_with(BRANCHES) && !update.name.starts_with(TAGS));
    if let Some(foreign) = foreign {
        return Err(Meaningless::Foreign(foreign.name.clone()));
    }
    let is_deployed = |update: &&Update| update.name.starts_with(BRANCHES) && !update.removes();
    let mut deployed = updates.iter().filter(is_deployed);
    let Some(update) = deployed.next() else {
        return Ok(Meaning::OnlyRefs);
    };
    if deployed.next().is_some() {
        return Err(Meaningless::SeveralBranches);
    }
    let commit = update.new.parse();
    Ok(Meaning::Deploy {
        branch: update.name.clone(),
        commit: commit.map_err(|_| Meaningless::NoCommit)?,
    })
}

/// The name of a branch as people say it.
pub(crate) fn short(branch: &str) -> &str {
    branch.strip_prefix(BRANCHES).unwrap_or(branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn means(updates: &[(&str, &str)]) -> Result<Meaning, Meaningless> {
        let lines = updates
            .iter()
            .map(|(new, name)| format!("{OLD} {new} {name}"));
        let updates: Vec<Update> = lines.map(|line| Update::of_line(&line).unwrap()).collect();
        meaning(&updates)
    }

    #[test]
    fn a_branch_is_deployed_whatever_comes_with_it() {
        let deploy = |branch: &str| {
            Ok(Meaning::Deploy {
                branch: branch.to_owned(),
                commit: NEW.parse().unwrap(),
            })
        };
        for updates in [
            &[(NEW, "refs/heads/a/b")][..],
            &[(OLD, "refs/tags/v1"), (NEW, "refs/heads/a/b")],
            &[(NEW, "refs/heads/a/b"), (NONE, "refs/heads/old")],
        ] {
            assert_eq!(means(updates), deploy("refs/heads/a/b"), "{updates:?}");
        }
    }

    #[test]
    fn tags_and_removals_deploy_nothing() {
        for updates in [
            &[][..],
            &[(NEW, "refs/tags/v1")],
            &[(NONE, "refs/heads/old"), (NONE, "refs/tags/v0")],
        ] {
            assert_eq!(means(updates), Ok(Meaning::OnlyRefs), "{updates:?}");
        }
    }

    #[test]
    fn two_branches_and_other_refs_are_refused() {
        let two = means(&[(NEW, "refs/heads/a"), (OLD, "refs/heads/b")]);
        assert_eq!(two, Err(Meaningless::SeveralBranches));
        for name in [
            "refs/pushes/x",
            "refs/notes/x",
            "HEAD",
            "refs/clusterrunner/x",
        ] {
            let refused = means(&[(NEW, "refs/heads/a"), (NEW, name)]);
            assert_eq!(refused, Err(Meaningless::Foreign(name.to_owned())));
        }
        let unnamed = means(&[("zz", "refs/heads/a")]);
        assert_eq!(unnamed, Err(Meaningless::NoCommit));
        assert_eq!(Update::of_line("a b"), None);
    }
}
