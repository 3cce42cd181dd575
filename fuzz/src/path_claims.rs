//! Which API owns a path.

use clusterrunner_master::trial::path_owner;

/// A path has one owner, and slashes too many change nothing of that: no API gets a path that another one has closed.
///
/// # Panics
/// It is not so.
pub fn path_claims(path: &[u8]) {
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    let path = format!("/{}", path.trim_start_matches('/'));
    let owner = path_owner(&path);
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    // Lists of builds are told apart by the slash at the end, and web sockets by the number of parts.
    let is_apart = parts(&path).first().is_some_and(|first| first == "builds")
        || path.contains("/builds/")
        || path == "/";
    if !is_apart {
        let doubled = path.replace('/', "//");
        assert_eq!(path_owner(&doubled), owner, "{path:?}");
    }
}
