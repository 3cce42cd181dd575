//! Which atom of a batch a test of its reports belongs to. Pure.
//!
//! A test names an atom by one of these; the first that names any decides:
//!
//! 1. *File*: the test's file is the atom's value as a path, or lies below it.
//! 2. *Name*: the test's name is the atom's value, or its class is, or both joined by `.`, `::`, `#`, `/` or a blank; or
//!    the test's name begins with the value and a `/`, as the names of Go's subtests do.
//! 3. *Module*: the test's class and name, joined by dots, are the atom's path without its extension and with dots for its
//!    slashes, or begin with that and a dot: `tests.test_a.TestB.test_c` is of `tests/test_a.py`, of `tests`, and of
//!    `tests/test_a.py::TestB`. Of several such atoms the longest has the test.
//!
//! Paths are compared as they are in the project: without its directory, and without `./`. Where one word stands for two
//! atoms, it names neither.

use clusterrunner_common::junit::ReportedTest;
use std::borrow::Cow;
use std::collections::HashMap;

/// The separators between a class and a name.
const SEPARATORS: [&str; 5] = [".", "::", "#", "/", " "];

/// The words that name the atoms of a batch.
#[derive(Debug)]
pub(super) struct Names<'a> {
    project_directory: &'a str,
    values: Words<'a>,
    paths: Words<'a>,
    modules: Words<'a>,
}

/// Words, and the atom that each stands for; none where it stands for two.
#[derive(Debug, Default)]
struct Words<'a>(HashMap<Cow<'a, str>, Option<usize>>);

impl<'a> Words<'a> {
    fn add(&mut self, word: impl Into<Cow<'a, str>>, atom: usize) {
        let known = self.0.entry(word.into());
        known
            .and_modify(|known| *known = known.filter(|known| *known == atom))
            .or_insert(Some(atom));
    }

    /// What a word stands for, if it is known at all.
    fn of(&self, word: &str) -> Option<Option<usize>> {
        self.0.get(word).copied()
    }

    /// The same for the longest beginning of a text that is known and ends before one of `separators`.
    fn of_beginning(&self, text: &str, separators: &[char]) -> Option<Option<usize>> {
        let mut beginning = text;
        loop {
            if let Some(known) = self.of(beginning) {
                return Some(known);
            }
            beginning = &beginning[..beginning.rfind(separators)?];
        }
    }
}

impl<'a> Names<'a> {
    /// Of atoms with these values, of a project in this directory.
    pub(super) fn new(project_directory: &'a str, values: impl Iterator<Item = &'a str>) -> Self {
        let mut names = Self {
            project_directory,
            values: Words::default(),
            paths: Words::default(),
            modules: Words::default(),
        };
        for (atom, value) in values.enumerate() {
            let path = names.in_project(value);
            names.values.add(value, atom);
            names.values.add(path, atom);
            names.paths.add(path.trim_end_matches('/'), atom);
            if let Some(module) = module(path) {
                names.modules.add(module, atom);
            }
        }
        names
    }

    /// A path as it is in the project.
    fn in_project<'p>(&self, path: &'p str) -> &'p str {
        let inside = path.strip_prefix(self.project_directory);
        let inside = inside.and_then(|inside| inside.strip_prefix('/'));
        let mut inside = inside.unwrap_or(path);
        while let Some(rest) = inside.strip_prefix("./") {
            inside = rest.trim_start_matches('/');
        }
        inside
    }

    /// The atom that is named by a word alone.
    pub(super) fn atom_of_word(&self, word: &str) -> Option<usize> {
        self.atoms_of_word(word)?
    }

    /// Whether a word stands for an atom, or for several.
    pub(super) fn is_word_for_atoms(&self, word: &str) -> bool {
        self.atoms_of_word(word).is_some()
    }

    fn atoms_of_word(&self, word: &str) -> Option<Option<usize>> {
        self.values
            .of(word)
            .or_else(|| self.values.of(self.in_project(word)))
    }

    /// The atom that a test belongs to; none where no atom is named, or no single one.
    pub(super) fn atom_of(&self, test: &ReportedTest) -> Option<usize> {
        let class = test.class.as_deref().unwrap_or_default();
        let joined = SEPARATORS
            .iter()
            .map(|separator| format!("{class}{separator}{}", test.name));
        let by_name = || {
            let mut joined = joined;
            self.values
                .of_beginning(&test.name, &['/'])
                .or_else(|| self.values.of(self.in_project(&test.name)))
                .or_else(|| self.values.of(class))
                .or_else(|| joined.find_map(|word| self.values.of(&word)))
        };
        let by_file = || {
            let file = self.in_project(test.file.as_deref()?);
            self.paths.of_beginning(file, &['/'])
        };
        let by_module = || {
            // What could not be collected has no class.
            let whole = match class {
                "" => test.name.clone(),
                class => format!("{class}.{}", test.name),
            };
            // The values of a test's parameters may have dots.
            let plain = whole.split('[').next().unwrap_or(&whole);
            self.modules
                .of(&whole)
                .or_else(|| self.modules.of_beginning(plain, &['.']))
        };
        by_file().or_else(by_name).or_else(by_module)?
    }
}

