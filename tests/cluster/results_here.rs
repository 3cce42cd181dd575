//! The results of a build on the disk of whoever asked for it.

use crate::job::job;
use crate::machine::Machine;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Command;

#[test]
fn what_an_atom_leaves_comes_back_as_it_was() {
    let leave = "cd \"$ARTIFACT_DIR\"; mkdir -p full empty; echo text >full/file; chmod 755 full/file; \
                 ln -s full/file link; ln -s .. full/up; ln -s nowhere dangling; \
                 printf one >$'r\\351sultat'; printf two >$'r\\350sultat'";
    let machine = Machine::new(&job(leave).atoms(1).to_string());
    let built = machine.run_to(0, &["build"]);
    assert!(!built.stderr.contains("brought back"), "{built:#?}");
    let left = machine.path("project/build_results/latest/artifact_0_0");
    assert_eq!(fs::read_to_string(left.join("link")).unwrap(), "text\n");
    for (link, target) in [
        ("link", "full/file"),
        ("full/up", ".."),
        ("dangling", "nowhere"),
    ] {
        assert_eq!(left.join(link).read_link().unwrap(), Path::new(target));
    }
    assert_eq!(left.join("empty").read_dir().unwrap().count(), 0);
    for (byte, text) in [(0xe9, "one"), (0xe8, "two")] {
        let name = OsString::from_vec([b"r", &[byte][..], b"sultat"].concat());
        assert_eq!(fs::read_to_string(left.join(name)).unwrap(), text);
    }
}

#[test]
fn a_repository_does_not_fill_with_results() {
    let machine = Machine::new(&job("echo on").atoms(1).to_string());
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        let output = git.args(arguments).current_dir(machine.path("project"));
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    for arguments in [
        &["build"][..],
        &["build"],
        &["build", "--results-dir", "mine"],
    ] {
        machine.run_to(0, arguments);
    }
    git(&["add", "-A"]);
    assert_eq!(git(&["ls-files"]), "clusterrunner.yaml\n");
    let console = "artifact_0_0/clusterrunner_console_output";
    for results in [
        "build_results/1",
        "build_results/2",
        "build_results/latest",
        "mine",
    ] {
        let console = machine.path("project").join(results).join(console);
        assert_eq!(fs::read_to_string(console).unwrap(), "on\n", "{results}");
    }
}
