//! What secrets are called, and that nothing else has their names.

use super::{project, run, secret, without};
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_brings_a_variable_along_that_is_a_secret() {
    let repository = Repository::of(&without());
    let farm = Farm::start(&[1]).await;
    let brings = repository.request_with(json!({"env": {"API_TOKEN": "mine"}}));
    let build = farm.run(&brings).await;
    build.errs(&[
        "brings the variable API_TOKEN along",
        "without that variable",
    ]);
    let brings = repository.request_with(json!({"env": {"OTHER": "mine"}}));
    farm.run(&brings).await.errs(&["secret set"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_whether_its_project_is_there() {
    let repository = Repository::of(&without());
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.errs(&["secret set"]);
    let listed = secret(&farm, &["list", &project(&repository)], "").stdout;
    assert!(listed.starts_with("There are no secrets."), "{listed}");
    let master = farm.master_address();
    for named in ["no-such-project", "999"] {
        let listed = run(
            farm.command(),
            &["list", named, "--master-url", &master],
            "",
        );
        let told = format!("There is no project {named} that you may see.");
        assert_eq!(listed.code, Some(2), "{listed:#?}");
        assert!(listed.stderr.contains(&told), "{listed:#?}");
    }
}

/// A collaborator gives the project another repository; its owner says that builds of that may have the secret.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_for_another_repository_is_confirmed() {
    let job = job("test -n \"$API_TOKEN\"")
        .atoms(1)
        .with("secrets", json!(["API_TOKEN"]));
    let (first, second) = (Repository::of(&job), Repository::of(&job));
    let farm = Farm::start(&[1]).await;
    let ann = farm.polyaxon_superuser("ann").await;
    let url = |of: &Repository| of.request()["url"].clone();
    let hill = json!({"name": "hill", "git_url": url(&first)});
    let (status, created) = ann.ask(Method::POST, "projects/", Some(hill)).await;
    assert_eq!(status, 201, "{created}");
    let value = "a value that was set\n";
    secret(&farm, &["set", "ann/hill", "API_TOKEN"], value);
    let elsewhere = json!({"git_url": url(&second)});
    let (status, moved) = ann.ask(Method::PATCH, "ann/hill/", Some(elsewhere)).await;
    assert_eq!(status, 200, "{moved}");
    let of_ann = async || {
        let builds = format!("http://{}/v1/build", farm.master_address());
        let build = reqwest::Client::new().post(builds).bearer_auth(ann.token());
        let build = build.body(second.request().to_string());
        let answer = build.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let build = answer["build_id"].to_string();
        let build = build.trim_matches('"').parse().unwrap();
        farm.end_of(build).await
    };
    of_ann().await.errs(&["secret confirm ann/hill API_TOKEN"]);
    secret(&farm, &["confirm", "ann/hill", "API_TOKEN"], "");
    of_ann().await.passes();
}
