//! The sections of a job that say what of its set-up is kept: `cache` and `setup_once`.

use super::check::{Check, IMAGE, SETUP_BUILD};
use super::document::{Node, Value, python_type};
use crate::job::setup_cache::{SetupCache, SetupCacheError};
use crate::text::nearest::nearest;
use std::collections::BTreeMap;

const PATHS: &str = "paths";
const KEY: &str = "key";

const CURE: &str =
    "write a path such as .venv, a list of paths, or a mapping with \"paths\" and \"key\"";

impl Check<'_> {
    /// A path, a list of them, or a mapping of paths and key files.
    pub(super) fn cache(
        &mut self,
        section: &str,
        node: &Node,
        sections: &BTreeMap<&'static str, &Node>,
    ) -> Option<SetupCache> {
        let (paths, key) = match &node.value {
            Value::Mapping(entries) => self.paths_and_key(section, node, entries)?,
            _ => (self.texts(section, node, CURE)?, Vec::new()),
        };
        let cache = match SetupCache::new(paths, key) {
            Ok(cache) => cache,
            Err(error) => {
                let message = format!(
                    "Definition for job \"{}\" contains an invalid value for config section \"{section}\": {error}.",
                    self.job
                );
                self.note(&node.place, message, cure_of(&error));
                return None;
            }
        };
        self.has_setup(section, node, sections).then_some(cache)
    }

    /// Whether `setup_build` is left out where all that it makes was kept.
    pub(super) fn setup_once(
        &mut self,
        section: &str,
        node: &Node,
        sections: &BTreeMap<&'static str, &Node>,
    ) -> Option<bool> {
        let once = self.truth(section, node)?;
        if once && sections.contains_key(IMAGE) {
            let message = format!(
                "Definition for job \"{}\" has config sections \"{section}\" and \"{IMAGE}\": what setup_build installs in a \
                 container would be missing where it is not run.",
                self.job
            );
            let cure = "remove \"setup_once\"; a \"cache\" keeps what lies in the project";
            self.note(&node.place, message, cure);
            return None;
        }
        (!once || self.has_setup(section, node, sections)).then_some(once)
    }

    /// What is kept is what `setup_build` makes.
    fn has_setup(
        &mut self,
        section: &str,
        node: &Node,
        sections: &BTreeMap<&'static str, &Node>,
    ) -> bool {
        if sections.contains_key(SETUP_BUILD) {
            return true;
        }
        let message = format!(
            "Definition for job \"{}\" has a config section \"{section}\", but no \"{SETUP_BUILD}\" whose results could be \
             kept.",
            self.job
        );
        let cure =
            "add \"setup_build:\" with the commands that make what is kept, or remove the section";
        self.note(&node.place, message, cure);
        false
    }

    fn paths_and_key(
        &mut self,
        section: &str,
        node: &Node,
        entries: &[(Node, Node)],
    ) -> Option<(Vec<String>, Vec<String>)> {
        let (mut paths, mut key) = (None, None);
        for (name, value) in entries {
            let written = name.value.scalar_text().unwrap_or("?");
            let (found, cure) = match written {
                PATHS => (&mut paths, "write a path such as .venv, or a list of paths"),
                KEY => (
                    &mut key,
                    "write a file such as requirements.txt, or a list of files",
                ),
                _ => {
                    let message = format!(
                        "Definition for job \"{}\" contains an invalid name \"{written}\" in config section \"{section}\".",
                        self.job
                    );
                    let cure = match nearest(written, [PATHS, KEY]) {
                        Some(meant) => format!("write \"{meant}\""),
                        None => format!("write \"{PATHS}\" or \"{KEY}\""),
                    };
                    self.note(&name.place, message, &cure);
                    return None;
                }
            };
            if found.is_some() {
                let message = format!(
                    "Definition for job \"{}\" has \"{written}\" twice in config section \"{section}\".",
                    self.job
                );
                self.note(&name.place, message, "remove one of them");
                return None;
            }
            *found = Some(self.texts(section, value, cure)?);
        }
        let Some(paths) = paths else {
            let message = format!(
                "Definition for job \"{}\" has no \"{PATHS}\" in config section \"{section}\".",
                self.job
            );
            self.note(
                &node.place,
                message,
                "add \"paths:\" and what is to be kept",
            );
            return None;
        };
        Some((paths, key.unwrap_or_default()))
    }

    /// A text, or a list of texts.
    fn texts(&mut self, section: &str, node: &Node, cure: &str) -> Option<Vec<String>> {
        const EXPECTED: &str = "<class 'str'>";
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::with_capacity(nodes.len());
        for one in nodes {
            let Value::Text(text) = &one.value else {
                let found = python_type(&one.value, false);
                self.wrong_value(one, section, EXPECTED, &found, cure);
                return None;
            };
            texts.push(text.clone());
        }
        Some(texts)
    }
}

