//! What a program tells that receives pushes.

use super::farm::{BUILDER_KEY, Farm, detail};
use axum::body::Body;
use serde_json::json;

#[tokio::test]
async fn a_builder_shows_its_key_and_names_who_pushes() {
    let farm = Farm::with_slave(&[]).await;
    for name in ["root", "ann", "bob"] {
        farm.register(name).await;
    }
    farm.post("ann", "/v1/apps", r#"{"id": "hill"}"#).await;
    let hook = async |user: &str, key: &str, path: &str, pusher: &str| {
        let body = json!({
            "receive_user": pusher, "receive_repo": "hill", "image": "registry/hill",
            "sha": "060da68f654e75fac06dbedd1995d5f8ad9084db", "procfile": {"web": "run"},
        });
        let mut request = farm.request(user, "POST", path);
        if !key.is_empty() {
            request = request.header("X-Deis-Builder-Auth", key);
        }
        farm.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    };
    let build = "/v1/hooks/build/";
    let stranger = hook("", "", build, "ann").await;
    assert_eq!(stranger.status, 401, "{stranger:?}");
    let wrong = hook("", "another key", build, "ann").await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let user = hook("root", "", build, "ann").await;
    assert_eq!(user.status, 403, "{user:?}");
    let other = hook("", BUILDER_KEY, build, "bob").await;
    assert_eq!(other.status, 403, "{other:?}");
    let ghost = hook("", BUILDER_KEY, build, "ghost").await;
    assert_eq!((ghost.status, ghost.body), (404, detail("Not found")));
    let pushed = hook("", BUILDER_KEY, "/v1/hooks/push", "ann").await;
    assert_eq!((pushed.status, &pushed.body["app"]), (201, &json!("hill")));
    let config = hook("", BUILDER_KEY, "/v1/hooks/config", "root").await;
    assert_eq!((config.status, &config.body["values"]), (200, &json!({})));
    let built = hook("", BUILDER_KEY, build, "ann").await;
    let expected = json!({"release": {"version": 2}, "domains": ["hill.deisapp.local"]});
    assert_eq!((built.status, built.body), (200, expected));
    // The key opens nothing else.
    let apps = hook("", BUILDER_KEY, "/v1/apps", "ann").await;
    assert_eq!(apps.status, 401, "{apps:?}");
}