/// What a runner makes of a path where it names modules and classes.
fn module(path: &str) -> Option<String> {
    let (file, inside) = path
        .split_once("::")
        .map_or((path, None), |(file, inside)| (file, Some(inside)));
    let file = file.trim_end_matches('/');
    let name_begins = file.rfind('/').map_or(0, |slash| slash + 1);
    let end = file[name_begins..].rfind('.').filter(|dot| *dot > 0);
    let module = &file[..end.map_or(file.len(), |dot| name_begins + dot)];
    let module = module.replace('/', ".");
    let module = match inside {
        Some(inside) => format!("{module}.{}", inside.replace("::", ".")),
        None => module,
    };
    (!module.is_empty() && !module.contains(char::is_whitespace)).then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::junit::TestOutcome;

    fn test(class: &str, name: &str, file: &str) -> ReportedTest {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ReportedTest {
            name: name.to_owned(),
            class: some(class),
            file: some(file),
            time: None,
            outcome: TestOutcome::Passed,
            message: None,
        }
    }

    fn check(values: &[&str], cases: &[(&str, &str, &str, Option<usize>)]) {
        let names = Names::new("/p", values.iter().copied());
        for (class, name, file, expected) in cases {
            let found = names.atom_of(&test(class, name, file));
            assert_eq!(found, *expected, "{values:?} {class} {name} {file}");
        }
    }

    #[test]
    fn files_of_pytest() {
        check(
            &[
                "/p/tests/test_a.py",
                "./tests/test_ab.py",
                "tests/sub",
                "top_test.py",
            ],
            &[
                ("tests.test_a", "test_x", "", Some(0)),
                ("tests.test_a.TestC", "test_x[1.5/2]", "", Some(0)),
                ("tests.test_ab", "test_x", "", Some(1)),
                ("tests.test_abc", "test_x", "", None),
                ("tests.sub.test_z", "test_x", "", Some(2)),
                ("top_test", "test_x", "", Some(3)),
                // What could not be collected.
                ("", "tests.test_a", "", Some(0)),
                ("", "tests/test_ab.py", "", Some(1)),
                ("", "/p/tests/test_ab.py", "", Some(1)),
                ("", "tests.test_abc", "", None),
                ("tests", "test_a", "", Some(0)),
                ("whatever", "test_x", "tests/test_ab.py", Some(1)),
                ("whatever", "test_x", "/p/tests/sub/deep/test_q.py", Some(2)),
                ("whatever", "test_x", "tests/other.py", None),
            ],
        );
    }

    #[test]
    fn node_ids_of_pytest() {
        check(
            &[
                "t/test_a.py::TestC",
                "t/test_a.py::test_one",
                "t/test_a.py::test_two[1.5]",
            ],
            &[
                ("t.test_a.TestC", "test_m", "", Some(0)),
                ("t.test_a", "test_one", "", Some(1)),
                ("t.test_a", "test_one[x.y]", "", Some(1)),
                ("t.test_a", "test_two[1.5]", "", Some(2)),
                ("t.test_a", "test_two[2.5]", "", None),
                ("t.test_a", "test_three", "", None),
            ],
        );
    }

    #[test]
    fn names_of_other_runners() {
        check(
            &[
                "TestAdd",
                "mod::works",
                "org.x.ATest",
                "lib/b.test.js",
                "pkg.Other",
            ],
            &[
                ("example.com/m", "TestAdd", "", Some(0)),
                ("example.com/m", "TestAdd/sub/case", "", Some(0)),
                ("example.com/m", "TestAddition", "", None),
                ("crate::bin", "mod::works", "", Some(1)),
                ("org.x.ATest", "adds", "", Some(2)),
                ("b does", "things", "/p/lib/b.test.js", Some(3)),
                ("pkg", "Other", "", Some(4)),
            ],
        );
    }

    #[test]
    fn what_stands_for_two_names_neither() {
        check(
            &["t/a.py", "t/a.js", "t", "same", "same"],
            &[
                ("t.a", "x", "", None),
                ("t.a", "x", "t/a.py", Some(0)),
                ("t.b", "x", "", Some(2)),
                ("c", "same", "", None),
            ],
        );
    }
}
