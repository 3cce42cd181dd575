//! Builds of a matrix: one verdict for all, whatever happens to the master around the split.

use crate::farm::Farm;
use crate::job::job;
use crate::json_schema::Schema;
use crate::polyaxon_projects::project_of;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView, ChildView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::results::artifact::CONSOLE_FILE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

/// Three of four combinations, which have as many atoms as `PY` says; the second atom of one fails.
fn project() -> Repository {
    let text = json!({"Unit": {
        "setup_build": [r#"printf '%s' "$PY" >from_setup"#],
        "commands": [
            r#"echo "$(cat from_setup) on $OS runs $T" | tee "$ARTIFACT_DIR/made""#,
            r#"[ "$PY $OS $T" != "2 'a \"b\"' 2" ]"#,
        ],
        "atomizers": [{"T": r#"seq "$PY""#}],
        "matrix": {"PY": ["1", "2"], "OS": ["'a \"b\"'", "$c"], "exclude": [{"PY": "1", "OS": "$c"}]},
    }});
    Repository::with_jobs(&text.to_string())
}

fn names(build: &BuildView) -> Vec<&str> {
    build
        .children
        .iter()
        .map(|child| child.name.as_str())
        .collect()
}

async fn child(farm: &Farm, child: &ChildView) -> BuildView {
    farm.client().build(child.build_id).await.unwrap()
}

/// What all atoms of all builds print is named after both, and their files are fetched into a folder for each build.
fn check_output_and_files_of_all(farm: &Farm) {
    let output = farm.user(&["logs", "1", "-f"]);
    assert_eq!(output.code, Some(0), "{output:#?}");
    let of_last = |line: &&str| line.starts_with("PY=2 OS=$c ");
    assert!(
        output.stdout.lines().any(|line| of_last(&line)),
        "{output:#?}"
    );
    let listed = farm.user(&["artifacts", "1", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    Schema::documented().check("artifacts", &listed).unwrap();
    let files = listed["artifacts"].as_array().unwrap();
    let builds: BTreeSet<u64> = files
        .iter()
        .filter_map(|file| file["build_id"].as_u64())
        .collect();
    assert_eq!(builds, BTreeSet::from([2, 3, 4]), "{listed}");
    let into = farm.path("files");
    let fetched = farm.user(&["artifacts", "1", "-o", into.to_str().unwrap()]);
    assert_eq!(fetched.code, Some(0), "{fetched:#?}");
    let folders = fs::read_dir(&into).unwrap();
    let folders: BTreeSet<_> = folders.map(|folder| folder.unwrap().file_name()).collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
    assert!(folders.contains(OsStr::new("PY=2,OS=_c")), "{folders:?}");
}

/// Of a build of a matrix is shown what its builds have; what is of one atom names them.
fn check_what_is_shown_of_all(farm: &Farm) {
    let logs = farm.user(&["logs", "1"]);
    assert_eq!(logs.code, Some(0), "{logs:#?}");
    for part in ["PY=2 OS=$c (build 4):", "artifact_1_0", "exit code 1"] {
        assert!(logs.stdout.contains(part), "{part}: {logs:#?}");
    }
    let tests = farm.user(&["tests", "1", "--json"]).stdout;
    let tests: Value = serde_json::from_str(&tests).unwrap();
    Schema::documented().check("tests", &tests).unwrap();
    assert_eq!(
        (&tests["total"], &tests["counts"]["failed"]),
        (&json!(5), &json!(1))
    );
    let listed = tests["tests"].as_array().unwrap();
    let builds: BTreeSet<u64> = listed
        .iter()
        .map(|test| test["build_id"].as_u64().unwrap())
        .collect();
    assert_eq!((listed.len(), builds), (5, BTreeSet::from([2, 3, 4])));
    let shown = farm.user(&["tests", "1"]).stdout;
    assert!(shown.contains("PY=2 OS=$c (build 4):"), "{shown}");
    let junit = farm.path("again.xml");
    let written = farm.user(&["tests", "1", "--junit", junit.to_str().unwrap()]);
    assert_eq!(written.code, Some(0), "{written:#?}");
    let report = fs::read_to_string(&junit).unwrap();
    assert_eq!(report.matches("<testsuite ").count(), 5, "{report}");
    check_output_and_files_of_all(farm);
    for line in [
        &["logs", "1", "0_0"][..],
        &["repro", "1", "0_0"],
        &["bisect", "1", "0_0"],
    ] {
        let named = farm.user(line);
        assert!(
            named.code == Some(2) && named.stderr.contains("name one of them: 2 ("),
            "{named:#?}"
        );
    }
}

/// What runs again of build 1, and what of the matrix may be chosen.
async fn check_again(farm: &Farm, url: &str) {
    // Only what failed runs again, alone in its combination.
    let again = farm.user(&["retry", "1", "--failed", "--no-results"]);
    assert_eq!(again.code, Some(1), "{again:#?}");
    let again = farm.client().build(BuildId(5)).await.unwrap();
    assert_eq!(
        (names(&again), again.num_atoms),
        (vec![r#"PY=2 OS='a "b"'"#], Some(1))
    );
    let alone = farm.user(&["retry", "4", "--no-results"]);
    assert_eq!(alone.code, Some(0), "{alone:#?}");
    let alone = farm.client().build(BuildId(7)).await.unwrap();
    let combination = alone.matrix.map(|combination| combination.to_string());
    assert_eq!(
        (alone.parent, combination.as_deref()),
        (None, Some("PY=2 OS=$c"))
    );

    let some = farm.user(&[
        "build",
        "git",
        "--url",
        url,
        "--no-results",
        "--matrix",
        "OS=$c",
    ]);
    assert_eq!(some.code, Some(0), "{some:#?}");
    let none = farm.user(&[
        "build",
        "git",
        "--url",
        url,
        "--no-results",
        "--matrix",
        "PY=3",
    ]);
    assert!(
        none.stdout.contains("has no combination that fits PY=3"),
        "{none:#?}"
    );
}

#[tokio::test]
async fn the_builds_of_a_matrix_have_one_verdict() {
    let farm = Farm::start(&[2]).await;
    let project = project();
    let results = farm.path("results");
    let junit = farm.path("junit.xml");
    let request = project.request();
    let url = request["url"].as_str().unwrap();
    let paths = [&results, &junit].map(|path| path.to_str().unwrap());
    let ended = farm.user(&[
        "build",
        "git",
        "--url",
        url,
        "--results-dir",
        paths[0],
        "--junit",
        paths[1],
    ]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for part in [
        "Build 1 failed: 1 of 5 atoms failed, 4 passed in 3 builds",
        r#"PY=2 OS='a "b"'"#,
        "2 atoms, 1 failed",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {ended:#?}");
    }
    let parent = farm.client().build(BuildId(1)).await.unwrap();
    assert_eq!(
        (
            parent.status,
            parent.result,
            parent.num_atoms,
            parent.num_subjobs,
            parent.num_atoms_failed
        ),
        (
            BuildStatus::Finished,
            Some(BuildResult::Failure),
            Some(5),
            5,
            1
        )
    );
    assert_eq!(
        names(&parent),
        [r#"PY=1 OS='a "b"'"#, r#"PY=2 OS='a "b"'"#, "PY=2 OS=$c"]
    );
    let atoms: Vec<u64> = parent
        .children
        .iter()
        .map(|child| child.num_atoms)
        .collect();
    assert_eq!(atoms, [1, 2, 2]);
    for known in &parent.children {
        let view = child(&farm, known).await;
        assert_eq!(view.parent, Some(parent.id));
        assert_eq!(view.matrix.as_ref(), Some(&known.matrix));
        assert_eq!((view.result, &view.commit), (known.result, &parent.commit));
        assert!(view.children.is_empty());
    }
    // Each child's files are in a folder of its combination.
    let console = |folder: &str, atom: &str| {
        let path = results.join(folder).join(atom).join(CONSOLE_FILE);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    assert_eq!(
        console("PY=1,OS=_a,_b__", "artifact_0_0"),
        "1 on 'a \"b\"' runs 1\n"
    );
    assert_eq!(console("PY=2,OS=_c", "artifact_1_0"), "2 on $c runs 2\n");
    let report = fs::read_to_string(&junit).unwrap();
    assert_eq!(report.matches("<testsuite ").count(), 5, "{report}");
    assert!(report.contains("name=\"PY=2 OS=$c: 1\""), "{report}");
    let status = farm.user(&["status", "1"]).stdout;
    assert!(
        status.contains("Builds of the matrix:") && status.contains("passed"),
        "{status}"
    );
    let json = farm.user(&["status", "1", "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    Schema::documented().check("status_build", &json).unwrap();
    check_what_is_shown_of_all(&farm);
    check_again(&farm, url).await;
}

#[tokio::test]
async fn who_cancels_a_build_of_a_matrix_cancels_all_of_it() {
    let farm = Farm::start(&[1]).await;
    let project = Repository::of(
        &job("sleep 600")
            .atoms(1)
            .with("matrix", json!({"A": ["1", "2"]})),
    );
    let build = farm.submit(&project.request()).await;
    let runs = |view: &BuildView| view.num_atoms_in_progress == 1;
    farm.wait_for_build(build, "an atom runs", runs).await;
    let canceled = farm.user(&["cancel", &build.to_string()]);
    assert_eq!(canceled.code, Some(0), "{canceled:#?}");
    let parent = farm.end_of(build).await.ends_canceled();
    for known in &parent.children {
        assert_eq!(known.status, BuildStatus::Canceled);
        assert_eq!(child(&farm, known).await.status, BuildStatus::Canceled);
    }
}

/// Killed as soon as the build is accepted, while it is prepared, as soon as it is split, and while its children run.
#[tokio::test]
async fn a_master_that_is_killed_around_the_split_loses_no_child() {
    let mut farm = Farm::start(&[2]).await;
    let project = project();
    let build = farm.submit(&project.request()).await;
    let is_split = |view: &BuildView| !view.children.is_empty();
    let has_begun = |view: &BuildView| view.num_atoms_completed > 0 || view.status.is_over();
    type Stage<'a> = (&'a str, &'a dyn Fn(&BuildView) -> bool);
    let stages: [Stage<'_>; 4] = [
        ("it is there", &|_| true),
        ("it is split", &is_split),
        ("it has begun", &has_begun),
        ("it has begun again", &has_begun),
    ];
    for (what, stage) in stages {
        farm.wait_for_build(build, what, stage).await;
        farm.kill_master();
        farm.start_master().await;
    }
    let parent = farm.end_of(build).await;
    assert_eq!(
        (parent.result, parent.num_atoms),
        (Some(BuildResult::Failure), Some(5))
    );
    let combinations: BTreeSet<&str> = names(&parent).into_iter().collect();
    assert_eq!((combinations.len(), parent.children.len()), (3, 3));
    let listed = wait_for("all builds are listed", async || {
        let listed: Value = farm.client().read("/v1/build").await.ok()?;
        Some(listed["builds"].as_array()?.len())
    });
    assert_eq!(listed.await, 4);
}

/// The script of an atom sets the variables of its combination.
#[tokio::test]
async fn the_script_of_an_atom_has_its_combination() {
    let farm = Farm::start(&[2]).await;
    let project = project();
    farm.run(&project.request()).await;
    let script = farm.path("script.sh");
    let written = farm.user(&["repro", "3", "1_0", "-o", script.to_str().unwrap()]);
    assert_eq!(written.code, Some(0), "{written:#?}");
    let ran = std::process::Command::new("bash")
        .arg(&script)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(printed.contains("2 on 'a \"b\"' runs 2\n"), "{ran:?}");
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
}

/// `--fail-fast` counts the failures of all builds of a matrix.
#[tokio::test]
async fn the_first_failure_ends_all_builds_of_a_matrix() {
    let farm = Farm::start(&[3]).await;
    let jobs = job(r#"[ "$A" = 2 ] && exit 1; sleep 600"#)
        .atoms(2)
        .with("matrix", json!({"A": ["1", "2", "3"]}))
        .with("max_executors", 1);
    let project = Repository::of(&jobs);
    let request = project.request();
    let url = request["url"].as_str().unwrap();
    let line = ["build", "git", "--url", url, "--no-results", "--fail-fast"];
    let ended = farm.user(&line);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let parent = farm.client().build(BuildId(1)).await.unwrap();
    assert_eq!(
        (parent.status, parent.num_atoms_failed),
        (BuildStatus::Finished, 1)
    );
    let statuses: Vec<_> = parent.children.iter().map(|child| child.status).collect();
    let canceled = BuildStatus::Canceled;
    assert_eq!(statuses, [canceled, BuildStatus::Finished, canceled]);
    let details = parent.details.unwrap();
    assert!(
        details.contains("The rest was not run, since 1 had failed."),
        "{details}"
    );
    farm.wait_for_rest().await;
}

/// Of what failed and is gone nobody knows any more which atoms did: it runs again as a whole.
#[tokio::test]
async fn a_matrix_is_run_again_though_one_of_its_builds_is_gone() {
    let farm = Farm::start(&[2]).await;
    let root = farm.polyaxon_superuser("root").await;
    let project = project();
    farm.run(&project.request()).await;
    let child = format!("{}/builds/3", project_of(&project));
    let (status, body) = root.ask(Method::DELETE, &child, Some(json!({}))).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    let results = farm.path("base/master/results/3");
    wait_for("its results are gone", async || {
        (!results.exists()).then_some(())
    })
    .await;
    for shown in [["tests", "1"], ["logs", "1"]] {
        let shown = farm.user(&shown);
        assert_eq!(shown.code, Some(0), "{shown:#?}");
        assert!(
            shown.stderr.contains("(build 3) is not kept any more"),
            "{shown:#?}"
        );
    }
    let again = farm.user(&["retry", "1", "--failed", "--no-results"]);
    assert_eq!(again.code, Some(1), "{again:#?}");
    let again = farm.client().build(BuildId(5)).await.unwrap();
    assert_eq!(
        (names(&again), again.num_atoms),
        (vec![r#"PY=2 OS='a "b"'"#], Some(2))
    );
    let all = farm.user(&["retry", "1", "--no-results"]);
    assert_eq!(all.code, Some(1), "{all:#?}");
    let all = farm.client().build(BuildId(7)).await.unwrap();
    assert_eq!((all.children.len(), all.num_atoms), (3, Some(5)));
}

/// The project that shows how it is done.
#[tokio::test]
async fn the_example_runs_in_all_its_combinations() {
    let repository = Repository::empty();
    let example = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/matrix"));
    let files = ["clusterrunner.yaml", "speak.sh"];
    let files = files.map(|name| (name, fs::read_to_string(example.join(name)).unwrap()));
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    repository.commit(&files);
    repository.git(&["update-index", "--chmod=+x", "speak.sh"]);
    repository.git(&["commit", "--quiet", "--message=executable"]);
    let farm = Farm::start(&[2]).await;
    let results = farm.path("results");
    let request = repository.request();
    let url = request["url"].as_str().unwrap();
    let built = farm.user(&[
        "build",
        "git",
        "--url",
        url,
        "--results-dir",
        results.to_str().unwrap(),
    ]);
    assert_eq!(built.code, Some(0), "{built:#?}");
    let parent = farm.client().build(BuildId(1)).await.unwrap();
    assert_eq!(
        (names(&parent), parent.num_atoms),
        (
            vec![
                "GREETING=Hello CASE=lower",
                "GREETING=Hello CASE=upper",
                "GREETING=Moin CASE=lower",
                "GREETING=Servus CASE=title"
            ],
            Some(16)
        )
    );
    for combination in ["GREETING=Hello,CASE=upper", "GREETING=Servus,CASE=title"] {
        for atom in 0..4 {
            let spoken = results
                .join(combination)
                .join(format!("artifact_{atom}_0/spoken"));
            let spoken = fs::read_to_string(&spoken).unwrap();
            assert!(!spoken.trim().is_empty(), "{combination} {atom}");
        }
    }
}
