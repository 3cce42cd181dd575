//! What secrets are called, and that nothing else has their names.

use super::without;
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
