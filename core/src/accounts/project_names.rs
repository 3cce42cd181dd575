//! What projects may be called, and what those are called that nobody gave a name.

use crate::builds::details::{MAX_NAME, Unfit, check_name};

fn is_part(part: char) -> bool {
    part.is_ascii_alphanumeric() || matches!(part, '-' | '_')
}

/// Checks the name that a user gives a project.
pub(super) fn check(name: &str) -> Result<(), Unfit> {
    check_name(name, is_part)
}

/// The name of the repository in a source such as `git https://host/repository.git`, as a project may have it.
pub(super) fn repository_name(source: &str) -> String {
    let (_, place) = source.split_once(' ').unwrap_or(("", source));
    let place = place.trim_end_matches('/');
    let last = place.rsplit(['/', ':']).next().unwrap_or(place);
    let last = last.strip_suffix(".git").unwrap_or(last);
    let name = last
        .chars()
        .map(|part| if is_part(part) { part } else { '-' });
    let name: String = name.take(MAX_NAME).collect();
    match name.is_empty() {
        true => "project".to_owned(),
        false => name,
    }
}

/// The first of `name`, `name-2`, `name-3` … that is not taken.
pub(super) fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(name) {
        return name.to_owned();
    }
    let numbered = (2_u64..).map(|number| {
        let number = format!("-{number}");
        let kept: String = name.chars().take(MAX_NAME - number.len()).collect();
        kept + &number
    });
    let mut free = numbered.filter(|name| !is_taken(name));
    // There are fewer projects than numbers.
    free.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_name_of_its_repository() {
        for (source, name) in [
            ("git https://host/group/repository.git", "repository"),
            ("git git@host:repository", "repository"),
            ("git ssh://host/repository/", "repository"),
            ("git https://host/my.repository v2.git", "my-repository-v2"),
            ("git https://host/höhle", "h-hle"),
            ("directory /home/user/work", "work"),
            ("directory /", "project"),
            ("", "project"),
        ] {
            assert_eq!(repository_name(source), name, "{source}");
            assert_eq!(check(name), Ok(()));
        }
        assert_eq!(repository_name(&"x".repeat(999)).len(), MAX_NAME);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = ["a", "a-2"];
        let free = |name: &str| free_name(name, |name| taken.contains(&name));
        assert_eq!(free("b"), "b");
        assert_eq!(free("a"), "a-3");
        let long = "x".repeat(MAX_NAME);
        let free = free_name(&long, |name| name == long);
        assert_eq!(free.len(), MAX_NAME);
        assert!(free.ends_with("x-2"));
    }
}
