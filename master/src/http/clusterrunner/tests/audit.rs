//! The audit log: what is in it, and who may read it.

use super::*;

#[tokio::test]
async fn it_tells_who_asked_for_what() {
    let master = Master::start();
    master.create_user("anna", false).await;
    let token = master.create_token("anna", "admin").await;
    let change = json!({"email": "anna@example.org"});
    let (status, answer) = master
        .as_user(&token, "PUT", "/v2/users/anna", &change)
        .await;
    assert_eq!(status, 200, "{answer}");
    // What is refused changes nothing, and is not in it.
    let (status, _) = master
        .as_user(&token, "DELETE", "/v2/users/nobody", &Value::Null)
        .await;
    assert_eq!(status, 403);
    let (status, all) = master.signed_read("/v2/audit").await;
    assert_eq!(status, 200, "{all}");
    let entries = all["entries"].as_array().unwrap();
    let by: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry["by"].as_str())
        .collect();
    assert_eq!(by, ["anna", "the secret", "the secret"], "{all}");
    let numbers: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["number"].as_u64())
        .collect();
    assert_eq!(numbers, [2, 1, 0]);
    assert!(
        entries[2]["what"].as_str().unwrap().contains("anna"),
        "{all}"
    );
    let (_, of_anna) = master.signed_read("/v2/audit?by=Anna").await;
    assert_eq!(of_anna["entries"], json!([entries[0]]));
    let (_, before) = master.signed_read("/v2/audit?before=2&limit=1").await;
    assert_eq!(before["entries"], json!([entries[1]]));
    let (status, wrong) = master.signed_read("/v2/audit?before=x").await;
    assert!(
        status == 400 && wrong["error"].as_str().unwrap().contains("'before'"),
        "{wrong}"
    );
}

#[tokio::test]
async fn only_those_who_run_the_farm_read_it() {
    let master = Master::start();
    master.create_user("anna", false).await;
    master.create_user("root", true).await;
    let anna = master.create_token("anna", "admin").await;
    let (read, admin) = (
        master.create_token("root", "read").await,
        master.create_token("root", "admin").await,
    );
    for path in ["/v2/audit", "/v2/audit/verification"] {
        let (status, _) = master.call("GET", path, &[], "").await;
        assert_eq!(status, 401, "{path}");
        for (token, expected) in [(&anna, 403), (&read, 403), (&admin, 200)] {
            let (status, answer) = master.as_user(token, "GET", path, &Value::Null).await;
            assert_eq!(status, expected, "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn its_hash_is_found_again_later() {
    let master = Master::start();
    master.create_user("anna", false).await;
    let (_, noted) = master.signed_read("/v2/audit/verification").await;
    assert_eq!(
        (&noted["entries"], &noted["fault"]),
        (&json!(1), &Value::Null)
    );
    master.create_user("bert", false).await;
    let head = noted["head"].as_str().unwrap();
    let (_, later) = master
        .signed_read(&format!("/v2/audit/verification?head={head}"))
        .await;
    assert_eq!(
        (&later["has_expected"], &later["entries"]),
        (&json!(true), &json!(2))
    );
    let other = "a".repeat(64);
    let (_, without) = master
        .signed_read(&format!("/v2/audit/verification?head={other}"))
        .await;
    assert_eq!(without["has_expected"], false);
    let (status, wrong) = master.signed_read("/v2/audit/verification?head=abc").await;
    assert!(
        status == 400 && wrong["error"].as_str().unwrap().contains("64 hex"),
        "{wrong}"
    );
}
