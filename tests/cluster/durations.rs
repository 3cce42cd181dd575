//! What is known of durations decides the order, and labels decide the slave.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Each atom writes its name to a file beside the tracked ones.
const JOBS: &str = "Job:
  commands:
    - echo $N >> order
  atomizers:
    - N: printf 'a\\nb\\nc\\nd\\n'
";

#[tokio::test]
async fn the_originals_timings_are_used_until_others_are_learned_which_outlive_the_master() {
    let project = Repository::with_jobs(JOBS);
    let mut farm = Farm::new();
    let below = project.path().strip_prefix("/").unwrap();
    let timings = farm.path("base/timings/master").join(below);
    fs::create_dir_all(&timings).unwrap();
    let known = json!({
        "export N=\"a\";": 1000, "export N=\"b\";": 3000.5, "export N=\"c\";": 2000,
    });
    fs::write(timings.join("Job.timing.json"), known.to_string()).unwrap();
    farm.start_all(&[1]).await;
    let request = json!({"type": "directory", "project_directory": project.path()});
    let build = farm.run(&request).await.passes();
    // The unknown one counts as the longest of so few, and equal ones go in the atomizer's order.
    let order = fs::read_to_string(project.path().join("order")).unwrap();
    assert_eq!(order, "b\nd\nc\na\n");
    let expected = async |farm: &Farm, build| {
        let atoms = farm.atoms(build).await.into_iter();
        atoms.map(|atom| atom.expected_time).collect::<Vec<_>>()
    };
    let first = [Some(1000.0), Some(3000.5), Some(2000.0), Some(3000.5)];
    assert_eq!(expected(&farm, build.id).await, first);
    // What was learned is written a moment later.
    wait_for("a build of learned durations", async || {
        let build = farm.run(&request).await;
        let expected = expected(&farm, build.id).await.into_iter();
        let mut expected = expected.map(Option::unwrap);
        expected.all(|seconds| seconds < 1000.0).then_some(())
    })
    .await;
    farm.stop_master();
    fs::remove_dir_all(farm.path("base/timings")).unwrap();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    let build = farm.run(&request).await;
    let expected = expected(&farm, build.id).await;
    assert!(expected.iter().all(Option::is_some), "{expected:?}");
}

#[tokio::test]
async fn a_job_with_labels_runs_only_where_they_are() {
    let project = Repository::with_jobs(
        "Any:\n  commands: [\"true\"]\n  atomizers: [{N: seq 4}]\n\
         Gpu:\n  commands: [\"true\"]\n  atomizers: [{N: seq 4}]\n  labels: [gpu]\n  priority: 3\n",
    );
    let mut farm = Farm::start(&[2]).await;
    let request = project.request_with(json!({"job_name": "Gpu"}));
    let gpu = farm.submit(&request).await;
    let client = farm.client();
    wait_for("it says what it waits for", async || {
        let details = client.build(gpu).await.unwrap().details?;
        details.contains("has the labels gpu").then_some(())
    })
    .await;
    // It holds nobody up.
    farm.run(&project.request_with(json!({"job_name": "Any"})))
        .await
        .passes();
    let settings = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let labelled = settings.replace("[slave]\n", "[slave]\nlabels = big, gpu\n");
    let path = farm.path("base/labelled.conf");
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(&path);
    file.unwrap().write_all(labelled.as_bytes()).unwrap();
    farm.start_slave_with(1, &path);
    farm.end_of(gpu).await.passes();
    let mut slaves: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for subjob in farm.subjobs(gpu).await {
        *slaves.entry(subjob.slave).or_default() += 1;
    }
    assert_eq!(slaves, BTreeMap::from([(Some(farm.slave_address(1)), 4)]));
    let listed = farm.wait_for_slaves(2).await;
    assert_eq!(listed[1].labels, ["big", "gpu"]);
}
