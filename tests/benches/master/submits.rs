//! Builds that 64 clients submit, each signed and answered when it is on disk, while those that came
//! before are prepared.

use crate::farm::{Extra, Farm};
use crate::http_load::{Load, drive};
use clusterrunner_common::auth::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use serde_json::json;
use std::time::Duration;

const CLIENTS: usize = 64;
const ROUNDS: usize = 4;

pub(crate) async fn measure() {
    let extra = Extra {
        general: "log_level = WARNING",
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_all(&[]).await;
    let directory = farm.path("project");
    std::fs::create_dir_all(&directory).expect("a project directory");
    let job = "small:\n  commands:\n    - 'true'\n  atomizers:\n    - N: 'echo 1'\n";
    std::fs::write(directory.join("clusterrunner.yaml"), job).expect("a project");
    let body = json!({"type": "directory", "project_directory": directory}).to_string();
    let (secret, digest) = (farm.secret(), content_digest(body.as_bytes()));
    let request = move || {
        let signed = Signed {
            method: "POST",
            path_and_query: "/v1/build",
            content_digest: &digest,
        };
        let signature = signed.sign(&secret, Timestamp::now(), random_bytes());
        let request = format!(
            "POST /v1/build HTTP/1.1\r\nHost: master\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{SIGNATURE_HEADER}: {signature}\r\n\r\n{body}",
            body.len()
        );
        request.into_bytes().into()
    };
    let load = Load {
        connections: CLIENTS,
        pause: None,
        lasts: Duration::from_secs(4),
    };
    println!("{CLIENTS} clients submit builds, each durable when it is answered");
    for round in 1..=ROUNDS {
        let figures = drive(&farm.master_address(), load, "202", request.clone()).await;
        let builds = farm
            .client()
            .build(clusterrunner_common::ids::BuildId(1))
            .await;
        assert!(builds.is_ok(), "{builds:?}");
        println!("round {round}: {figures}");
    }
    farm.kill_master();
}
