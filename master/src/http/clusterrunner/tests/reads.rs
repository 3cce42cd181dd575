//! Reads while builds change: nothing older than what was told, long lists, and what is not sent again.

use super::*;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;

const CANCEL: &str = r#"{"status": "canceled"}"#;

impl Master {
    async fn get_whole(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        self.exchange("GET", path, headers, "").await
    }

    async fn prepare(&self, build: u64, num_atoms: usize) {
        self.prepare_expected(build, num_atoms, None).await;
    }

    async fn prepare_expected(&self, build: u64, num_atoms: usize, expected_ms: Option<u64>) {
        let atoms = (0..num_atoms).map(|number| format!("export N=\"{number}\";"));
        let plan = Plan {
            job_name: "Sample".to_owned(),
            command: "a command that is not so very short".to_owned(),
            atoms: atoms.collect(),
            expected_ms: expected_ms.map_or_else(Vec::new, |each| vec![each; num_atoms]),
            ..Plan::default()
        };
        let prepared = Command::ReportPrepared {
            build: BuildId(build),
            plan: Box::new(plan),
        };
        let preparing = async || {
            let (_, queue) = self.get("/v1/queue").await;
            queue["queue"][0]["state_timestamps"]["preparing"].is_number()
        };
        assert!(preparing().await, "it is the first of its project");
        self.cluster.command(prepared).await.unwrap();
    }

    /// Ids in a list.
    async fn ids(&self, path: &str, list: &str) -> Vec<u64> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        assert!(body["child_routes"].is_object(), "{path}");
        let entries = body[list].as_array().unwrap().iter();
        entries.map(|entry| entry["id"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_read_is_never_older_than_what_was_told() {
    let master = Master::start();
    for build in 1..=20 {
        let path = format!("/v1/build/{build}");
        assert_eq!(master.get(&path).await.0, 404, "before it is there");
        master.documented("POST", "/v1/build", BUILD).await;
        let status = async || master.get(&path).await.1["build"]["status"].clone();
        assert_eq!(status().await, "QUEUED");
        if build % 2 == 0 {
            master.connect(&format!("life-{build}"), None).await;
            assert_eq!(status().await, "QUEUED");
        }
        master.documented("PUT", &path, CANCEL).await;
        assert_eq!(status().await, "CANCELED");
        assert_eq!(status().await, "CANCELED");
    }
}

#[tokio::test]
async fn a_reader_may_wait_for_the_end_of_a_build() {
    let master = Master::start();
    for (build, path) in [(1, "/v1/build/1"), (2, "/v2/builds/2")] {
        master.documented("POST", "/v1/build", BUILD).await;
        let path = format!("{path}?wait_s=30");
        let cancel = format!("/v1/build/{build}");
        let (read, _) = tokio::join!(master.get(&path), master.documented("PUT", &cancel, CANCEL));
        assert_eq!(
            (read.0, &read.1["build"]["status"]),
            (200, &json!("CANCELED"))
        );
        // Nothing is to be waited for any more.
        let (_, over) = master.get(&path).await;
        assert_eq!(over["build"]["status"], "CANCELED");
    }
    assert_eq!(master.get("/v1/build/99?wait_s=30").await.0, 404);
    let (status, body) = master.get("/v1/build/1?wait_s=soon").await;
    assert_eq!(status, 400, "{body}");
    master.documented("POST", "/v1/build", BUILD).await;
    let (_, now) = master.get("/v1/build/3?wait_s=0").await;
    assert_eq!(now["build"]["status"], "QUEUED");
}

#[tokio::test]
async fn a_build_that_the_caller_has_is_not_sent_again() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    let (status, headers, body) = master.get_whole("/v1/build/1", &[]).await;
    assert_eq!(status, 200);
    let etag = headers["etag"].to_str().unwrap().to_owned();
    let known = [("if-none-match", etag.as_str())];
    let (status, again, rest) = master.get_whole("/v1/build/1", &known).await;
    assert_eq!((status, rest.len()), (304, 0));
    assert_eq!(again["etag"], headers["etag"]);
    assert!(!again.contains_key("content-type"));
    let (status, head, rest) = master.exchange("HEAD", "/v1/build/1", &[], "").await;
    assert_eq!((status, rest.len()), (200, 0));
    assert_eq!(head["content-length"], body.len().to_string());
    for name in ["etag", "content-type", "session-id", "api-version"] {
        assert_eq!(head[name], headers[name], "{name}");
    }
    let (status, ..) = master.exchange("HEAD", "/v1/build/1", &known, "").await;
    assert_eq!(status, 304);

    master.documented("PUT", "/v1/build/1", CANCEL).await;
    let (status, changed, _) = master.get_whole("/v1/build/1", &known).await;
    assert_eq!(status, 200);
    assert_ne!(changed["etag"], etag);
}

/// The command leaves one where its terminal was closed.
#[tokio::test]
async fn a_message_becomes_a_warning_of_a_build_that_is_not_over() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    let warnings = async || {
        let (_, body) = master.get("/v1/build/1").await;
        body["build"]["warnings"].clone()
    };
    for wrong in [
        r#"{"note": ""}"#,
        r#"{"note": 5}"#,
        r#"{"note": "x", "status": "canceled"}"#,
    ] {
        let (status, body) = master.documented("PUT", "/v1/build/1", wrong).await;
        let error = body["error"].as_str().unwrap();
        assert!(
            status == 400 && error.contains("'note'"),
            "{wrong}: {error}"
        );
    }
    assert_eq!(warnings().await, serde_json::json!([]));
    for _ in 0..2 {
        let note = r#"{"note": " the terminal was closed "}"#;
        let (status, _) = master.documented("PUT", "/v1/build/1", note).await;
        assert_eq!(status, 200);
    }
    let told = serde_json::json!(["the terminal was closed"]);
    assert_eq!(warnings().await, told);
    master.documented("PUT", "/v1/build/1", CANCEL).await;
    let late = r#"{"note": "too late"}"#;
    let (status, _) = master.documented("PUT", "/v1/build/1", late).await;
    assert_eq!((status, warnings().await), (200, told));
}

#[tokio::test]
async fn subjobs_can_be_chosen_by_what_their_atoms_do() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.prepare(1, 3).await;
    for state in ["in_progress", "failed"] {
        let path = format!("/v1/build/1/subjob?state={state}");
        let (status, body) = master.get(&path).await;
        assert_eq!((status, &body["subjobs"]), (200, &serde_json::json!([])));
    }
    let (status, body) = master.get("/v1/build/1/subjob?state=sick").await;
    let error = body["error"].as_str().unwrap();
    let expected = "'state' must be in_progress or failed, not 'sick'.";
    assert_eq!((status, error), (400, expected));
}

