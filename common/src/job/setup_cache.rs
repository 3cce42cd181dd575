//! What of a build's set-up is kept for later builds, as its job says. Where the files lie is the slave's.

use serde::{Deserialize, Serialize};

/// How many paths and key files a job may name, and how many characters each may have.
const MOST: usize = 20;
const LONGEST: usize = 200;

/// The path that stands for all of the project.
const WHOLE: &str = ".";

/// Which paths below `$PROJECT_DIR` are kept, and which files say that what is kept is good for another commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct SetupCache {
    paths: Vec<String>,
    key: Vec<String>,
}

/// The same before it is looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Unchecked {
    paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
}

/// What is wrong with it. The text goes to the author of the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupCacheError {
    /// It may lead out of the project, or is not written as plainly as it could be.
    #[error("\"{}\" is not a path below $PROJECT_DIR such as .venv or vendor/bundle", .0.escape_debug())]
    NoPath(String),
    /// What looks like a pattern, or like something that a shell would replace, is taken for a name nowhere.
    #[error("\"{}\" is a pattern, and only names are taken", .0.escape_debug())]
    Pattern(String),
    /// It would change what git takes the files for.
    #[error("\"{}\" belongs to git", .0.escape_debug())]
    OfGit(String),
    /// Nothing is kept.
    #[error("no path is named")]
    NoPaths,
    /// There are too many, or one is too long.
    #[error("there may be {MOST} paths of {LONGEST} characters at most")]
    TooMuch,
    /// One is a part of the other.
    #[error("\"{}\" is kept with \"{}\"", .inner.escape_debug(), .outer.escape_debug())]
    Nested {
        /// The path that says nothing new.
        inner: String,
        /// The path that it is a part of.
        outer: String,
    },
    /// All of a project is different in each commit.
    #[error("all of the project is kept for the same commit only, not for the same key files")]
    WholeWithKey,
}

impl TryFrom<Unchecked> for SetupCache {
    type Error = SetupCacheError;

    fn try_from(Unchecked { paths, key }: Unchecked) -> Result<Self, SetupCacheError> {
        Self::new(paths, key)
    }
}

impl From<SetupCache> for Unchecked {
    fn from(SetupCache { paths, key }: SetupCache) -> Self {
        Self { paths, key }
    }
}

impl SetupCache {
    /// Paths that are kept, and files whose content is the key; without any the commit is.
    ///
    /// # Errors
    /// See [`SetupCacheError`].
    pub fn new(paths: Vec<String>, key: Vec<String>) -> Result<Self, SetupCacheError> {
        if paths.is_empty() {
            return Err(SetupCacheError::NoPaths);
        }
        if paths.len() > MOST || key.len() > MOST {
            return Err(SetupCacheError::TooMuch);
        }
        let paths: Vec<String> = paths.iter().map(|path| plainly(path)).collect();
        let key: Vec<String> = key.iter().map(|file| from_here(file).to_owned()).collect();
        for path in paths.iter().filter(|path| *path != WHOLE).chain(&key) {
            check_path(path)?;
        }
        if paths.iter().any(|path| path == WHOLE) && !key.is_empty() {
            return Err(SetupCacheError::WholeWithKey);
        }
        for (index, inner) in paths.iter().enumerate() {
            let others = paths.iter().enumerate();
            let mut others = others.filter(|(other, _)| *other != index);
            if let Some((_, outer)) = others.find(|(_, outer)| is_below(inner, outer)) {
                return Err(SetupCacheError::Nested {
                    inner: inner.clone(),
                    outer: outer.clone(),
                });
            }
        }
        Ok(Self { paths, key })
    }

    /// All of the project, for builds of the same commit.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            paths: vec![WHOLE.to_owned()],
            key: Vec::new(),
        }
    }

    /// What is kept: relative paths, none below another, with neither `..` nor links in mind. `.` is all.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The files whose content is the key; empty where the commit is.
    #[must_use]
    pub fn key_files(&self) -> &[String] {
        &self.key
    }

    /// Whether something of the project belongs to what is kept.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|kept| is_below(path, kept))
    }
}

/// Directories are often written with a slash at their end.
fn plainly(path: &str) -> String {
    from_here(path.strip_suffix('/').unwrap_or(path)).to_owned()
}

