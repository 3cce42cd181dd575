//! What opens the API: where a request shows its key.

/// What may be a key in the value of the header `Authorization`: all of it, and what stands behind a scheme's name.
pub(super) fn candidates(value: &str) -> impl Iterator<Item = &str> {
    let value = value.trim();
    let behind = value.split_once(' ').and_then(|(scheme, key)| {
        let known = ["token", "bearer"];
        let is_known = known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        is_known.then(|| key.trim())
    });
    [Some(value), behind]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::shared_key::SharedKey;
    use clusterrunner_common::auth::secret::Secret;

    #[test]
    fn a_key_stands_bare_or_behind_a_scheme() {
        for (value, expected) in [
            ("abc", &["abc"][..]),
            (" abc ", &["abc"]),
            ("token abc", &["token abc", "abc"]),
            ("Bearer  abc", &["Bearer  abc", "abc"]),
            ("Basic abc", &["Basic abc"]),
            ("", &[]),
        ] {
            assert!(candidates(value).eq(expected.iter().copied()), "{value}");
        }
        let key = SharedKey::new(&Secret::new("a key with blanks".to_owned()).unwrap());
        assert!(candidates("token a key with blanks").any(|text| key.is(text)));
        assert!(!candidates("a key").any(|text| key.is(text)));
    }
}
