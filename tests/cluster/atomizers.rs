//! What atomizers print, and builds for which they print nothing.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use clusterrunner_common::api::BuildResult;

#[tokio::test]
async fn only_lines_of_standard_output_are_atoms() {
    let farm = Farm::start(&[2]).await;
    let printing = "echo one; echo careful >&2; echo; echo ' '; echo two; echo";
    let build = farm.runs(&job("echo $N").atomizer(printing)).await.passes();
    assert_eq!(farm.consoles(build.id).await, ["one\n", "two\n"]);
    assert_eq!(
        build.warnings,
        [
            "The atomizer of N printed 2 blank lines, which are no atoms.",
            "The atomizer of N succeeded. The end of its standard error:\ncareful",
        ]
    );
    let shown = farm.user(&["status", &build.id.to_string()]);
    assert!(shown.stdout.contains("careful"), "{shown:#?}");
}

#[tokio::test]
async fn an_atomizer_that_fails_shows_both_its_streams() {
    let farm = Farm::start(&[1]).await;
    let failing = job("true").atomizer("echo found; echo oops >&2; exit 3");
    let build = farm.runs(&failing).await;
    build.errs(&[
        "exited with 3. The end of its output:\nfound\n",
        "The end of its standard error:\noops",
    ]);
}

/// For the original's clients it is no failure, as ever.
#[tokio::test]
async fn a_build_without_atoms_fails_unless_its_job_allows_it() {
    let farm = Farm::start(&[1]).await;
    let nothing = job("true").atomizer("true");
    let build = farm.runs(&nothing).await.passes();
    assert_eq!(build.result, Some(BuildResult::NoFailures));
    assert!(build.lacks_atoms);
    let allowed = nothing.clone().with("allow_no_atoms", true);
    assert!(!farm.runs(&allowed).await.passes().lacks_atoms);

    let run = |project: &Repository, options: &[&str]| {
        let request = project.request();
        let url = request["url"].as_str().unwrap();
        let build = ["build", "git", "--url", url, "--no-results"];
        farm.user(&[&build, options].concat())
    };
    let project = Repository::of(&nothing);
    let ended = run(&project, &[]);
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(ended.stdout.contains("nothing was tested"), "{ended:#?}");
    assert_eq!(run(&project, &["--compat-exit-codes"]).code, Some(0));
    assert_eq!(run(&Repository::of(&allowed), &[]).code, Some(0));
}
