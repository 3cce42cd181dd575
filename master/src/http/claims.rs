//! Which API owns a request. Only the path decides; what the path means is for the API to say.

/// An API of the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The API of ClusterRunner, versions 1 and 2.
    ClusterRunner,
    /// The build-job API of Polyaxon, version 1.
    Polyaxon,
}

/// Paths and the API that owns them with all that is below. The first entry that fits counts.
const CLAIMS: [(&str, Family); 4] = [
    ("/api/v1", Family::Polyaxon),
    ("/ws/v1", Family::Polyaxon),
    ("/v1", Family::ClusterRunner),
    ("/v2", Family::ClusterRunner),
];

/// The API that owns all other paths: it has paths without a version, too.
const REST: Family = Family::ClusterRunner;

/// The API that owns a path.
#[must_use]
pub fn owner(path: &str) -> Family {
    if is_polyaxon_socket(path) {
        return Family::Polyaxon;
    }
    let claim = CLAIMS.iter().find(|(claimed, _)| is_below(path, claimed));
    claim.map_or(REST, |(_, family)| *family)
}

/// Whether a path is one of the web sockets that Polyaxon has below `/v1`, too. No path of another API is like these.
fn is_polyaxon_socket(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').take(8).collect();
    matches!(
        parts[..],
        ["", "v1", _, _, "builds", _, "logs" | "resources"]
    )
}

/// Whether a path is `top` or below it, by whole parts. Slashes that follow each other count as one.
fn is_below(path: &str, top: &str) -> bool {
    let parts = |path| str::split(path, '/').filter(|part| !part.is_empty());
    let mut found = parts(path);
    path.starts_with('/') && parts(top).all(|part| found.next() == Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_owner() {
        for (path, family) in [
            ("/", Family::ClusterRunner),
            ("/v1/build/1", Family::ClusterRunner),
            ("/build", Family::ClusterRunner),
            ("/api/v1/ann/hill/builds/1", Family::Polyaxon),
            ("/ws/v1/ann/hill/builds/1/logs", Family::Polyaxon),
            ("/v1/ann/hill/builds/1/logs/", Family::Polyaxon),
            ("/v1/ann/hill/builds/1", Family::ClusterRunner),
            ("//api///v1//ann", Family::Polyaxon),
            ("/api/v2", Family::ClusterRunner),
        ] {
            assert_eq!(owner(path), family, "{path}");
        }
    }

    #[test]
    fn a_claim_ends_where_a_part_of_the_path_ends() {
        assert!(is_below("/v1", "/v1") && is_below("/v1/", "/v1") && is_below("/v1/x", "/v1"));
        assert!(!is_below("/v10", "/v1") && !is_below("/", "/v1") && !is_below("v1", "/v1"));
    }
}
