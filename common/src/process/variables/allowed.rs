//! Which variables of a daemon's own environment get to commands that are kept apart from it.

use super::is_name;

/// Without these hardly any program works as its user expects. None of them tells a secret.
const ALWAYS: [&str; 10] = [
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL",
];

/// Names of variables, or beginnings of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedVariables {
    further: Vec<String>,
}

impl AllowedVariables {
    /// The usual ones, and these.
    #[must_use]
    pub fn with(further: Vec<String>) -> Self {
        Self { further }
    }

    /// Whether a text can stand in such a list: a name, or the beginning of one and a star.
    #[must_use]
    pub fn is_form(text: &str) -> bool {
        is_name(text.strip_suffix('*').unwrap_or(text))
    }

    /// Whether commands have this one.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let further = self.further.iter().map(String::as_str);
        let mut all = ALWAYS.into_iter().chain(further);
        all.any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == allowed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_outside() {
        let allowed = AllowedVariables::with(vec!["JAVA_HOME".to_owned(), "CI_*".to_owned()]);
        for name in ["PATH", "LC_ALL", "JAVA_HOME", "CI_", "CI_JOB"] {
            assert!(allowed.has(name), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "JAVA_HOME2",
            "CI",
            "LD_PRELOAD",
            "PATHS",
        ] {
            assert!(!allowed.has(name), "{name}");
        }
        assert!(!AllowedVariables::default().has("JAVA_HOME"));
        for (text, is_form) in [
            ("A", true),
            ("A_*", true),
            ("*", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(AllowedVariables::is_form(text), is_form, "{text}");
        }
    }
}
