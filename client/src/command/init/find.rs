//! The command that lists the test files of a project, also those that come later.

use super::project::name;
use std::collections::BTreeSet;

/// A `find` for files like these: at the top of the project and in the directories there that have some, by those of the
/// patterns that fit one of them.
pub(super) fn find_command(files: &[&str], patterns: &[&str]) -> String {
    let used: Vec<&str> = patterns
        .iter()
        .filter(|pattern| files.iter().any(|file| matches(pattern, name(file))))
        .copied()
        .collect();
    let tests: Vec<String> = used.iter().map(|used| format!("-name '{used}'")).collect();
    let tests = match tests.as_slice() {
        [one] => one.clone(),
        several => format!(r"\( {} \)", several.join(" -o ")),
    };
    let mut roots = BTreeSet::new();
    for file in files {
        match file.split_once('/') {
            Some((root, _)) => {
                roots.insert(root.replace(is_odd, "?"));
            }
            None => roots.extend(
                used.iter()
                    .filter(|pattern| matches(pattern, file))
                    .map(|&pattern| pattern.to_owned()),
            ),
        }
    }
    let roots = roots.into_iter().collect::<Vec<_>>().join(" ");
    format!("find {roots} -name node_modules -prune -o -type f {tests} -print | sort")
}

/// Whether a character means something to a shell or in YAML. A `?` stands for it in a file name.
fn is_odd(character: char) -> bool {
    !(character.is_alphanumeric() || "_-.".contains(character))
}

/// Whether a name fits a pattern of stars and other characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("test_*.py", "test_a.py", true),
            ("test_*.py", "test_.py", true),
            ("test_*.py", "a_test.py", false),
            ("*.test.*", "ä.test.ts", true),
            ("*.test.*", "a.tests.ts", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn only_directories_with_tests_are_searched_and_only_for_names_that_are_used() {
        assert_eq!(
            find_command(
                &["tests/test_a.py", "web/x/test_b.py"],
                &["test_*.py", "*_test.py"]
            ),
            "find tests web -name node_modules -prune -o -type f -name 'test_*.py' -print | sort"
        );
        assert_eq!(
            find_command(
                &["b_test.py", "my tests/x/test_b.py"],
                &["test_*.py", "*_test.py"]
            ),
            r"find *_test.py my?tests -name node_modules -prune -o -type f \( -name 'test_*.py' -o -name '*_test.py' \) -print | sort"
        );
    }
}
