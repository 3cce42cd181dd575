//! Builds that 64 clients submit, each signed and answered when it is on disk, while those that came
//! before are prepared; next to a bare route that checks the same signatures.

use crate::bare::Bare;
use crate::cost::Cost;
use crate::farm::{Extra, Farm};
use crate::http_load::Load;
use crate::wire::session_of;
use clusterrunner_common::auth::signature::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const ROUNDS: usize = 4;

/// How builds are submitted.
pub(crate) const LOAD: Load = Load {
    connections: 64,
    pause: None,
    lasts: Duration::from_secs(4),
};

pub(crate) async fn measure() {
    let extra = Extra {
        general: "log_level = WARNING",
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_all(&[]).await;
    let bare = Bare::start("", farm.secret_text());
    let request = request(&farm);
    println!(
        "{} clients submit builds, each durable when it is answered",
        LOAD.connections
    );
    for round in 1..=ROUNDS {
        let address = &bare.address;
        let of_bare = Cost::of(bare.process(), address, LOAD, "202", request.clone()).await;
        println!("round {round}: bare {of_bare}");
        let (master, address) = (farm.master_process(), farm.master_address());
        let ours = Cost::of(master, &address, LOAD, "202", request.clone()).await;
        println!("         ours {}", ours.beside(&of_bare));
    }
    farm.kill_master();
}

/// Makes requests for builds of one atom, each signed anew. They need a slave that is not there, so
/// that they are prepared and no more.
pub(crate) fn request(farm: &Farm) -> impl Fn() -> Arc<[u8]> + Clone + 'static {
    let directory = farm.path("submitted");
    std::fs::create_dir_all(&directory).expect("a project directory");
    let job =
        "small:\n  labels: [nowhere]\n  commands:\n    - 'true'\n  atomizers:\n    - N: 'echo 1'\n";
    std::fs::write(directory.join("clusterrunner.yaml"), job).expect("a project");
    let body = json!({"type": "directory", "project_directory": directory}).to_string();
    let (secret, digest) = (farm.secret(), content_digest(body.as_bytes()));
    let session = session_of(&farm.master_address());
    move || {
        let signed = Signed {
            method: "POST",
            path_and_query: "/v1/build",
            receiver: &session,
            content_digest: &digest,
        };
        let signature = signed.sign(&secret, Timestamp::now(), random_bytes());
        let request = format!(
            "POST /v1/build HTTP/1.1\r\nHost: master\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{SIGNATURE_HEADER}: {signature}\r\n\r\n{body}",
            body.len()
        );
        request.into_bytes().into()
    }
}
