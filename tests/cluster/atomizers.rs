//! What atomizers print, and builds for which they print nothing.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildResult;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};

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

/// As the shell's own `$(...)` would read it: from whatever still writes, and whoever opens it anew empties nothing.
#[tokio::test]
async fn nothing_that_is_printed_is_lost() {
    let farm = Farm::start(&[2]).await;
    for (printing, atoms) in [
        ("seq 200 | tee >(sed s/^/t/ >&2) > /dev/null; echo end", 1),
        ("seq 200 > >(grep -v 7)", 162),
        ("(sleep 0.3; echo late) & echo early", 2),
        (
            "echo a; echo b > /dev/stdout; echo c; echo d >> /dev/fd/1",
            4,
        ),
    ] {
        let one = job("true").atomizer(printing);
        let build = farm.runs(&one).await.passes();
        assert_eq!(build.num_atoms, Some(atoms), "{printing}");
    }
}

/// The name of a file in Latin-1, say.
#[tokio::test]
async fn what_is_no_text_is_told_of() {
    let farm = Farm::start(&[2]).await;
    let printing = r"echo one; printf 'caf\351\n'";
    let build = farm.runs(&job("echo $N").atomizer(printing)).await.passes();
    let told =
        "The atomizer of N printed what is no UTF-8 text; its atom names no such file: caf\u{fffd}";
    assert_eq!(build.warnings, [told]);
}

/// Whatever the values are: each atom sees its own, and its name is what it is found by later.
#[tokio::test]
async fn a_product_of_atomizers_sets_several_variables() {
    let farm = Farm::start(&[2]).await;
    let odd = r#"printf '%s\n' 'two "quoted" words' '$(exit 9)'"#;
    let text = json!({"Product": {
        "commands": [r#"printf '%s' "$A:$B""#, r#"[ "$A$B" != 'b$(exit 9)' ]"#],
        "atomizers": [{"product": {"A": "printf 'a\nb\n'", "B": odd}}, {"A": "echo alone"}],
    }});
    let failing = r#"A="b" B="\$(exit 9)"; export A B;"#;
    let project = Repository::with_jobs(&text.to_string());
    let build = farm.run(&project.request()).await.fails(&[(failing, 1)]);
    assert_eq!(
        (build.num_atoms, build.num_atoms_failed),
        (Some(5), 1),
        "{build:#?}"
    );
    assert_eq!(
        farm.consoles(build.id).await,
        [
            r#"a:two "quoted" words"#,
            "a:$(exit 9)",
            r#"b:two "quoted" words"#,
            "b:$(exit 9)",
            "alone:",
        ]
    );
    let id = build.id.to_string();
    let status = farm.user(&["status", &id]).stdout;
    assert!(status.contains(r#"A="b" B="\$(exit 9)""#), "{status}");
    let again = farm.user(&["retry", &id, "--failed", "--no-results"]);
    assert_eq!(again.code, Some(1), "{again:#?}");
    let again = BuildId(build.id.0 + 1);
    assert_eq!(farm.consoles(again).await, ["b:$(exit 9)"]);
    let runs = wait_for("both builds count", async || {
        let shown = farm.user(&["history", "A=b B=$(exit 9)", "--json"]).stdout;
        let shown: Value = serde_json::from_str(&shown).ok()?;
        let runs = shown["history"][0]["runs"].as_array()?.clone();
        (runs.len() == 2).then_some(runs)
    });
    let builds: Vec<_> = runs
        .await
        .iter()
        .map(|run| run["build_id"].clone())
        .collect();
    assert_eq!(builds, [json!(build.id), json!(again)]);
    let script = farm.user(&["repro", &id, "3_0"]);
    assert!(
        script
            .stdout
            .contains(r#"A="b" B="\$(exit 9)"; export A B;"#),
        "{script:#?}"
    );
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

/// What an atomizer leaves in the background, in a session of its own, is ended before the next build of the project has its
/// files checked out.
#[tokio::test]
async fn what_an_atomizer_leaves_spoils_no_other_build() {
    let repository = Repository::empty();
    let spoiling = "trap '' HUP; while :; do touch spoiled; sleep 0.01; done";
    let leaving = format!(
        "test ! -e spoiled || exit 9; export {}; setsid sh -c \"{spoiling}\" > /dev/null 2>&1 & echo one",
        repository.marker()
    );
    repository.commit_job(&job("true").atomizer(leaving));
    let farm = Farm::start(&[2]).await;
    let mut builds = Vec::new();
    for _ in 0..3 {
        builds.push(farm.submit(&repository.request()).await);
    }
    for build in builds {
        farm.end_of(build).await.passes();
    }
    repository.wait_until_gone().await;
}
