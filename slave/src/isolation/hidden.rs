//! What commands behind walls do not see: homes, sockets of the machine's services, and all that is the farm's own.

use clusterrunner_common::settings::{GeneralSettings, second_file};
use std::path::{Path, PathBuf};

/// Homes, and where services of the machine have their sockets: whoever reaches that of docker is root.
const ALWAYS: [&str; 3] = ["/home", "/root", "/run"];

/// Where names of machines are looked up with the help of `/run`.
const RESOLVERS: [&str; 4] = [
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
];

/// What is a home of some system users, and what no command does without.
const SYSTEM: [&str; 12] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", "/proc", "/sys", "/boot", "/tmp",
    "/var/tmp",
];

/// The files and directories that are hidden, by their real names; none lies in another one. Whoever reads the join token can
/// be a slave of the farm.
pub(crate) fn hidden_places(general: &GeneralSettings, join_token: Option<&Path>) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let always = ALWAYS.iter().map(PathBuf::from);
    let https = &general.https;
    let own = [
        Some(general.base_directory.clone()),
        Some(general.config_file.clone()),
        // Where farms are shared with the original, the secret is there.
        Some(second_file(&general.config_file)),
        https.identity.as_ref().map(|identity| identity.key.clone()),
        https
            .client_identity
            .as_ref()
            .map(|identity| identity.key.clone()),
        join_token.map(Path::to_owned),
        home.filter(|home| may_be_hidden(home)),
    ];
    outermost(always.chain(own.into_iter().flatten()))
}

/// What of hidden places is shown to those who have the network.
pub(super) fn resolvers() -> impl Iterator<Item = PathBuf> {
    RESOLVERS.iter().map(PathBuf::from)
}

/// What shows the machine's own processes, devices and control groups, or is covered by what is private.
const NO_PROJECTS: [&str; 6] = ["/proc", "/sys", "/dev", "/etc", "/tmp/", "/var/tmp/"];

/// Whether a project that is really there would show what is hidden: it is put back over the covers.
pub(super) fn uncovers(real: &Path, hidden: &[PathBuf]) -> bool {
    let mut no_projects = NO_PROJECTS.iter().map(|place| (place, Path::new(place)));
    let is_none = no_projects.any(|(name, place)| match name.ends_with('/') {
        true => real == place,
        false => real.starts_with(place),
    });
    let touches = |place: &PathBuf| place.starts_with(real) || real.starts_with(place);
    is_none || real == Path::new("/") || hidden.iter().any(touches)
}

fn may_be_hidden(home: &Path) -> bool {
    let real = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    real != Path::new("/") && !SYSTEM.iter().any(|system| real.starts_with(system))
}

fn outermost(places: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = places.filter_map(|path| path.canonicalize().ok()).collect();
    places.sort();
    let mut outermost: Vec<PathBuf> = Vec::new();
    for place in places {
        let is_inside = outermost.last().is_some_and(|last| place.starts_with(last));
        if !is_inside {
            outermost.push(place);
        }
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::settings::{Overrides, load_slave};

    #[test]
    fn the_token_that_slaves_join_with_is_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let (file, token) = (directory.join("conf"), directory.join("token"));
        let base = directory.join("base");
        let text = format!(
            "[general]\nbase_directory = {}\n[slave]\njoin_token_file = {}\n",
            base.display(),
            token.display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(&token, "token").unwrap();
        let settings = load_slave(Some(&file), |_| None, &Overrides::new()).unwrap();
        let joins_with = settings.join_token_file.as_deref();
        assert!(hidden_places(&settings.general, joins_with).contains(&token));
        assert!(!hidden_places(&settings.general, None).contains(&token));
    }

    #[test]
    fn no_system_is_hidden_as_a_home() {
        for (home, expected) in [
            ("/", false),
            ("/usr/sbin", false),
            ("/tmp", false),
            ("/var/lib/clusterrunner", true),
            ("/home/ci", true),
        ] {
            assert_eq!(may_be_hidden(Path::new(home)), expected, "{home}");
        }
    }

    #[test]
    fn no_project_uncovers_what_is_hidden() {
        let hidden = ["/home", "/srv/farm/base"].map(PathBuf::from);
        for (project, expected) in [
            ("/home", true),
            ("/home/ci/project", true),
            ("/srv/farm", true),
            ("/srv/farm/base/slave-1", true),
            ("/srv/farm/base2", false),
            ("/srv/project", false),
            ("/sys/fs/cgroup", true),
            ("/tmp", true),
            ("/tmp/project", false),
            ("/", true),
        ] {
            assert_eq!(uncovers(Path::new(project), &hidden), expected, "{project}");
        }
    }

    #[test]
    fn what_lies_in_a_hidden_place_needs_no_cover_of_its_own() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::create_dir_all(base.join("ab")).unwrap();
        let places = ["a/b", "ab", "not there", "a"].map(|name| base.join(name));
        let found = outermost(places.into_iter());
        assert_eq!(found, [base.join("a"), base.join("ab")]);
    }
}
