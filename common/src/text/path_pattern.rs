//! Patterns of paths: `*` stands for any characters but `/`, `?` for one of these, and `**` between slashes for any
//! directories, also none.

/// Whether a path fits a pattern. However long both are, the time grows with the product of their lengths at most.
#[must_use]
pub fn fits(pattern: &str, path: &str) -> bool {
    let pattern: Vec<Vec<char>> = pattern.split('/').map(characters).collect();
    let path: Vec<Vec<char>> = path.split('/').map(characters).collect();
    let is_any_directories = |part: &Vec<char>| part == &['*', '*'];
    fits_list(&pattern, &path, is_any_directories, |pattern, name| {
        let fits_one = |wanted: &char, found: &char| *wanted == '?' || wanted == found;
        fits_list(pattern, name, |wanted| *wanted == '*', fits_one)
    })
}

fn characters(part: &str) -> Vec<char> {
    part.chars().collect()
}

/// Whether a list fits a pattern in which some parts stand for any number of entries. It never looks back further than
/// to the last of these parts.
fn fits_list<P, T>(
    pattern: &[P],
    list: &[T],
    is_any: impl Fn(&P) -> bool,
    fits_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut l) = (0, 0);
    let mut last_any = None;
    while let Some(entry) = list.get(l) {
        match pattern.get(p) {
            Some(part) if is_any(part) => {
                last_any = Some((p, l));
                p += 1;
            }
            Some(part) if fits_one(part, entry) => {
                p += 1;
                l += 1;
            }
            _ => {
                let Some((any, from)) = last_any else {
                    return false;
                };
                last_any = Some((any, from + 1));
                (p, l) = (any + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_name_unless_there_are_two() {
        for (pattern, path, expected) in [
            ("*.xml", "report.xml", true),
            ("*.xml", "a/report.xml", false),
            ("*.xml", "report.xml.gz", false),
            ("a/*.xml", "a/report.xml", true),
            ("a/*.xml", "a/b/report.xml", false),
            ("a/**/*.xml", "a/b/c/report.xml", true),
            ("a/**/*.xml", "a/report.xml", true),
            ("**", "a/b", true),
            ("a/**", "b/a", false),
            ("?.txt", "\u{e4}.txt", true),
            ("?.txt", "xy.txt", false),
            ("a?b", "a/b", false),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_comes_to_an_end() {
        let stars = "*a".repeat(300);
        assert!(!fits(&stars, &"a".repeat(299)));
        assert!(fits(&stars, &"ba".repeat(300)));
        let directories = "**/a/".repeat(300);
        assert!(!fits(&directories, &"a/".repeat(298)));
    }
}