#[tokio::test]
async fn a_published_build_lists_what_is_below_it_in_each_version() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    let v1 = [("accept", "application/vnd.clusterrunner.v1+json")];
    let v2 = [("accept", "application/vnd.clusterrunner.v2+json")];
    let plain = [("accept", "*/*")];
    for _ in 0..2 {
        for (path, accept, subjobs) in [
            ("/v1/build/1", plain, Some("/v1/build/[build_id]/subjob")),
            ("/v1/build/1", v2, None),
            ("/builds/1", plain, Some("/builds/[build_id]/subjobs")),
            ("/v2/builds/1", plain, Some("/builds/[build_id]/subjobs")),
            ("/builds/1", v1, None),
        ] {
            let (_, body) = master.call("GET", path, &accept, "").await;
            let below = body["child_routes"]["subjobs"].as_str();
            assert_eq!(below, subjobs, "{path}");
            assert_eq!(body["build"]["id"], 1);
        }
    }
}

#[tokio::test]
async fn lists_of_builds_are_whole_and_their_pages_too() {
    let master = Master::start();
    for _ in 0..150 {
        master.documented("POST", "/v1/build", BUILD).await;
    }
    let all: Vec<u64> = (1..=150).collect();
    assert_eq!(master.ids("/v1/build", "builds").await, all);
    assert_eq!(master.ids("/v1/queue", "queue").await, all);
    assert_eq!(master.ids("/builds", "builds").await, all[..20]);
    for (offset, limit) in [(10, 100), (0, 64), (60, 128), (140, 20), (150, 5), (3, 0)] {
        let path = format!("/builds?offset={offset}&limit={limit}");
        let wanted = &all[offset..(offset + limit).min(150)];
        assert_eq!(master.ids(&path, "builds").await, wanted, "{path}");
    }
    let newest: Vec<u64> = (1..=150).rev().collect();
    for (query, wanted) in [
        ("", &newest[..20]),
        ("&limit=100", &newest[..100]),
        ("&limit=200&before=101", &newest[50..]),
        ("&before=3", &newest[148..]),
        ("&before=1", &[]),
        ("&before=999&limit=0", &[]),
    ] {
        let path = format!("/builds?newest_first=true{query}");
        assert_eq!(master.ids(&path, "builds").await, wanted, "{path}");
    }
    for build in [1, 70, 150] {
        let path = format!("/v1/build/{build}");
        master.documented("PUT", &path, CANCEL).await;
    }
    let unfinished: Vec<u64> = (2..150).filter(|id| *id != 70).collect();
    assert_eq!(master.ids("/v1/queue", "queue").await, unfinished);
    assert_eq!(master.ids("/v1/build", "builds").await, all);
}

