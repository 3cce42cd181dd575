//! Whose code is given secrets.

use super::{canary, project, secret, without};
use crate::farm::Farm;
use crate::repository::Repository;
use clusterrunner_common::api::BuildView;
use serde_json::json;

fn warns(build: &BuildView, text: &str) {
    let is_it = |warning: &String| warning.contains(text);
    assert!(build.warnings.iter().any(is_it), "{text}: {build:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_forks_get_none_unless_they_may() {
    let repository = Repository::of(&without());
    let fork = Repository::empty();
    fork.git(&["fetch", "--quiet", &project(&repository), "main"]);
    fork.git(&["reset", "--quiet", "--hard", "FETCH_HEAD"]);
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.errs(&["secret set"]);
    let project = project(&repository);
    secret(&farm, &["set", &project, "API_TOKEN"], &canary());
    farm.run(&repository.request()).await.fails(&[(1, 1)]);

    let foreign = fork.commit(&[("source", "of a stranger")]);
    let none = "secret API_TOKEN not given: builds of forks get none";
    let of_fork = repository.request_with(json!({"remote": fork.path(), "branch": "main"}));
    let build = farm.run(&of_fork).await.passes();
    warns(&build, none);
    let explained = farm
        .command()
        .args([
            "explain",
            &build.id.to_string(),
            "--master-url",
            &farm.master_address(),
        ])
        .output();
    let explained = String::from_utf8(explained.unwrap().stdout).unwrap();
    assert!(explained.contains(none), "{explained}");
    // The mirror has the commit now, and forges give commits of forks as the repository's own.
    let of_commit = repository.request_with(json!({"hash": foreign}));
    warns(&farm.run(&of_commit).await.passes(), none);
    repository.git(&[
        "fetch",
        "--quiet",
        &fork.path().display().to_string(),
        "main:refs/pull/7/head",
    ]);
    let of_ref = repository.request_with(json!({"branch": "refs/pull/7/head"}));
    let of_ref = farm.run(&of_ref).await.passes();
    warns(&of_ref, none);
    // What its atomizers printed is brought along, wherever it is run again.
    let with_atoms = |of: &BuildView| {
        let atoms = json!({"retry_of": of.id, "atoms_override": ["export N=1;"]});
        repository.request_with(atoms)
    };
    let brought = "secret API_TOKEN not given: builds with code or variables";
    warns(&farm.run(&with_atoms(&of_ref)).await.passes(), brought);
    let own = farm.run(&repository.request()).await.fails(&[(1, 1)]);
    farm.run(&with_atoms(&own))
        .await
        .fails(&[("export N=1;", 1)]);

    // An earlier commit of a branch is the repository's own, and so is one that was merged.
    repository.commit(&[("source", "a later one")]);
    let first = repository.git(&["rev-parse", "HEAD~1"]);
    let of_first = repository.request_with(json!({"hash": first}));
    farm.run(&of_first).await.fails(&[(1, 1)]);
    repository.git(&[
        "merge",
        "--quiet",
        "--no-edit",
        "-X",
        "ours",
        "refs/pull/7/head",
    ]);
    farm.run(&of_commit).await.fails(&[(1, 1)]);

    secret(
        &farm,
        &["set", &project, "API_TOKEN", "--allow-forks"],
        &canary(),
    );
    farm.run(&of_fork).await.fails(&[(1, 1)]);
}

/// The mirror has a branch that the repository has no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_a_branch_that_is_gone_gets_none() {
    let repository = Repository::of(&without());
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.errs(&["secret set"]);
    secret(
        &farm,
        &["set", &project(&repository), "API_TOKEN"],
        &canary(),
    );
    repository.git(&["checkout", "--quiet", "-b", "gone"]);
    let commit = repository.commit(&[("source", "to be merged")]);
    let of_commit = repository.request_with(json!({"hash": commit}));
    farm.run(&of_commit).await.fails(&[(1, 1)]);
    repository.git(&["update-ref", "refs/pull/8/head", &commit]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["branch", "--quiet", "-D", "gone"]);
    let build = farm.run(&of_commit).await.passes();
    warns(
        &build,
        "secret API_TOKEN not given: builds of forks get none",
    );
}
