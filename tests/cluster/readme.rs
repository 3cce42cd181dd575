//! What the README tells newcomers to do.

use crate::program::clusterrunner;
use crate::skipping::{Lacks, skip};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/readme.sh");

#[test]
fn the_readme_can_be_followed_from_an_empty_home() {
    let namespaces = ["--net", "--mount", "--pid", "--fork", "true"];
    let tried = Command::new("unshare").args(namespaces).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return skip(Lacks::NetworkNamespaces);
    }
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
    let mut script = Command::new(SCRIPT);
    script.env_clear().env("PATH", path);
    script.env("CLUSTERRUNNER_PROGRAM", clusterrunner());
    let followed = script.output().unwrap();
    let said = String::from_utf8_lossy(&followed.stdout);
    let complained = String::from_utf8_lossy(&followed.stderr);
    assert!(followed.status.success(), "{said}\n{complained}");
    assert!(said.ends_with("== README.md is right\n"), "{said}");
}
