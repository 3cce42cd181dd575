//! Which builds a directory of this machine can have started: as it is, as the repository that it is in, or sent.

use super::repository::{Found, unique_name};
use super::snapshot::sender;
use crate::command::standing::working_tree;
use crate::trouble::Trouble;
use clusterrunner_common::api::BuildView;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A directory, and what a farm may know it as.
#[derive(Debug)]
pub(in crate::command) struct Here {
    directory: PathBuf,
    /// The top of the repository that the directory is in, or the directory itself.
    top: PathBuf,
    /// The directory in its repository, where it is below the top.
    inside: Option<String>,
    /// The URLs under which builds of what is sent from here are known.
    sent_as: Vec<String>,
    /// The commits that the working tree has been on.
    commits: BTreeSet<String>,
    /// Who sends from here.
    sender: String,
}

impl Here {
    /// Looks a directory up. Of one that git can not read nothing can have been sent.
    pub(in crate::command) async fn at(directory: &Path) -> Self {
        let alone = Self {
            directory: directory.to_owned(),
            top: directory.to_owned(),
            inside: None,
            sent_as: Vec::new(),
            commits: BTreeSet::new(),
            sender: sender(),
        };
        match Found::in_repository(directory, false).await {
            Err(_) => alone,
            Ok(None) => Self {
                sent_as: vec![unique_name(directory, None)],
                ..alone
            },
            Ok(Some(found)) => match names_and_commits(&found).await {
                Err(_) => alone,
                Ok((sent_as, commits)) => Self {
                    top: found.top,
                    inside: found.inside,
                    sent_as,
                    commits,
                    ..alone
                },
            },
        }
    }

    /// Whether a build can have been started here: one of the directory itself, of its repository by the path as its URL,
    /// of a working tree that this user has sent, or, where there was nothing to be sent, of a commit that the directory
    /// has been on.
    pub(in crate::command) fn can_have_started(&self, build: &BuildView) -> bool {
        let param = |field: &str| build.request_params.get(field).and_then(Value::as_str);
        let inside = param("project_directory");
        let Some(url) = param("url") else {
            return param("type") == Some("directory")
                && inside.is_some_and(|path| Path::new(path) == self.directory);
        };
        if inside != self.inside.as_deref() {
            return false;
        }
        if Path::new(url.strip_prefix("file://").unwrap_or(url)) == self.top {
            return true;
        }
        let is_sent_as = self.sent_as.iter().any(|name| name == url);
        is_sent_as
            && match working_tree(build) {
                Some(tree) => tree.by.as_ref() == Some(&self.sender),
                None => param("hash").is_some_and(|hash| self.commits.contains(hash)),
            }
    }
}

/// What a farm calls the repository, on this machine or elsewhere, and the commits.
async fn names_and_commits(found: &Found) -> Result<(Vec<String>, BTreeSet<String>), Trouble> {
    let mut names = Vec::new();
    if let Some((_, url)) = &found.remote {
        names.push(url.clone());
    }
    if !found.has_remote_for_all {
        names.push(found.name_of_its_own().await?);
    }
    Ok((names, found.commits_here().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn here(inside: Option<&str>) -> Here {
        let top = PathBuf::from("/home/ada/app");
        Here {
            directory: inside.map_or(top.clone(), |inside| top.join(inside)),
            top,
            inside: inside.map(str::to_owned),
            sent_as: vec!["https://example.org/app.git".to_owned()],
            commits: BTreeSet::from(["c0ffee".to_owned()]),
            sender: "ada@desk".to_owned(),
        }
    }

    #[track_caller]
    fn check(inside: Option<&str>, params: &Value, expected: bool) {
        let view = json!({
            "id": 1, "status": "FINISHED", "details": null, "error_message": null, "num_atoms": 1,
            "num_subjobs": 1, "failed_atoms": [], "result": "FAILURE", "request_params": params,
            "state_timestamps": {}, "artifacts": null,
        });
        let build = serde_json::from_value(view).unwrap();
        let found = here(inside).can_have_started(&build);
        assert_eq!(found, expected, "{inside:?} {params}");
    }

    #[test]
    fn a_build_of_the_directory_or_of_its_repository_is_of_here() {
        let directory = |path: &str| json!({"type": "directory", "project_directory": path});
        check(None, &directory("/home/ada/app"), true);
        check(None, &directory("/home/ada/app/"), true);
        check(None, &directory("/home/ada"), false);
        check(Some("sub"), &directory("/home/ada/app/sub"), true);
        check(Some("sub"), &directory("/home/ada/app"), false);
        for url in ["/home/ada/app", "file:///home/ada/app", "/home/ada/app/"] {
            check(None, &json!({"type": "git", "url": url}), true);
            check(Some("sub"), &json!({"type": "git", "url": url}), false);
            let below = json!({"type": "git", "url": url, "project_directory": "sub"});
            check(None, &below, false);
            check(Some("sub"), &below, true);
        }
        check(None, &json!({"type": "git", "url": "/home/bob/app"}), false);
        check(None, &json!({"type": "project", "project": 3}), false);
    }

    #[test]
    fn of_what_was_sent_only_this_users_is_of_here() {
        let url = "https://example.org/app.git";
        let sent = |url: &str, by: &str| {
            let tree = json!({"base": "c0ffee", "files": 2, "by": by});
            json!({"type": "git", "url": url, "hash": "5e47", "working_tree": tree})
        };
        check(None, &sent(url, "ada@desk"), true);
        check(None, &sent(url, "bob@desk"), false);
        check(None, &sent("https://example.org/b.git", "ada@desk"), false);
        check(Some("sub"), &sent(url, "ada@desk"), false);
        // Nothing was left to be sent, or somebody else has built that commit.
        let commit = |hash: &str| json!({"type": "git", "url": url, "hash": hash});
        check(None, &commit("c0ffee"), true);
        check(None, &commit("decade"), false);
        let branch = json!({"type": "git", "url": url, "branch": "main"});
        check(None, &branch, false);
    }
}
