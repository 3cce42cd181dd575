//! Projects and requests that can not be built, or only just: each ends in the right state, with a
//! message that names the cause.

use crate::archives::{tar_of, zip_of};
use crate::farm::{Extra, Farm};
use crate::job::{Job, job};
use crate::outcome::Over;
use crate::repository::Repository;
use crate::wait::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Runs a build that must end in an error whose message has all of `parts`.
async fn check_error(farm: &Farm, request: &Value, parts: &[&str]) -> String {
    let build = farm.run(request).await.errs(parts);
    assert_eq!((&build.result, &build.failed_atoms), (&None, &None));
    assert_eq!(build.state_timestamps["finished"], None);
    assert!(build.state_timestamps["error"].is_some());
    build.0.error_message.unwrap()
}

async fn check_job_error(farm: &Farm, job: &Job, parts: &[&str]) -> String {
    check_error(farm, &Repository::of(job).request(), parts).await
}

async fn check_good(farm: &Farm, request: &Value, consoles: &[&str]) -> Over {
    let build = farm.run(request).await.passes();
    assert_eq!(farm.consoles(build.id).await, consoles);
    build
}

#[tokio::test]
async fn what_can_not_be_prepared_says_why() {
    let farm = Farm::start(&[1]).await;
    let empty = Repository::empty();
    check_error(&farm, &empty.request(), &["is empty"]).await;
    let mut no_branch = empty.request();
    no_branch.as_object_mut().unwrap().remove("branch");
    check_error(&farm, &no_branch, &["is empty"]).await;

    let without = Repository::empty();
    without.commit(&[("README", "nothing here")]);
    check_error(&farm, &without.request(), &["clusterrunner.yaml"]).await;
    check_error(
        &farm,
        &without.request_with(json!({"branch": "nowhere"})),
        &["nowhere"],
    )
    .await;
    check_error(
        &farm,
        &without.request_with(json!({"hash": "0123456789abcdef0123456789abcdef01234567"})),
        &["0123456789abcdef0123456789abcdef01234567"],
    )
    .await;
    check_error(
        &farm,
        &without.request_with(json!({"project_directory": "inside/nowhere"})),
        &["inside/nowhere"],
    )
    .await;
    let gone = json!({"type": "git", "url": farm.path("no-such-repository")});
    check_error(&farm, &gone, &["no-such-repository"]).await;
    let gone = json!({"type": "directory", "project_directory": farm.path("no-such-directory")});
    check_error(&farm, &gone, &["no-such-directory"]).await;

    let good = Repository::of(&job("echo on").atoms(2));
    check_error(
        &farm,
        &good.request_with(json!({"job_name": "Other"})),
        &["\"Other\"", "Job"],
    )
    .await;
    check_error(
        &farm,
        &good.request_with(json!({"config": {"commands": ["true"]}})),
        &["atomizers"],
    )
    .await;
    let missing = format!("file://{}", farm.path("missing.txt").display());
    check_error(
        &farm,
        &good.request_with(json!({"remote_files": {"here.txt": missing}})),
        &["here.txt", "missing.txt"],
    )
    .await;
    check_good(&farm, &good.request(), &["on\n", "on\n"]).await;
}

