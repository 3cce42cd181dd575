//! What a repository says it has, and which of it a name means.

use git2::Oid;

/// The namespace of branches.
const BRANCHES: &str = "refs/heads/";

/// The namespace of tags.
const TAGS: &str = "refs/tags/";

/// A longer name, in bytes, is not seen: the mirror has a directory for each of its slashes.
const LONGEST_NAME: usize = 1024;

/// How many branches an error message lists.
const LISTED_BRANCHES: usize = 10;

/// The branch that is built when none was asked for, as in the original.
const DEFAULT_BRANCH: &str = "master";

/// One ref of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteRef {
    /// In full, like `refs/heads/master`, or `HEAD`.
    pub(super) name: String,
    /// What it points at: for an annotated tag the tag object.
    pub(super) oid: Oid,
}

impl RemoteRef {
    /// Where the mirror keeps it, if it does: branches as a clone does, so that `origin/master` works in a work tree.
    pub(super) fn local_name(&self) -> Option<String> {
        if let Some(branch) = self.name.strip_prefix(BRANCHES) {
            Some(format!("refs/remotes/origin/{branch}"))
        } else if self.name.starts_with(TAGS) {
            Some(self.name.clone())
        } else {
            None
        }
    }

    pub(super) fn is_tag(&self) -> bool {
        self.name.starts_with(TAGS)
    }
}

/// All refs of the other side, without the `^{}` entries.
#[derive(Debug, Default)]
pub(super) struct Advertised {
    pub(super) refs: Vec<RemoteRef>,
    /// What the annotated tags lead to: the tag's ref and the object.
    peeled: Vec<(String, Oid)>,
}

impl Advertised {
    pub(super) fn collect(entries: impl IntoIterator<Item = (String, Oid)>) -> Self {
        let mut advertised = Self::default();
        for (name, oid) in entries {
            match name.strip_suffix("^{}") {
                Some(tag) => advertised.peeled.push((tag.to_owned(), oid)),
                None if name.len() > LONGEST_NAME => {}
                // A name that git itself would refuse can not be stored.
                None if name == "HEAD" || git2::Reference::is_valid_name(&name) => {
                    advertised.refs.push(RemoteRef { name, oid });
                }
                None => {}
            }
        }
        advertised
    }

    /// The ref that `git fetch <remote> <name>` would take (gitrevisions, order of the rules); but of a branch and a tag
    /// the branch, since that is what is asked for.
    pub(super) fn find(&self, name: &str) -> Option<&RemoteRef> {
        ["", "refs/", BRANCHES, TAGS].iter().find_map(|prefix| {
            let full = format!("{prefix}{name}");
            self.refs.iter().find(|candidate| candidate.name == full)
        })
    }

    /// What is built when no branch was asked for: `master`, or what the repository calls its main branch.
    pub(super) fn default_ref(&self) -> Option<&RemoteRef> {
        let master = format!("{BRANCHES}{DEFAULT_BRANCH}");
        let by_name = |name: &str| self.refs.iter().find(|candidate| candidate.name == name);
        by_name(&master).or_else(|| by_name("HEAD"))
    }

    /// The first branches, and how many there are.
    pub(super) fn branches(&self) -> (Vec<String>, usize) {
        let branches = || {
            self.refs
                .iter()
                .filter_map(|found| found.name.strip_prefix(BRANCHES))
        };
        (
            branches()
                .take(LISTED_BRANCHES)
                .map(str::to_owned)
                .collect(),
            branches().count(),
        )
    }

    /// Tags of commits for which `known` is true while the tag object itself is not: an annotated tag set later on.
    pub(super) fn tags_on_known_commits(&self, known: impl Fn(Oid) -> bool) -> Vec<&RemoteRef> {
        self.peeled
            .iter()
            .filter(|(_, target)| known(*target))
            .filter_map(|(name, _)| self.refs.iter().find(|tag| tag.name == *name))
            .filter(|tag| tag.is_tag() && !known(tag.oid))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(names: &[&str]) -> Advertised {
        Advertised::collect(names.iter().enumerate().map(|(index, name)| {
            let oid = Oid::from_str(&format!("{:040x}", index + 1)).unwrap();
            ((*name).to_owned(), oid)
        }))
    }

    fn found<'a>(all: &'a Advertised, name: &str) -> Option<&'a str> {
        all.find(name).map(|found| found.name.as_str())
    }

    #[test]
    fn a_name_means_what_git_fetch_takes_it_for_but_a_branch_wins() {
        let all = advertised(&[
            "HEAD",
            "refs/heads/master",
            "refs/heads/v1",
            "refs/tags/v1",
            "refs/tags/v1^{}",
            "refs/tags/v2",
            "refs/pull/7/head",
        ]);
        assert_eq!(found(&all, "master"), Some("refs/heads/master"));
        assert_eq!(found(&all, "v1"), Some("refs/heads/v1"));
        assert_eq!(found(&all, "v2"), Some("refs/tags/v2"));
        assert_eq!(found(&all, "tags/v1"), Some("refs/tags/v1"));
        assert_eq!(found(&all, "heads/v1"), Some("refs/heads/v1"));
        assert_eq!(found(&all, "refs/pull/7/head"), Some("refs/pull/7/head"));
        assert_eq!(found(&all, "pull/7/head"), Some("refs/pull/7/head"));
        assert_eq!(found(&all, "HEAD"), Some("HEAD"));
        assert_eq!(found(&all, "mast"), None);
        assert_eq!(
            all.branches(),
            (vec!["master".to_owned(), "v1".to_owned()], 2)
        );
    }

    #[test]
    fn without_a_master_the_repository_s_own_default_is_taken() {
        assert_eq!(
            advertised(&["HEAD", "refs/heads/main"])
                .default_ref()
                .unwrap()
                .name,
            "HEAD"
        );
        let with_master = advertised(&["HEAD", "refs/heads/main", "refs/heads/master"]);
        assert_eq!(with_master.default_ref().unwrap().name, "refs/heads/master");
        assert!(advertised(&["refs/heads/x"]).default_ref().is_none());
    }

    #[test]
    fn names_that_git_refuses_are_not_seen() {
        let deep = format!("refs/heads/{}x", "d/".repeat(600));
        let all = advertised(&[
            "refs/heads/../../x",
            "refs/heads/a.lock",
            &deep,
            "refs/heads/ok",
        ]);
        assert_eq!(all.branches().0, ["ok"]);
    }
}
