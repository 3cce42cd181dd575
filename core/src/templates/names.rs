//! Which names templates may have, and what makes a name unique.

use clusterrunner_common::work::{BuildRequest, ProjectSource};
use sha2::{Digest as _, Sha256};

/// The most characters of a name.
const LONGEST: usize = 128;

/// Whether a template can have the name. Digits alone are the ids of builds.
pub(super) fn is_valid(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_path = matches!(name, "." | "..");
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(fits) && !is_number && !is_path
}

/// The name, or where it is not free the name with as many digits of what the source's URL hashes to as make it free.
pub(super) fn free(name: &str, request: &BuildRequest, is_free: impl Fn(&str) -> bool) -> String {
    let whole_key = request.project_key();
    let told_apart_by = match &request.project {
        ProjectSource::Git { url, .. } => url,
        ProjectSource::Directory { .. } | ProjectSource::Own { .. } => &whole_key,
    };
    let digits = hex::encode(Sha256::digest(told_apart_by));
    let with = |length: usize| {
        let digits = &digits[..length];
        let name = &name[..name.len().min(LONGEST - 1 - length)];
        format!("{name}-{digits}")
    };
    let candidates = std::iter::once(name.to_owned());
    let mut candidates = candidates.chain([6, 12, 24, digits.len()].map(with));
    candidates
        .find(|candidate| is_free(candidate))
        // Another source hashes to the same: there is none.
        .unwrap_or_else(|| with(digits.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> BuildRequest {
        serde_json::from_value(serde_json::json!({"type": "git", "url": url})).unwrap()
    }

    #[test]
    fn names_are_told_from_ids_and_paths() {
        for name in ["a", "r-7", "owner-repository.x_y", &"x".repeat(LONGEST)] {
            assert!(is_valid(name), "{name}");
        }
        for name in ["", "7", "a/b", "ä", "..", ".", &"x".repeat(LONGEST + 1)] {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn another_source_gets_digits() {
        let request = request("https://host/a/b");
        assert_eq!(free("a-b", &request, |_| true), "a-b");
        let digits = hex::encode(Sha256::digest("https://host/a/b"));
        let taken = |name: &str| name != "a-b";
        assert_eq!(
            free("a-b", &request, taken),
            format!("a-b-{}", &digits[..6])
        );
        let long = free(&"x".repeat(LONGEST), &request, |name| !name.ends_with('x'));
        assert_eq!(long.len(), LONGEST);
        assert!(is_valid(&long));
    }
}