fn from_here(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

fn check_path(path: &str) -> Result<(), SetupCacheError> {
    if path.chars().count() > LONGEST {
        return Err(SetupCacheError::TooMuch);
    }
    let mut parts = path.split('/');
    if path.contains('\0') || parts.any(|part| matches!(part, "" | "." | "..")) {
        return Err(SetupCacheError::NoPath(path.to_owned()));
    }
    if path.contains(['*', '?', '[', '$']) || path.starts_with('~') {
        return Err(SetupCacheError::Pattern(path.to_owned()));
    }
    match path
        .split('/')
        .any(|part| part.eq_ignore_ascii_case(".git"))
    {
        true => Err(SetupCacheError::OfGit(path.to_owned())),
        false => Ok(()),
    }
}

/// Whether a path is another one or lies below.
fn is_below(path: &str, outer: &str) -> bool {
    let rest = path.strip_prefix(outer);
    outer == WHOLE || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(paths: &[&str], key: &[&str]) -> Result<SetupCache, SetupCacheError> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        SetupCache::new(texts(paths), texts(key))
    }

    #[test]
    fn paths_stay_inside_the_project() {
        let good = cache(
            &["node_modules/", "./a/b", ".venv"],
            &["./x/package-lock.json"],
        )
        .unwrap();
        assert_eq!(good.key_files(), ["x/package-lock.json"]);
        assert_eq!(good.paths(), ["node_modules", "a/b", ".venv"]);
        for wrong in [
            "",
            "/",
            "/etc",
            "..",
            "a/../../b",
            "a//b",
            "a/.",
            "\0",
            "../x",
        ] {
            for (paths, key) in [([wrong], "k"), (["p"], wrong)] {
                let error = cache(&paths, &[key]).unwrap_err();
                assert!(
                    matches!(error, SetupCacheError::NoPath(_)),
                    "{wrong}: {error}"
                );
            }
        }
        for wrong in [".git", ".git/hooks", "sub/.GIT"] {
            let error = cache(&[wrong], &[]).unwrap_err();
            assert_eq!(error, SetupCacheError::OfGit(wrong.to_owned()));
        }
    }

    #[test]
    fn patterns_are_no_names() {
        for wrong in [
            "**/package-lock.json",
            "*.lock",
            "a?",
            "[ab]",
            "~/.cache",
            "$HOME/x",
        ] {
            for (paths, key) in [([wrong], "k"), (["p"], wrong)] {
                let error = cache(&paths, &[key]).unwrap_err();
                assert_eq!(error, SetupCacheError::Pattern(wrong.to_owned()));
            }
        }
        cache(&["a~"], &["-k"]).unwrap();
    }

    #[test]
    fn what_is_kept_is_named_once_and_within_bounds() {
        assert_eq!(cache(&[], &["k"]), Err(SetupCacheError::NoPaths));
        let many = vec!["p"; MOST + 1];
        assert_eq!(cache(&["p"], &many), Err(SetupCacheError::TooMuch));
        assert_eq!(cache(&many, &[]), Err(SetupCacheError::TooMuch));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(cache(&[&long], &[]), Err(SetupCacheError::TooMuch));
        for paths in [["a", "a"], ["a/b", "a"], ["a", "a/b"], [".", "a"]] {
            let error = cache(&paths, &[]).unwrap_err();
            assert!(matches!(error, SetupCacheError::Nested { .. }), "{error}");
        }
        cache(&["a", "ab"], &[]).unwrap();
    }

    #[test]
    fn all_of_a_project_is_for_one_commit() {
        assert_eq!(cache(&["."], &[]), Ok(SetupCache::whole()));
        assert_eq!(cache(&["."], &["k"]), Err(SetupCacheError::WholeWithKey));
        assert!(SetupCache::whole().covers("a/b"));
        let one = cache(&["a/b"], &[]).unwrap();
        let covered = ["a", "a/b", "a/b/c", "a/bc"].map(|path| one.covers(path));
        assert_eq!(covered, [false, true, true, false]);
    }

    #[test]
    fn a_message_can_not_bring_a_wrong_one() {
        let written = serde_json::to_string(&cache(&["a"], &["k"]).unwrap()).unwrap();
        assert_eq!(written, r#"{"paths":["a"],"key":["k"]}"#);
        serde_json::from_str::<SetupCache>(&written).unwrap();
        serde_json::from_str::<SetupCache>(r#"{"paths":["../a"]}"#).unwrap_err();
    }
}
