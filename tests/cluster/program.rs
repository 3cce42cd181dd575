//! The program under test: built once for each run of the tests, so that it is never an old one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `clusterrunner` program of the profile that these tests are built in.
pub(crate) fn clusterrunner() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("CLUSTERRUNNER_PROGRAM") {
        // `./check` has built it already. nextest runs each test in a process of its own, and each would build.
        Some(built) => PathBuf::from(built),
        None => build(),
    })
}

fn build() -> PathBuf {
    // `<target>/<profile>/deps/cluster-<hash>`
    let test = std::env::current_exe().unwrap();
    let profile_directory = test.parent().and_then(Path::parent).unwrap();
    let target = profile_directory.parent().unwrap();
    let profile = match profile_directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // What `cargo test` tells about this package would have some dependencies built anew.
        let name_text = name.to_string_lossy();
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"];
        if of_package.iter().any(|start| name_text.starts_with(start)) {
            build.env_remove(&name);
        }
    }
    let built = build
        .args(["build", "--package", "clusterrunner-client", "--quiet"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "the program under test could not be built:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    profile_directory.join("clusterrunner")
}
