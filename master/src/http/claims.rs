//! Which API owns a request. Only host and path decide; what the path means is for the API to say.

/// An API of the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The API of ClusterRunner, versions 1 and 2.
    ClusterRunner,
}

/// Paths and the API that owns them with all that is below. The first entry that fits counts.
const CLAIMS: [(&str, Family); 2] = [
    ("/v1", Family::ClusterRunner),
    ("/v2", Family::ClusterRunner),
];

/// The API that owns what nobody else claims: it has paths without a version, too.
const REST: Family = Family::ClusterRunner;

/// The API that owns a path on a host. No API owns a host yet.
#[must_use]
pub fn owner(_host: Option<&str>, path: &str) -> Family {
    let claim = CLAIMS.iter().find(|(claimed, _)| is_below(path, claimed));
    claim.map_or(REST, |(_, family)| *family)
}

/// Whether a path is `top` or below it, by whole parts.
fn is_below(path: &str, top: &str) -> bool {
    let rest = path.strip_prefix(top);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_owner() {
        for (host, path, family) in [
            (None, "/", Family::ClusterRunner),
            (None, "*", Family::ClusterRunner),
            (None, "", Family::ClusterRunner),
            (None, "/v1", Family::ClusterRunner),
            (None, "/v1/build/1/", Family::ClusterRunner),
            (None, "/v2/builds/1/subjobs", Family::ClusterRunner),
            (None, "/builds/1", Family::ClusterRunner),
            (None, "/queue", Family::ClusterRunner),
            // A name, a uuid, and the rest of a path.
            (None, "/v1/apps/a-name/", Family::ClusterRunner),
            (
                None,
                "/api/v1/alice/7f1c8d2e-0a4b-4c7e-9d55-0b8a3f1e2c6d",
                Family::ClusterRunner,
            ),
            (
                None,
                "/user/0123456789abcdef/lab/a%20b//",
                Family::ClusterRunner,
            ),
            (Some("app.example.org:80"), "/v1", Family::ClusterRunner),
        ] {
            assert_eq!(owner(host, path), family, "{host:?} {path}");
        }
    }

    #[test]
    fn a_claim_ends_where_a_part_of_the_path_ends() {
        assert!(is_below("/v1", "/v1") && is_below("/v1/", "/v1") && is_below("/v1/x", "/v1"));
        assert!(!is_below("/v10", "/v1") && !is_below("/", "/v1") && !is_below("v1", "/v1"));
    }
}
