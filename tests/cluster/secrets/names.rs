//! What secrets are called, and that nothing else has their names.

use super::{project, run, secret, without};
use crate::farm::Farm;
use crate::repository::Repository;
use serde_json::json;

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
