//! What the master tells those who operate it: its events and its measures.

use super::*;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;

impl Master {
    /// The events, without what differs from run to run.
    async fn events(&self, query: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/v1/eventlog{query}")).await;
        assert_eq!(status, 200, "{body}");
        let events = body["events"].as_array().unwrap().iter().cloned();
        let without_time = events.map(|mut event| {
            let time = event.as_object_mut().unwrap().remove("__timestamp__");
            assert!(time.unwrap().as_f64().unwrap() > 1.6e9);
            event
        });
        without_time.collect()
    }

    async fn metrics(&self) -> String {
        let (status, _, body) = self.exchange("GET", "/v1/metrics", &[], "").await;
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
    }

    async fn order(&self, command: Command) {
        self.cluster.command(command).await.unwrap();
    }
}

fn plan(atoms: &[&str]) -> Box<Plan> {
    Box::new(Plan {
        timeouts: clusterrunner_common::job::config::Timeouts::default(),
        commit: None,
        job_name: "Sample".to_owned(),
        command: "true".to_owned(),
        setup_build: None,
        teardown_build: None,
        max_executors: None,
        max_executors_per_slave: None,
        atoms: atoms.iter().map(|&atom| atom.to_owned()).collect(),
        ..Plan::default()
    })
}

#[tokio::test]
async fn events_have_the_originals_names_and_fields() {
    let master = Master::start();
    master.connect("a-life", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let build = BuildId(1);
    let prepared = Command::ReportPrepared {
        build,
        plan: plan(&["export A=1;"]),
    };
    master.order(prepared).await;
    let set_up = Command::ReportSetUp {
        slave: clusterrunner_common::ids::SlaveId(1),
        session: SessionId("a-life".to_owned()),
        build,
    };
    master.order(set_up).await;
    let started = json!({"service": "master", "__id__": 1, "__tag__": "SERVICE_STARTED"});
    let connected = json!({
        "slave_id": 1, "slave_url": "127.0.0.1:1", "num_executors": 2,
        "__id__": 3, "__tag__": "SLAVE_CONNECTED",
    });
    let begun = json!({
        "incarnation": "first", "reason": "there was none before",
        "__id__": 2, "__tag__": "INCARNATION_BEGUN",
    });
    assert_eq!(master.events("").await[..3], [started, begun, connected]);
    assert_eq!(
        master.events("?since_id=3").await,
        [
            json!({"build_id": 1, "__id__": 4, "__tag__": "BUILD_REQUEST_QUEUED"}),
            json!({"build_id": 1, "__id__": 5, "__tag__": "BUILD_PREPARE_START"}),
            json!({"build_id": 1, "is_success": true, "__id__": 6, "__tag__": "BUILD_PREPARE_FINISH"}),
            json!({"build_id": 1, "slave_id": 1, "__id__": 7, "__tag__": "BUILD_SETUP_START"}),
            json!({"build_id": 1, "slave_id": 1, "__id__": 8, "__tag__": "BUILD_SETUP_FINISH"}),
            json!({
                "build_id": 1, "subjob_id": 0, "slave_id": 1, "attempt": 1,
                "__id__": 9, "__tag__": "SUBJOB_HANDED_OUT",
            }),
        ]
    );
    // A build that can not be prepared says both.
    master.documented("POST", "/v1/build", BUILD).await;
    let failed = Command::ReportPreparationFailed {
        build: BuildId(2),
        reason: "no".to_owned(),
    };
    master.order(failed).await;
    assert_eq!(
        master.events("?since_id=11").await,
        [
            json!({"build_id": 2, "is_success": false, "__id__": 12, "__tag__": "BUILD_PREPARE_FINISH"}),
            json!({"build_id": 2, "error_message": "no", "__id__": 13, "__tag__": "BUILD_FAILED"}),
        ]
    );
    assert!(master.events("?since_timestamp=1e11").await.is_empty());
    assert_eq!(master.events("?since_id=100").await.len(), 13);
    for query in [
        "since_id=x",
        "since_timestamp=",
        "since_id=2&since_timestamp=1",
    ] {
        let (status, body) = master.get(&format!("/v1/eventlog?{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(body["error"].as_str().unwrap().contains("since_"), "{body}");
    }
}

#[tokio::test]
async fn requests_are_measured_by_the_originals_endpoints() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    for path in [
        "/v1/build/1",
        "/v1/build/1/",
        "/builds/1",
        "/v1/build/99",
        "/nowhere",
    ] {
        master.get(path).await;
    }
    master.get("/v1/build/1/artifacts.zip").await;
    master.call("BREW", "/v1/build/1", &[], "").await;
    let text = master.metrics().await;
    let has = |line: &str| assert!(text.contains(line), "no {line} in:\n{text}");
    let count = "http_request_duration_seconds_count";
    has(&format!(
        "{count}{{endpoint=\"/v1/build/(\\\\d+)/?\",method=\"GET\",status=\"200\"}} 2\n"
    ));
    has(&format!(
        "{count}{{endpoint=\"/builds/(\\\\d+)/?\",method=\"GET\",status=\"200\"}} 1\n"
    ));
    has(&format!(
        "{count}{{endpoint=\"/v1/build/(\\\\d+)/?\",method=\"GET\",status=\"404\"}} 1\n"
    ));
    has(&format!(
        "{count}{{endpoint=\"/v1/build/?\",method=\"POST\",status=\"202\"}} 1\n"
    ));
    has("method=\"OTHER\",status=\"401\",le=\"+Inf\"} 1\n");
    has("status=\"202\",le=\"50.0\"} 1\n");
    assert!(!text.contains("artifacts") && !text.contains("nowhere") && !text.contains("BREW"));
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert_eq!(
        families,
        [
            "process_virtual_memory_bytes gauge",
            "process_resident_memory_bytes gauge",
            "process_start_time_seconds gauge",
            "process_cpu_seconds_total counter",
            "process_open_fds gauge",
            "process_max_fds gauge",
            "http_request_duration_seconds histogram",
            "internal_errors counter",
            "master_removed_total counter",
            "notifications_total counter",
            "notifications_waiting gauge",
            "build_state_duration_seconds histogram",
            "serialized_build_time_seconds histogram",
            "hunt_runs_total counter",
            "hunt_executor_seconds_total counter",
            "slaves gauge",
            "slaves_kept_out gauge",
            "instances gauge",
            "instance_slots gauge",
            "apps gauge",
            "templates gauge",
            "template_snapshot_bytes gauge",
            "master_builds_kept gauge",
            "master_disk_free_bytes gauge",
            "master_disk_short gauge",
        ]
    );
}
