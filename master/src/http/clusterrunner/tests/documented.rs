//! `docs/api.md` tells of every route, every field and every metric that there is.

use super::*;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../../../docs/api.md");

fn is_named(word: &str) -> bool {
    PAGE.contains(&format!("`{word}`"))
}

#[test]
fn every_route_is_documented() {
    let (_, routes) = routes::table().build();
    let mut templates = 0;
    for template in routes.templates() {
        // The page says once that version 2 may have a prefix, and version 1 none.
        if template == "/" || (template.starts_with("/v2/") && template != "/v2") {
            continue;
        }
        let mut path = template.to_owned();
        for name in [
            "build", "subjob", "atom", "slave", "token", "instance", "project", "step", "call",
        ] {
            path = path.replace(&format!("[{name}_id]"), &name.to_uppercase());
        }
        path = path.replace("[user_name]", "NAME");
        path = path.replace("[secret_name]", "NAME");
        path = path.replace("[key_name]", "KEY");
        path = path.replace("[template_name]", "TEMPLATE");
        path = path.replace("[app_name]", "APP");
        path = path.replace("[artifact_path]", "PATH");
        let in_version_1 = format!("/v1{path}");
        assert!(is_named(&path) || is_named(&in_version_1), "{path}");
        templates += 1;
    }
    assert!(templates > 40, "{templates}");
}

/// The description says which methods each route takes, and what the route itself says to another one.
#[tokio::test]
async fn the_description_names_the_methods_of_each_route() {
    let master = Master::start();
    let (status, _, body) = master.exchange("GET", "/v2/openapi.json", &[], "").await;
    assert_eq!(status, 200);
    let description: Value = serde_json::from_slice(&body).unwrap();
    let paths = description["paths"].as_object().unwrap().iter();
    for (template, methods) in paths.filter(|(template, _)| template.starts_with("/v2")) {
        let parts = template
            .split('/')
            .map(|part| match part.strip_suffix("_id}") {
                Some(_) => "1",
                None if part.starts_with('{') => "name",
                None => part,
            });
        let path = parts.collect::<Vec<_>>().join("/");
        let parts = SignedParts {
            method: "PATCH",
            path_and_query: &path,
            receiver: &master.session.0,
            content_digest: &content_digest(b""),
        };
        let signature = parts.sign(&master.secret, Timestamp::now(), random_bytes());
        let signed = [(SIGNATURE_HEADER, signature.as_str())];
        let (status, headers, _) = master.exchange("PATCH", &path, &signed, "").await;
        assert_eq!(status, 405, "{path}");
        let allowed = headers[header::ALLOW].to_str().unwrap().split(',');
        let allowed = allowed.filter(|method| *method != "HEAD");
        let allowed: BTreeSet<String> = allowed.map(str::to_lowercase).collect();
        let described = methods.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn every_field_and_metric_is_documented() {
    let master = Master::start();
    master.connect("a", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let plan = Box::new(Plan {
        atoms: vec!["export A=1;".to_owned()],
        ..Plan::default()
    });
    let build = BuildId(1);
    let prepared = Command::ReportPrepared { build, plan };
    master.cluster.command(prepared).await.unwrap();
    for (path, object) in [
        ("/v1/build/1", "build"),
        ("/v1/build/1/subjob/0", "subjob"),
        ("/v1/build/1/subjob/0/atom/0", "atom"),
        ("/v1/slave/1", "slave"),
    ] {
        let (status, body) = master.get(path).await;
        assert_eq!(status, 200, "{body}");
        let fields = body[object].as_object().unwrap();
        for field in fields.keys() {
            assert!(is_named(field), "{object}.{field}");
        }
    }
    let (_, build) = master.get("/v1/build/1").await;
    let states = build["build"]["state_timestamps"].as_object().unwrap();
    assert!(states.keys().all(|state| is_named(state)), "{states:?}");

    let (_, _, text) = master.exchange("GET", "/v1/metrics", &[], "").await;
    let text = String::from_utf8(text).unwrap();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for family in families.filter_map(|line| line.split(' ').next()) {
        let is_of_process = family.starts_with("process_");
        assert!(is_of_process || is_named(family), "{family}");
    }
}
