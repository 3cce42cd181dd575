//! What a build leaves on the machine of its user.

use super::*;

#[test]
fn the_results_of_five_builds_before_are_kept_and_git_sees_none_of_them() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    let build = || user.run_at(&master, BUILD).expect_code(0);
    build().expect(&[], &["results: project/build_results/1 (1 file)\n"]);
    // A farm that was made anew counts from 1 again.
    build().expect(&[], &["earlier results: project/build_results/1.1\n"]);
    for _ in 0..4 {
        assert!(!build().stderr.contains("removed old results"));
    }
    build().expect(
        &[],
        &["removed old results: project/build_results/1.1 (the 5 before these are kept)\n"],
    );
    assert_eq!(names(user.home.path()), ["base", "project"]);
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        let output = git.args(arguments).current_dir(user.path("project"));
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["add", "-A"]);
    assert_eq!(git(&["ls-files"]), "clusterrunner.yaml\n");
}

#[test]
fn results_can_be_left_out_or_put_just_where_one_wants_them() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    user.run_at(&master, &["build", "project", "--no-results"])
        .expect_code(0);
    let line = ["build", "project", "--results-dir", "out/here"];
    user.run_at(&master, &line).expect_code(0);
    assert_eq!(names(user.home.path()), ["base", "out", "project"]);
    assert_eq!(names(&user.path("project")), ["clusterrunner.yaml"]);
    assert!(user.path("out/here/artifact_0_0").is_dir());
    user.run_at(&master, &line)
        .expect_code(0)
        .expect(&[], &["earlier results: out/here.1\n"]);
    assert!(user.path("out/here.1/artifact_0_0").is_dir());
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    std::fs::create_dir_all(user.path("project/build_results/src")).unwrap();
    user.run_at(&master, BUILD).expect_code(2).expect(
        &[],
        &[
            "project/build_results is not a place for results: it holds other files",
            "hint: --results-dir names it",
        ],
    );
    assert!(master.script().submitted.is_empty());
}

#[test]
fn what_can_not_be_brought_back_is_said() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    let members: Vec<_> = (0..12)
        .map(|_| ("artifact_0_0/\u{1b}[2Jtwice", ""))
        .collect();
    master.script().archive = Some(archive(&members));
    user.run_at(&master, BUILD).expect_code(0).expect(
        &[],
        &[
            "results: project/build_results/1 (1 file)\n",
            "warning: 11 entries of the results could not be brought back; artifacts.tar.gz on the master has what was left out:\n    \
             artifact_0_0/\\u{1b}[2Jtwice: its name is taken\n",
            "\n    ... and 1 more\n",
        ],
    );
}

#[test]
fn an_archive_that_would_write_elsewhere_is_refused_and_the_old_results_stay() {
    let user = User::new();
    let master = FakeMaster::start([finished(1, vec![])]);
    user.run_at(&master, BUILD).expect_code(0);
    master.script().archive = Some(archive(&[("fine", ""), ("../../evil", "")]));
    user.run_at(&master, BUILD).expect_code(5).expect(
        &["Build 1 passed"],
        &["error: the results were refused: member \"../../evil\" of the archive leads out"],
    );
    let results = user.path("project/build_results");
    assert_eq!(names(&results), [".gitignore", "1", "latest"]);
    assert!(results.join("1/artifact_0_0").is_dir());
}
