//! Lists of builds: pages, order, queries.

use super::farm::{Answer, Farm, take_time, take_uuid};
use serde_json::{Value, json};

const BUILDS: &str = "/api/v1/clusterrunner/mnist/builds";

fn ids(list: &Value) -> Vec<u64> {
    let results = list["results"].as_array().unwrap();
    results
        .iter()
        .map(|build| build["id"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_listed_build_has_its_fields() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let mut list = farm.get(BUILDS).await;
    let build = &mut list["results"][0];
    let created = take_time(build, "created_at");
    assert_eq!(take_time(build, "updated_at"), created);
    take_uuid(build);
    let expected = json!({
        "count": 1, "next": null, "previous": null,
        "results": [{
            "id": 1, "uuid": null, "name": null, "unique_name": "clusterrunner.mnist.builds.1",
            "user": "clusterrunner", "description": null,
            "created_at": null, "updated_at": null, "started_at": null, "finished_at": null,
            "last_status": "created", "tags": null, "project": "clusterrunner.mnist",
            "bookmarked": false,
        }],
    });
    assert_eq!(list, expected);
}

#[tokio::test]
async fn builds_are_sorted_and_asked_for_wherever_they_are() {
    let farm = Farm::with_root().await;
    farm.connect(1).await;
    for _ in 0..3 {
        let build = farm.build("mnist").await;
        farm.set_up(1, build).await;
    }
    farm.queue("other").await;
    farm.finish(1, 1, 0).await;
    farm.finish(1, 2, 1).await;
    farm.archive(1, 1).await;
    let newest = farm.get(BUILDS).await;
    assert_eq!(newest["count"], 3);
    for (query, expected) in [
        ("sort=created_at", vec![1, 2, 3]),
        ("sort=-created_at", vec![3, 2, 1]),
        ("sort=-finished_at", vec![2, 1, 3]),
        ("query=status:running", vec![3]),
        ("query=status:succeeded|failed&sort=created_at", vec![1, 2]),
        ("query=status:~failed,id:%3C3", vec![1]),
        ("query=user:clusterrunner&sort=started_at", vec![1, 2, 3]),
        (
            "query=created_at:%3E2018-01-01,finished_at:%3E2018-01-01&sort=created_at",
            vec![1, 2],
        ),
        ("query=commit:0123456&sort=created_at", vec![1, 2, 3]),
        ("query=project:clusterrunner.other", vec![]),
        ("query=tags:gpu", vec![]),
    ] {
        let list = farm.get(&format!("{BUILDS}?{query}")).await;
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["count"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn what_a_list_does_not_understand_is_refused() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    for (parameters, field, said) in [
        (
            "query=status:runing",
            "query",
            "a build is created, scheduled",
        ),
        ("query=created_at:%FF", "query", "is no time"),
        ("query=nonsense", "query", "write <field>:<condition>"),
        ("sort=name", "sort", "sort by created_at"),
    ] {
        let path = format!("{BUILDS}?{parameters}");
        let Answer { status, body, .. } = farm.call("root", "GET", &path, "").await;
        assert_eq!(status, 400, "{path}");
        let sentence = body[field][0].as_str().unwrap();
        assert!(sentence.contains(said), "{sentence}");
    }
}

#[tokio::test]
async fn a_thousand_builds_come_page_by_page() {
    let farm = Farm::with_root().await;
    for number in 0..1100 {
        let repository = if number % 11 == 0 { "other" } else { "mnist" };
        farm.queue(repository).await;
    }
    for build in (2..=1000).step_by(11) {
        let path = format!("{BUILDS}/{build}/stop");
        farm.call("root", "POST", &path, "").await;
        farm.archive(1, build).await;
    }
    let (mut found, mut next) = (
        Vec::new(),
        Some(format!("{BUILDS}?sort=created_at&limit=300")),
    );
    while let Some(path) = next {
        let list = farm.get(path.trim_start_matches("http://farm")).await;
        assert_eq!(list["count"], 1000);
        found.extend(ids(&list));
        next = list["next"].as_str().map(str::to_owned);
    }
    let expected: Vec<u64> = (1..=1100).filter(|id| id % 11 != 1).collect();
    assert_eq!(found, expected);
    let stopped = farm
        .get(&format!(
            "{BUILDS}?query=status:stopped&limit=9999&sort=-created_at"
        ))
        .await;
    let expected: Vec<u64> = (2..1001_u32).step_by(11).rev().map(u64::from).collect();
    assert_eq!(ids(&stopped), expected);
    let newest = farm.get(&format!("{BUILDS}?limit=1")).await;
    assert_eq!(ids(&newest), [992], "the newest change first");
}

#[tokio::test]
async fn what_users_say_of_builds_can_be_asked_for() {
    let farm = Farm::with_root().await;
    for _ in 0..3 {
        farm.queue("mnist").await;
    }
    farm.call("root", "POST", &format!("{BUILDS}/3/stop"), "")
        .await;
    farm.archive(1, 3).await;
    for (build, said) in [
        (3, r#"{"name": "nightly", "tags": ["gpu", "slow"]}"#),
        (1, r#"{"description": "a try", "tags": ["gpu"]}"#),
    ] {
        let path = format!("{BUILDS}/{build}");
        let answer = farm.call("root", "PATCH", &path, said).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let bookmark = format!("{BUILDS}/2/bookmark");
    assert_eq!(farm.call("root", "POST", &bookmark, "").await.status, 201);
    for (query, expected) in [
        ("name:nightly", vec![3]),
        ("name:~nightly", vec![2, 1]),
        ("tags:gpu", vec![3, 1]),
        ("tags:slow|fast", vec![3]),
        ("tags:gpu,tags:~slow", vec![1]),
    ] {
        let path = format!("{BUILDS}?sort=-created_at&query={query}");
        assert_eq!(ids(&farm.get(&path).await), expected, "{query}");
    }
    let newest = farm.get(BUILDS).await;
    let results = newest["results"].as_array().unwrap().iter();
    // What changes in the same millisecond is sorted by its id.
    let changes = results.map(|build| (build["updated_at"].to_string(), build["id"].as_u64()));
    let changes: Vec<_> = changes.collect();
    assert!(changes.iter().rev().is_sorted(), "{changes:?}");
    let oldest = farm.get(&format!("{BUILDS}?sort=created_at")).await;
    for (field, expected) in [
        ("id", json!([1, 2, 3])),
        ("bookmarked", json!([false, true, false])),
        ("name", json!([null, null, "nightly"])),
        ("description", json!(["a try", null, null])),
        ("tags", json!([["gpu"], null, ["gpu", "slow"]])),
    ] {
        let results = oldest["results"].as_array().unwrap().iter();
        let shown: Vec<&Value> = results.map(|build| &build[field]).collect();
        assert_eq!(json!(shown), expected, "{field}");
    }
}
