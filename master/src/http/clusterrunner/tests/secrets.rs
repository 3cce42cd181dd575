//! Secrets of builds in this API: who sets them, who sees their names, and that nobody gets a value.

use super::Master;
use serde_json::{Value, json};

const REPOSITORY: &str = "https://example.org/hill.git";
const VALUE: &str = "hunter2-hunter3";

fn body(project: &str, name: &str) -> Value {
    json!({"project": project, "name": name, "value": VALUE})
}

/// The names that an answer lists.
fn names(answer: &Value) -> Vec<String> {
    let secrets = answer["secrets"].as_array().unwrap().iter();
    let named = secrets.map(|secret| {
        let text = |field: &str| secret[field].as_str().unwrap().to_owned();
        format!("{} {}", text("project"), text("name"))
    });
    named.collect()
}

#[tokio::test]
async fn only_owners_set_them_and_nobody_gets_a_value() {
    let master = Master::start_closed();
    for (user, is_superuser) in [("ann", false), ("ben", false), ("root", true)] {
        master.create_user(user, is_superuser).await;
    }
    let [ann, anns_submit, ben, root] = [
        master.create_token("ann", "admin").await,
        master.create_token("ann", "submit").await,
        master.create_token("ben", "admin").await,
        master.create_token("root", "admin").await,
    ];
    let set = async |token: &str, project: &str, name: &str| {
        let body = body(project, name);
        let (status, answer) = master.as_user(token, "POST", "/v2/secrets", &body).await;
        assert!(!answer.to_string().contains("hunter"), "{answer}");
        (status, answer)
    };
    // A token that may only submit makes no project for one either.
    assert_eq!(set(&anns_submit, REPOSITORY, "TOKEN").await.0, 403);
    let (status, answer) = set(&ann, REPOSITORY, "TOKEN").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["secret"]["project"], "ann/hill");
    assert_eq!(answer["secret"]["url"], REPOSITORY);
    assert_eq!(answer["secret"]["set_by"], "ann");
    assert_eq!(answer["secret"]["trouble"], Value::Null);
    let id = answer["secret"]["project_id"].to_string();
    for project in ["ann/hill", "hill", REPOSITORY, &id] {
        assert_eq!(set(&ann, project, "TOKEN").await.0, 200, "{project}");
    }
    // Everybody may read the project, and nobody else may change it.
    for (token, expected) in [(&anns_submit, 403), (&ben, 403), (&root, 200)] {
        assert_eq!(set(token, "ann/hill", "OTHER").await.0, expected);
    }
    for (project, name, expected) in [
        ("ann/hill", "a b", 400),
        ("ann/hill", "CLUSTERRUNNER_X", 400),
        ("nowhere", "TOKEN", 404),
        ("/some/directory", "TOKEN", 404),
    ] {
        assert_eq!(
            set(&ann, project, name).await.0,
            expected,
            "{project} {name}"
        );
    }
    for value in [
        "short",
        "seven77\n\n",
        "           \n",
        "with\u{0}nul and more",
    ] {
        let body = json!({"project": "ann/hill", "name": "TOKEN", "value": value});
        let (status, answer) = master.as_user(&ann, "POST", "/v2/secrets", &body).await;
        assert_eq!(status, 400, "{answer}");
    }

    let list = async |token: &str| {
        let (status, answer) = master
            .as_user(token, "GET", "/v2/secrets", &Value::Null)
            .await;
        assert_eq!(status, 200, "{answer}");
        assert!(!answer.to_string().contains("hunter"), "{answer}");
        names(&answer)
    };
    let both = ["ann/hill OTHER", "ann/hill TOKEN"];
    assert_eq!(list(&ann).await, both);
    assert_eq!(list(&anns_submit).await, both);
    assert_eq!(list(&root).await, both);
    assert_eq!(list(&ben).await, Vec::<String>::new());
    let (status, _) = master.call("GET", "/v2/secrets", &[], "").await;
    assert_eq!(status, 401);
    let (status, answer) = master.signed_read("/v2/secrets").await;
    assert_eq!((status, names(&answer).len()), (200, 2));

    let remove = async |token: &str, name: &str| {
        let path = format!("/v2/secrets/{name}");
        let body = json!({"project": "ann/hill"});
        master.as_user(token, "DELETE", &path, &body).await.0
    };
    assert_eq!(remove(&ben, "TOKEN").await, 403);
    assert_eq!(remove(&ann, "NONE").await, 404);
    assert_eq!(remove(&ann, "TOKEN").await, 200);
    assert_eq!(list(&ann).await, both[..1]);
}
