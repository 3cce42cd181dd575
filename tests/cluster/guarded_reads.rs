//! Farms where reading needs a proof.

use crate::farm::{Extra, Farm};
use crate::raw::{Proof, Raw};
use crate::repository::Repository;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use serde_json::Value;

#[tokio::test]
async fn a_farm_works_where_strangers_can_not_read() {
    let repository = Repository::empty();
    let job = "Job:\n  commands: [echo atom $N]\n  atomizers: [{N: seq 1 3}]\n";
    repository.commit(&[("clusterrunner.yaml", job)]);
    let mut farm = Farm::with(&Extra {
        general: "require_signed_reads = True\nread_token = a token for reads",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let view = farm.end_of(build).await;
    assert_eq!(
        (view.status, view.result),
        (BuildStatus::Finished, Some(BuildResult::NoFailures))
    );
    let master = farm.master_address();
    let arguments = ["logs", "1", "1_0", "--master-url", &master];
    let output = farm.command().args(arguments).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("atom 2"), "{output:?}");

    for (server, path) in [
        (farm.master_address(), "/v1/build/1"),
        (farm.master_address(), "/v1/build/1/artifacts.zip"),
        (farm.master_address(), "/v1/metrics"),
        (farm.slave_address(0), "/v1"),
    ] {
        let read = Raw::json("GET", &server, path, &Value::Null);
        let answer = read.send(&Vec::new()).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.error().contains("read_token"), "{answer:?}");
        let bearer: Proof = vec![("authorization", "Bearer a token for reads".to_owned())];
        assert_eq!(read.send(&bearer).await.status, 200, "{path}");
    }
}