#[tokio::test]
async fn a_wrong_job_file_is_named_with_its_line() {
    let farm = Farm::start(&[1]).await;
    for (jobs, parts) in [
        (
            "Job:\n  commands: [true\n  atomizers: x\n",
            &["clusterrunner.yaml:3"][..],
        ),
        (
            "Job:\n  commands: [echo]\n  atomizers: [{N: seq 1 2}]\n  setup_bild: [echo]\n",
            &["\"Job\"", "\"setup_bild\"", "clusterrunner.yaml:4"],
        ),
        (
            "Job:\n  commands: echo\n  atomizers: [{N: seq 1 2}]\n",
            &["\"Job\"", "\"commands\"", "clusterrunner.yaml:2"],
        ),
        ("Job:\n  commands: [echo]\n", &["\"Job\"", "atomizers"]),
        ("- a\n- b\n", &["dictionary"]),
        ("", &["clusterrunner.yaml"]),
        (
            "A:\n  commands: [echo]\n  atomizers: [{N: echo}]\nB:\n  commands: [echo]\n  atomizers: [{N: echo}]\n",
            &["Multiple jobs", "A", "B"],
        ),
    ] {
        let repository = Repository::with_jobs(jobs);
        check_error(&farm, &repository.request(), parts).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_ends_the_build() {
    let farm = Farm::start(&[1]).await;
    for url in [
        "http://127.0.0.1:1/project.git",
        "git://127.0.0.1:1/project.git",
        "ssh://127.0.0.1:1/project.git",
    ] {
        let build = farm.run(&json!({"type": "git", "url": url})).await;
        build.errs(&["127.0.0.1"]);
    }
}

#[tokio::test]
async fn a_failing_atomizer_shows_its_output() {
    let farm = Farm::start(&[1]).await;
    let fails = job("echo never").atomizer("echo 'what went wrong'; echo 'and more' >&2; exit 3");
    let told = "Atomizer command failed!";
    check_job_error(&farm, &fails, &[told, "what went wrong", "and more", "3"]).await;
    let missing = job("echo never").atomizer("no-such-program-here");
    check_job_error(&farm, &missing, &[told, "no-such-program-here", "127"]).await;
    // What the atomizers printed is all that is kept of builds without results.
    for build in ["1", "2"] {
        let place = farm.path("base/master/results").join(build);
        assert!(place.join("step-0.output").exists());
        assert_eq!(fs::metadata(place.join("blocks")).unwrap().len(), 0);
    }
}

/// Wherever a NUL comes from, it is the build that says so: no shell could take it.
#[tokio::test]
async fn a_nul_is_named_where_it_comes_from() {
    let farm = Farm::start(&[1]).await;
    let prints = r"printf 'a\0b\0'";
    let parts = ["Atomizer command failed!", prints, "NUL", r"a\0b"];
    let message = check_job_error(&farm, &job("echo never").atomizer(prints), &parts).await;
    assert!(!message.contains('\0'), "{message:?}");
    let zeros = job("echo never").atomizer("head -c 1000000 /dev/zero");
    let message = check_job_error(&farm, &zeros, &["NUL"]).await;
    assert!(message.len() < 10_000, "{} bytes", message.len());
    let repository = Repository::with_jobs(
        "Job:\n  commands: [echo on]\n  setup_build: [\"a\\0b\"]\n  atomizers: [{N: seq 1 2}]\n",
    );
    let parts = ["clusterrunner.yaml:3:17", "NUL", "setup_build"];
    check_error(&farm, &repository.request(), &parts).await;
    let config = json!({"commands": ["a\0"], "atomizers": [{"N": "seq 1 2"}]});
    let parts = ["config.commands[0]", "NUL"];
    check_error(
        &farm,
        &repository.request_with(json!({"config": config})),
        &parts,
    )
    .await;
}

#[tokio::test]
async fn a_build_without_atoms_is_finished() {
    let silent = Repository::of(&job("false").atomizer("true"));
    // No slave is needed for nothing.
    let farm = Farm::start(&[]).await;
    let override_ = silent.request_with(json!({"atoms_override": []}));
    for request in [silent.request(), override_] {
        let build = check_good(&farm, &request, &[]).await;
        assert_eq!((build.num_atoms, build.num_subjobs), (Some(0), 0));
        assert_eq!(build.failed_atoms, Some(Vec::new()));
        let details = build.details.as_ref().unwrap();
        assert!(details.contains("no atoms"), "{details}");
        assert_eq!(tar_of(&farm, build.id).await, BTreeMap::new());
        assert_eq!(zip_of(&farm, build.id).await, BTreeMap::new());
    }
}

#[tokio::test]
async fn a_set_up_that_fails_everywhere_ends_the_build() {
    let farm = Farm::start(&[1, 2]).await;
    let slaves = [farm.slave_address(0), farm.slave_address(1)];
    let fails = job("echo never")
        .setup("echo 'no compiler here'")
        .setup("exit 7");
    let message = check_job_error(&farm, &fails, &[&slaves[0], &slaves[1], "7"]).await;
    assert_eq!(message.matches("no compiler here").count(), 2, "{message}");
    // Nobody holds it against the slaves.
    farm.works().await;
}

#[tokio::test]
async fn a_set_up_that_fails_on_one_slave_leaves_the_build_to_others() {
    let farm = Farm::start(&[1, 1]).await;
    // Each slave has a work tree of its own; only the first one to ask gets through.
    let repository = Repository::empty();
    let once = repository.outside("once");
    let setup = format!("mkdir '{}'", once.display());
    repository.commit_job(&job("echo on").setup(setup).atoms(2));
    check_good(&farm, &repository.request(), &["on\n", "on\n"]).await;
}

/// More than a slave takes from somebody whom it does not know yet.
#[tokio::test]
async fn commands_and_atoms_may_be_very_long() {
    const LONG: usize = 1_500_000;
    let farm = Farm::start(&[1]).await;
    let padding = format!(": {}", "x".repeat(LONG));
    let long = job(&padding).then("echo ${#N}").setup(&padding);
    let repository = Repository::of(&long.atomizer(format!("echo 1; printf %0{LONG}d 0")));
    let consoles = ["1\n", &format!("{LONG}\n")];
    check_good(&farm, &repository.request(), &consoles).await;
}

#[tokio::test]
async fn a_job_can_come_with_the_request() {
    let farm = Farm::start(&[1]).await;
    let repository = Repository::empty();
    repository.commit(&[
        ("text", "from the repository\n"),
        ("sub/text", "from below\n"),
    ]);
    repository.commit(&[(
        "sub/clusterrunner.yaml",
        "Below:\n  commands: [cat text]\n  atomizers: [{N: echo 1}]\n",
    )]);
    let config = json!({"commands": ["cat text", "echo $N"], "atomizers": [{"N": "seq 1 2"}]});
    let request = repository.request_with(json!({"config": config}));
    let from = "from the repository\n";
    check_good(
        &farm,
        &request,
        &[&format!("{from}1\n"), &format!("{from}2\n")],
    )
    .await;

    let request = repository.request_with(json!({
        "config": config, "atoms_override": ["export N=\"x\";", "export N=y;", "N='z z';", "export N=w"],
    }));
    let expected = ["x", "y", "z z", "w"].map(|n| format!("{from}{n}\n"));
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_good(&farm, &request, &expected).await;

    let request = repository.request_with(json!({"project_directory": "sub"}));
    check_good(&farm, &request, &["from below\n"]).await;
    check_error(&farm, &repository.request(), &["clusterrunner.yaml"]).await;
}

#[tokio::test]
async fn remote_files_are_there_for_atomizers_and_atoms() {
    let farm = Farm::start(&[1, 1]).await;
    let (list, text) = (farm.path("list of atoms"), farm.path("text"));
    fs::write(&list, "a\nb\n").unwrap();
    fs::write(&text, "fetched\n").unwrap();
    let url = |path: &std::path::Path| {
        format!("file://{}", path.display().to_string().replace(' ', "%20"))
    };
    let print = job("cat deep/text list").then("echo $N");
    let repository = Repository::of(&print.atomizer("cat list"));
    let request = repository.request_with(json!({
        "remote_files": {"list": url(&list), "deep/text": url(&text)},
    }));
    let expected = ["fetched\na\nb\na\n", "fetched\na\nb\nb\n"];
    check_good(&farm, &request, &expected).await;
}

#[tokio::test]
async fn a_directory_is_built_in_place() {
    let farm = Farm::start(&[2]).await;
    let project = farm.path("project with blanks");
    fs::create_dir(&project).unwrap();
    let job = job("pwd")
        .then("touch \"made_$N\"")
        .teardown("touch torn_down");
    let text = job.atoms(2).to_string();
    fs::write(project.join("clusterrunner.yaml"), text).unwrap();
    let request = json!({"type": "directory", "project_directory": project});
    let expected = format!("{}\n", project.display());
    let build = check_good(&farm, &request, &[&expected, &expected]).await;
    assert_eq!(build.commit, None);
    for made in ["made_1", "made_2"] {
        assert!(project.join(made).exists(), "{made}");
    }
    wait_for("teardown_build has run", async || {
        project.join("torn_down").exists().then_some(())
    })
    .await;
}

/// Where anybody may reach the master, builds can not name what is on its disk.
#[tokio::test]
async fn local_sources_can_be_forbidden() {
    let mut farm = Farm::with(&Extra {
        general: "allow_local_sources = False",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let repository = Repository::of(&job("echo on").atoms(2));
    for url in [
        repository.path().display().to_string(),
        format!("file://{}", repository.path().display()),
    ] {
        let request = json!({"type": "git", "url": url});
        let request = crate::farm::object(&request);
        let refusal = farm.client().submit_params(&request).await.unwrap_err();
        assert_eq!(refusal.status().map(|s| s.as_u16()), Some(400), "{refusal}");
        assert!(
            refusal.to_string().contains("allow_local_sources"),
            "{refusal}"
        );
    }
    assert_eq!(farm.client().builds().await.unwrap(), []);
}
