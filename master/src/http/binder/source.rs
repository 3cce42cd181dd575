//! Repositories as callers name them, and as they are shown: never with a password.

use super::error::BinderError;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::templates::SourceName;
use clusterrunner_common::work::ProjectSource;

/// The repository that a caller names, where the farm may clone it.
pub(super) fn named(text: &str, allow_local_sources: bool) -> Result<SourceName, BinderError> {
    let unusable = |reason: String| BinderError::BadRepoSource(reason);
    let named = SourceName::of_url(text);
    let url = GitUrl::parse(&named.url, allow_local_sources);
    url.map_err(|error| unusable(format!("{error}.")))?;
    if named.display_name.is_empty() {
        let reason = "The URL has no path, and so names no repository.";
        return Err(unusable(reason.to_owned()));
    }
    let is_odd = |sign: char| sign.is_whitespace() || sign.is_control();
    if named
        .branch
        .as_deref()
        .is_some_and(|it| it.contains(is_odd))
    {
        let reason = "What stands behind /tree/ is no name of a branch.";
        return Err(unusable(reason.to_owned()));
    }
    Ok(named)
}

/// A repository with its branch, as a web page has it, and its name for people; none where a build has its code from
/// elsewhere.
pub(super) fn shown(source: &ProjectSource) -> Option<(String, String)> {
    let ProjectSource::Git { url, branch, .. } = source else {
        return None;
    };
    let url = without_credentials(url);
    let text = match branch {
        Some(branch) => format!("{}/tree/{branch}", url.trim_end_matches('/')),
        None => url,
    };
    let display_name = SourceName::of_url(&text).display_name;
    Some((text, display_name))
}

/// A URL as it was given, but for a user's name and password.
pub(super) fn without_credentials(url: &str) -> String {
    match url.contains('@') {
        true => GitUrl::parse(url, true)
            .map_or_else(|_| url.to_owned(), |url| url.without_credentials()),
        false => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, branch: Option<&str>) -> ProjectSource {
        ProjectSource::Git {
            url: url.to_owned(),
            remote: None,
            branch: branch.map(str::to_owned),
            hash: None,
            project_directory: None,
        }
    }

    #[test]
    fn only_what_can_be_cloned_is_taken() {
        for url in [
            "https://github.com/binder-project/example-requirements",
            "http://host/a/b.git",
            "git@host:a/b.git",
            "ssh://git@host/a/b",
            "git://host/a/b",
            "https://github.com/a/b/tree/dev",
        ] {
            named(url, false).unwrap();
        }
        named("/srv/repos/a", true).unwrap();
        for (url, reason) in [
            ("/srv/repos/a", "on the local disk"),
            ("file:///srv/repos/a", "on the local disk"),
            ("ftp://host/a/b", "only https, ssh, git and http"),
            ("ext::sh -c true", "only https, ssh, git and http"),
            ("a/b", "neither a URL nor an absolute path"),
            ("https://host", "names no repository"),
            ("https://host/a/b/tree/x y", "no name of a branch"),
        ] {
            match named(url, false) {
                Err(BinderError::BadRepoSource(said)) => {
                    assert!(said.contains(reason), "{url}: {said}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_repository_is_shown_as_it_was_given_without_credentials() {
        for (url, branch, text, display_name) in [
            ("https://host/a/b", None, "https://host/a/b", "a/b"),
            (
                "https://host/a/b",
                Some("x/y"),
                "https://host/a/b/tree/x/y",
                "a/b/tree/x/y",
            ),
            (
                "https://ann:secret@host/a/b",
                None,
                "https://host/a/b",
                "a/b",
            ),
            ("git@host:a/b.git", None, "git@host:a/b.git", "a/b"),
        ] {
            let found = shown(&git(url, branch)).unwrap();
            assert_eq!(found, (text.to_owned(), display_name.to_owned()));
        }
        let directory = ProjectSource::Directory {
            project_directory: "/x".to_owned(),
        };
        assert_eq!(shown(&directory), None);
    }
}
