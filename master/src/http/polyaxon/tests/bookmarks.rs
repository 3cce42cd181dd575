//! Bookmarks: set, taken back, never set, and lists of them.

use super::farm::Farm;
use serde_json::{Value, json};

const BUILD: &str = "/api/v1/clusterrunner/mnist/builds/1";
const PROJECT: &str = "/api/v1/clusterrunner/mnist";

fn not_found() -> (u16, Value) {
    (404, json!({"detail": "Not found."}))
}

async fn farm() -> Farm {
    let farm = Farm::with_root().await;
    farm.user("adam", false).await;
    farm.user("eve", false).await;
    farm.queue("mnist").await;
    farm
}

#[tokio::test]
async fn a_bookmark_is_set_and_taken_back_on_every_route() {
    let farm = farm().await;
    let (set, back) = ((201, json!("")), (204, json!("")));
    for path in [PROJECT, BUILD] {
        let (mark, unmark) = (format!("{path}/bookmark/"), format!("{path}/unbookmark"));
        for request in [("DELETE", &unmark), ("POST", &unmark), ("DELETE", &mark)] {
            let never = (request.0, &**request.1, "");
            farm.check("adam", never, not_found()).await;
        }
        let is_bookmarked = async |token: &str| {
            let shown = farm.call(token, "GET", path, "").await.body;
            shown["bookmarked"].as_bool().unwrap()
        };
        for request in [("DELETE", &unmark), ("POST", &unmark), ("DELETE", &mark)] {
            for _ in 0..2 {
                farm.check("adam", ("POST", &mark, ""), set.clone()).await;
                assert!(is_bookmarked("adam").await && !is_bookmarked("eve").await);
            }
            for _ in 0..2 {
                let taken_back = (request.0, &**request.1, "");
                farm.check("adam", taken_back, back.clone()).await;
                assert!(!is_bookmarked("adam").await);
            }
        }
        let get = farm.call("adam", "GET", &mark, "").await;
        assert_eq!(get.status, 405);
    }
}

#[tokio::test]
async fn lists_show_what_a_user_has_marked() {
    let farm = farm().await;
    let other = farm.queue("other").await;
    for path in [
        BUILD,
        PROJECT,
        &format!("/api/v1/clusterrunner/other/builds/{other}"),
    ] {
        let path = format!("{path}/bookmark");
        let answer = farm.call("adam", "POST", &path, "").await;
        assert_eq!(answer.status, 201);
    }
    let list = async |token: &str, kind: &str| {
        let path = format!("/api/v1/bookmarks/adam/{kind}/");
        let answer = farm.call(token, "GET", &path, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let builds = list("adam", "builds").await;
    assert_eq!(builds["count"], 2);
    assert_eq!(builds["results"][0]["content_object"]["id"], other);
    let build = farm.call("adam", "GET", BUILD, "").await.body;
    assert_eq!(build["bookmarked"], true);
    assert_eq!(builds["results"][1], json!({"content_object": build}));
    let projects = list("adam", "projects").await;
    let project = farm.call("adam", "GET", PROJECT, "").await.body;
    assert_eq!(projects["results"], json!([{"content_object": project}]));
    let none = json!({"count": 0, "next": null, "previous": null, "results": []});
    for kind in ["experiments", "groups", "jobs"] {
        assert_eq!(list("adam", kind).await, none);
    }
    for kind in ["builds", "projects"] {
        assert_eq!(list("eve", kind).await, none, "of another user");
        let number = list("adam", kind).await["count"].clone();
        assert_eq!(list("root", kind).await["count"], number, "a superuser");
    }
    let unknown = ("GET", "/api/v1/bookmarks/adam/nothing", "");
    farm.check("adam", unknown, not_found()).await;

    // They go with what they are of, and with the right to see it.
    let answer = farm.call("root", "PATCH", PROJECT, r#"{"is_public": false}"#);
    assert_eq!(answer.await.status, 200);
    assert_eq!(list("adam", "builds").await["count"], 1);
    assert_eq!(list("adam", "projects").await, none);
    let delete = (
        "DELETE",
        &*format!("/api/v1/clusterrunner/other/builds/{other}"),
        "",
    );
    farm.check("root", delete, (204, json!(""))).await;
    assert_eq!(list("adam", "builds").await, none);
}
