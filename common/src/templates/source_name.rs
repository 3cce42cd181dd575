//! The name that a repository's template has, from the URL of the repository.

/// The longest name that is made.
const LONGEST: usize = 120;

/// What names can not be: a path of the API has the word in their place.
const TAKEN: [&str; 1] = ["repo"];

/// A repository as its users write it, maybe with a branch behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceName {
    /// The URL to fetch it from.
    pub url: String,
    /// The branch that the URL had behind `/tree/`.
    pub branch: Option<String>,
    /// The name of its template, of letters, digits, `.`, `_` and `-`, and not of digits alone.
    pub name: String,
    /// The same for people.
    pub display_name: String,
}

impl SourceName {
    /// Reads a URL. Whether it can be fetched is not looked at.
    #[must_use]
    pub fn of_url(text: &str) -> Self {
        let text = text.trim();
        let (url, branch) = match with_branch(text) {
            Some((url, branch)) => (url, Some(branch)),
            None => (text, None),
        };
        let parts = last_parts(url);
        let (mut name, mut display_name) = (parts.join("-"), parts.join("/"));
        if let Some(branch) = branch {
            name = format!("{name}-{branch}");
            display_name = format!("{display_name}/tree/{branch}");
        }
        Self {
            url: url.to_owned(),
            branch: branch.map(str::to_owned),
            name: usable_name(&name),
            display_name,
        }
    }
}

/// The repository and the branch of a web page's URL, such as `https://host/owner/name/tree/branch`.
fn with_branch(text: &str) -> Option<(&str, &str)> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let (url, branch) = text.split_once("/tree/").filter(|_| is_web)?;
    let url = url.strip_suffix("/-").unwrap_or(url);
    let (_, path) = url.split_once("://")?.1.split_once('/')?;
    let branch = branch.trim_matches('/');
    let is_one = path.contains('/') && !branch.is_empty() && !branch.starts_with('-');
    is_one.then_some((url, branch))
}

/// The last two parts of its path.
fn last_parts(url: &str) -> Vec<&str> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        // As `ssh` writes it.
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).collect();
    parts.truncate(2);
    parts.reverse();
    parts
}

/// A name that a template can have, made of any text.
#[must_use]
pub fn usable_name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = text.chars().take(LONGEST);
    let name: String = name.map(|c| if fits(c) { c } else { '-' }).collect();
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_hidden = name.starts_with(['.', '-']);
    match is_number || is_hidden || TAKEN.contains(&&*name) {
        true => format!("r-{name}"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, name: &str, display_name: &str) {
        let found = SourceName::of_url(url);
        let expected = SourceName {
            url: url.to_owned(),
            branch: None,
            name: name.to_owned(),
            display_name: display_name.to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_is_made_of_the_end_of_the_path() {
        let example = "binder-project-example-requirements";
        let shown = "binder-project/example-requirements";
        for url in [
            "https://github.com/binder-project/example-requirements",
            "https://github.com/binder-project/example-requirements.git",
            "https://user:secret@github.com/binder-project/example-requirements/",
            "git@github.com:binder-project/example-requirements.git",
            "ssh://git@host:22/binder-project/example-requirements",
            "https://host/group/binder-project/example-requirements?x=1",
        ] {
            check(url, example, shown);
        }
        check("/srv/repos/a b.git", "repos-a-b", "repos/a b");
        check("https://host/tree.git", "tree", "tree");
        check("file:///srv/x/tree/y", "tree-y", "tree/y");
    }

    #[test]
    fn what_a_name_can_not_be_gets_letters_before_it() {
        check("https://host/1/2", "1-2", "1/2");
        check("https://host/123", "r-123", "123");
        check("https://host/repo", "r-repo", "repo");
        check("https://host", "r-", "");
        check("https://host/..", "r-..", "..");
        check("https://host/é/x", "r---x", "é/x");
        let long = format!("https://host/{}", "x".repeat(5000));
        assert_eq!(SourceName::of_url(&long).name.len(), LONGEST);
    }

    #[test]
    fn a_branch_stands_behind_tree() {
        let check = |url: &str, branch: Option<&str>, name: &str| {
            let found = SourceName::of_url(url);
            assert_eq!((found.branch.as_deref(), &*found.name), (branch, name));
            found
        };
        let url = "https://github.com/a/b/tree/feature/x";
        let found = check(url, Some("feature/x"), "a-b-feature-x");
        assert_eq!(found.url, "https://github.com/a/b");
        assert_eq!(found.display_name, "a/b/tree/feature/x");
        let gitlab = check(
            "https://gitlab.com/g/a/b/-/tree/dev/",
            Some("dev"),
            "a-b-dev",
        );
        assert_eq!(gitlab.url, "https://gitlab.com/g/a/b");
        check("https://github.com/a/b/tree/", None, "b-tree");
        check("https://github.com/a/b/tree/-x", None, "tree--x");
    }
}