#[tokio::test]
async fn a_very_long_list_is_sent_in_parts_and_is_whole() {
    const ATOMS: usize = 12_000;
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.prepare(1, ATOMS).await;
    let (status, headers, body) = master.get_whole("/v1/build/1/subjob", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "application/json; charset=UTF-8");
    assert!(!headers.contains_key("content-length") && !headers.contains_key("etag"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["child_routes"]["subjob"].is_string());
    let subjobs = body["subjobs"].as_array().unwrap();
    assert_eq!(subjobs.len(), ATOMS);
    for (number, subjob) in subjobs.iter().enumerate() {
        assert_eq!(subjob["id"], number);
        let atom = format!("export N=\"{number}\";");
        assert_eq!(subjob["atoms"][0]["command_string"], atom);
    }
    let (status, _, nothing) = master.exchange("HEAD", "/v1/build/1/subjob", &[], "").await;
    assert_eq!((status, nothing.len()), (200, 0));

    let (_, headers, body) = master
        .get_whole("/builds/1/subjobs?offset=11990&limit=200", &[])
        .await;
    let page: Value = serde_json::from_slice(&body).unwrap();
    let page = page["subjobs"].as_array().unwrap();
    assert_eq!((page.len(), &page[0]["id"]), (10, &json!(11_990)));
    let known = [("if-none-match", headers["etag"].to_str().unwrap())];
    let path = "/builds/1/subjobs?offset=11990&limit=200";
    assert_eq!(master.get_whole(path, &known).await.0, 304);
    assert_eq!(master.get("/v1/build/2/subjob").await.0, 404);
}

#[tokio::test]
async fn atoms_are_in_progress_whose_start_their_slave_has_told() {
    let master = Master::start();
    master.connect("life-1", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    master.prepare_expected(1, 100, Some(10)).await;
    let (slave, build) = (SlaveId(1), BuildId(1));
    let session = SessionId("life-1".to_owned());
    let set_up = Command::ReportSetUp {
        slave,
        session,
        build,
    };
    master.cluster.command(set_up).await.unwrap();
    let executors = async || {
        let (_, body) = master.get("/v1/slave/1").await;
        body["slave"]["num_executors"].as_u64().unwrap()
    };
    let told = master.cluster.read(|cluster| {
        let build = cluster.build(BuildId(1)).unwrap();
        let held = build.progress().unwrap().running.iter();
        let one = |(number, (id, (_, attempt))): (u64, (&SubjobId, &(SlaveId, Attempt)))| {
            // Another attempt is not that which the slave has.
            let attempt = attempt.0 + u32::from(number == 1);
            json!({"build_id": 1, "subjob_id": id.0, "attempt": attempt, "atom_id": 0,
                "executor_id": number, "started_at_ms": 1_700_000_000_000 + number})
        };
        (0..).zip(held).take(2).map(one).collect::<Vec<Value>>()
    });
    let told = told.await.unwrap();
    let running = usize::try_from(told[0]["subjob_id"].as_u64().unwrap()).unwrap();
    let heartbeat = json!({"slave": {"heartbeat": true, "session_id": "life-1", "running": told}});
    let path = "/v1/slave/1/heartbeat";
    let (status, answer) = master.signed("POST", path, &heartbeat).await;
    assert_eq!(status, 200);
    assert!(answer["now_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let (_, list) = master.get("/v1/build/1/subjob").await;
    let listed = list["subjobs"].as_array().unwrap().iter();
    let listed: Vec<&Value> = listed.map(|subjob| &subjob["atoms"][0]["state"]).collect();
    let in_progress = (0..)
        .zip(&listed)
        .filter(|(_, state)| **state == "IN_PROGRESS");
    assert_eq!(
        in_progress
            .map(|(number, _)| number)
            .collect::<Vec<usize>>(),
        [running]
    );
    let atom = &list["subjobs"][running]["atoms"][0];
    assert_eq!(
        (&atom["started_at"], &atom["executor_id"]),
        (&json!(1_700_000_000.0), &json!(0))
    );
    let (_, view) = master.get("/v1/build/1").await;
    assert_eq!(view["build"]["num_atoms_in_progress"], executors().await);
    let held = master
        .cluster
        .read(|cluster| cluster.slave(SlaveId(1)).unwrap().running.len());
    assert!(held.await.unwrap() as u64 > executors().await);
    for (number, state) in listed.iter().enumerate() {
        let subjob = format!("/v1/build/1/subjob/{number}");
        let (_, of_subjob) = master.get(&subjob).await;
        assert_eq!(&of_subjob["subjob"]["atoms"][0]["state"], *state);
        let (_, of_atoms) = master.get(&format!("{subjob}/atom")).await;
        assert_eq!(&of_atoms["atoms"][0]["state"], *state);
        let (_, of_atom) = master.get(&format!("{subjob}/atom/0")).await;
        assert_eq!(&of_atom["atom"]["state"], *state);
    }
}

#[tokio::test]
async fn the_time_of_a_build_is_explained() {
    let master = Master::start();
    let (status, _) = master.get("/v2/builds/1/explanation").await;
    assert_eq!(status, 404);
    master.documented("POST", "/v1/build", BUILD).await;
    let (status, body) = master.get("/v2/builds/1/explanation").await;
    assert_eq!(status, 200, "{body}");
    let explanation = &body["explanation"];
    assert_eq!(explanation["build_id"], 1);
    assert_eq!(explanation["is_over"], false);
    let parts = explanation["parts"].as_array().unwrap().iter();
    let ms = |seconds: &serde_json::Value| (seconds.as_f64().unwrap() * 1000.0).round();
    let sum: f64 = parts.map(|part| ms(&part["seconds"])).sum();
    assert_eq!(sum, ms(&explanation["seconds"]));
}

#[tokio::test]
async fn what_nobody_knows_is_not_planned() {
    let master = Master::start();
    let (status, _) = master.get("/v2/builds/1/plan").await;
    assert_eq!(status, 404);
    master.documented("POST", "/v1/build", BUILD).await;
    let (status, body) = master.get("/v2/builds/1/plan?slaves=3&under=60").await;
    assert_eq!(status, 200, "{body}");
    let plan = &body["plan"];
    assert_eq!(
        (&plan["num_atoms"], &plan["is_anew"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(
        (&plan["choices"], &plan["under"]),
        (&json!([]), &json!(null))
    );
    for query in [
        "slaves=0",
        "slaves=x",
        "slaves=1025",
        "under=0",
        "under=-1",
        "under=NaN",
        "under=x",
    ] {
        let (status, body) = master.get(&format!("/v2/builds/1/plan?{query}")).await;
        assert_eq!(status, 400, "{query}: {body}");
        let name = query.split('=').next().unwrap();
        assert!(
            body["error"]
                .as_str()
                .unwrap()
                .contains(&format!("'{name}'")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_badge_says_how_the_latest_build_stands() {
    let master = Master::start();
    let (status, _) = master.get("/v2/projects/1/badge.svg").await;
    assert_eq!(status, 404);
    master.documented("POST", "/v1/build", BUILD).await;
    let badge = async |path: &str| {
        let (status, headers, body) = master.exchange("GET", path, &[], "").await;
        assert_eq!(
            (status, &headers["content-type"]),
            (200, &"image/svg+xml; charset=utf-8".parse().unwrap())
        );
        String::from_utf8(body).unwrap()
    };
    let queued = badge("/v2/projects/1/badge.svg").await;
    assert!(queued.contains(">queued</text>"), "{queued}");
    let cancel = r#"{"status": "canceled"}"#;
    master.documented("PUT", "/v1/build/1", cancel).await;
    let canceled = badge("/v2/projects/1/badge.svg").await;
    assert!(canceled.contains(">canceled</text>"), "{canceled}");
}

#[tokio::test]
async fn the_master_says_whether_it_is_well() {
    let master = Master::start();
    for path in ["/healthz", "/readyz", "/v2/readyz"] {
        let (status, body) = master.get(path).await;
        assert_eq!(
            (status, &body["status"]),
            (200, &serde_json::json!("ok")),
            "{path}"
        );
    }
}