fn cure_of(error: &SetupCacheError) -> &'static str {
    match error {
        SetupCacheError::NoPath(_) => {
            "write a path without \"..\" and without a slash at its beginning: only files of the project are kept"
        }
        SetupCacheError::Pattern(_) => {
            "name each file or directory by itself: a directory is kept with all that is in it"
        }
        SetupCacheError::OfGit(_) => {
            "keep what setup_build makes; every build has a checkout of its own"
        }
        SetupCacheError::NoPaths => CURE,
        SetupCacheError::TooMuch => {
            "write fewer or shorter ones: a directory is kept with all that is in it"
        }
        SetupCacheError::Nested { .. } => "remove the inner one",
        SetupCacheError::WholeWithKey => "remove the key, or name what setup_build makes",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Job, JobConfig};

    fn job(sections: &str) -> Result<Job, String> {
        let text = format!("A:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n{sections}");
        let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
        let job = config.job(None).map(|(_, job)| job.clone());
        job.map_err(|error| error.to_string())
    }

    fn check(sections: &str, paths: &[&str], key: &[&str], once: bool) {
        let job = job(&format!("  setup_build: [make]\n{sections}")).unwrap();
        let cache = job.cache.unwrap();
        assert_eq!(
            (cache.paths(), cache.key_files()),
            (
                paths
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect::<Vec<_>>()
                    .as_slice(),
                key.iter()
                    .map(|file| (*file).to_owned())
                    .collect::<Vec<_>>()
                    .as_slice(),
            )
        );
        assert_eq!(job.setup_once, once);
    }

    #[test]
    fn there_is_a_short_form_and_a_long_one() {
        check("  cache: .venv\n", &[".venv"], &[], false);
        check("  cache: [a, b/]\n", &["a", "b"], &[], false);
        check(
            "  cache: {paths: a, key: k.txt}\n  setup_once: true\n",
            &["a"],
            &["k.txt"],
            true,
        );
        check(
            "  cache:\n    paths: [a]\n    key: [k, l]\n",
            &["a"],
            &["k", "l"],
            false,
        );
        check("  setup_once: yes\n", &["."], &[], true);
        let without = job("  setup_build: [make]\n  setup_once: false\n").unwrap();
        assert_eq!((without.cache, without.setup_once), (None, false));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_cure() {
        for (sections, said) in [
            (
                "  setup_build: [x]\n  cache: [/etc]\n",
                "\"/etc\" is not a path below $PROJECT_DIR",
            ),
            ("  setup_build: [x]\n  cache: [a/../..]\n", "without \"..\""),
            ("  setup_build: [x]\n  cache: [.git]\n", "belongs to git"),
            (
                "  setup_build: [x]\n  cache: 7\n",
                "write a path such as .venv",
            ),
            (
                "  setup_build: [x]\n  cache: [[a]]\n",
                "found <class 'list'>",
            ),
            ("  setup_build: [x]\n  cache: []\n", "no path is named"),
            (
                "  setup_build: [x]\n  cache: {key: [k]}\n",
                "add \"paths:\"",
            ),
            (
                "  setup_build: [x]\n  cache: {path: [k]}\n",
                "write \"paths\"",
            ),
            (
                "  setup_build: [x]\n  cache: {paths: a, paths: b}\n",
                "twice",
            ),
            (
                "  setup_build: [x]\n  cache: {paths: ., key: k}\n",
                "remove the key",
            ),
            ("  cache: [a]\n", "add \"setup_build:\""),
            ("  setup_once: true\n", "add \"setup_build:\""),
            (
                "  setup_build: [x]\n  setup_once: true\n  image: debian:12\n",
                "what setup_build installs in a container",
            ),
            (
                "  setup_build: [x]\n  cache: {paths: a, key: '**/k'}\n",
                "is a pattern",
            ),
            (
                "  setup_build: [x]\n  setup_once: 1\n",
                "write true or false",
            ),
        ] {
            let error = job(sections).unwrap_err();
            assert!(error.contains(said), "{sections}: {error}");
        }
    }
}
