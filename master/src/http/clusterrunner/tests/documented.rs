//! `docs/api.md` tells of every route, every field and every metric that there is.

use super::*;
use crate::core::command::Command;
use crate::core::event::Plan;
use clusterrunner_common::ids::BuildId;

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
            "build", "subjob", "atom", "slave", "token", "instance", "project",
        ] {
            path = path.replace(&format!("[{name}_id]"), &name.to_uppercase());
        }
        path = path.replace("[user_name]", "NAME");
        path = path.replace("[template]", "TEMPLATE");
        path = path.replace("[app_name]", "APP");
        let in_version_1 = format!("/v1{path}");
        assert!(is_named(&path) || is_named(&in_version_1), "{path}");
        templates += 1;
    }
    assert!(templates > 40, "{templates}");
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
