//! Who gets a project, and who does not.

use super::{BUILD, Master};
use serde_json::{Value, json};

async fn check(master: &Master, path: &str, body: Value, status: u16, part: &str) {
    let (found, answer) = master.signed("POST", path, &body).await;
    assert_eq!(found, status, "{path} {body}: {answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains(part), "{path} {body}: {error}");
}

#[tokio::test]
async fn only_slaves_that_need_a_project_get_it() {
    let master = Master::start();
    master.connect("a", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let by = |slave: u64, session: &str| json!({"slave_id": slave, "session_id": session});
    let path = "/v1/build/1/source";
    for path in [path, "/v2/builds/1/source", "/builds/1/source"] {
        check(&master, path, by(1, "a"), 409, "not being built").await;
    }
    check(&master, path, by(1, "b"), 412, "").await;
    check(&master, path, by(9, "a"), 404, "").await;
    check(&master, "/v1/build/9/source", by(1, "a"), 404, "9").await;
    check(&master, path, json!({}), 400, "slave_id").await;
    for (field, value, part) in [
        ("have", json!(["0123"]), "not a full commit id"),
        ("have", json!(vec!["0".repeat(40); 1001]), "'have'"),
        ("have", json!(1), "sequence"),
        ("submodule", json!(vec!["x"; 11]), "'submodule'"),
        ("submodule", json!([1]), "string"),
    ] {
        let mut body = by(1, "a");
        body[field] = value;
        check(&master, path, body, 400, part).await;
    }
    let body = by(1, "a").to_string();
    let (status, _) = master.call("POST", path, &[], &body).await;
    assert_eq!(status, 401);
    let (_, documented) = master.documented("POST", path, &body).await;
    assert!(documented["error"].is_string(), "{documented}");
}
