//! Pushes whose master or pusher ends.

use crate::pusher;
use crate::pusher::{SERVER, pushes, succeeds};
use crate::wait::{is_true_within, wait_for};
use clusterrunner_common::ids::BuildId;
use std::fs;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_ends_takes_no_push_and_leaves_no_process() {
    let mut farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&pusher::SLOW);
    let pushing = ann.begins(&["push", &ann.by_http("hill"), "main"]);
    farm.waits_until_it_builds(BuildId(1)).await;
    assert!(farm.stop_master().success());
    pushing.fails();
    assert!(farm.gits().is_empty(), "{:?}", farm.gits());
    assert_eq!(farm.half_stored(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pusher_that_leaves_cancels_the_build() {
    let farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&pusher::SLOW);
    for (url, number) in [(ann.by_ssh("hill"), 1), (ann.by_http("hill"), 2)] {
        let pushing = ann.begins(&["push", &url, "main"]);
        let build = BuildId(number);
        farm.waits_until_it_builds(build).await;
        // Somebody else's push waits for nothing.
        let second = ann.git(&["push", &ann.by_ssh("hill"), "main:second"]);
        let said = String::from_utf8_lossy(&second.stderr);
        assert!(
            !second.status.success() && said.contains("Another push to hill"),
            "{said}"
        );
        pushing.interrupt();
        farm.waits_for_canceled(build).await;
    }
    wait_for("no git runs", async || farm.gits().is_empty().then_some(())).await;
    wait_for("nothing is half stored", async || {
        farm.half_stored().is_empty().then_some(())
    })
    .await;
    assert_eq!(ann.get("apps/hill/releases/").await["count"], 1);
    // She has canceled them from where she pushed.
    let asked = farm.client().audit(Some("ann"), 100).await.unwrap().entries;
    let canceled = asked.iter().filter(|entry| entry.what.contains("canceled"));
    let from: Vec<_> = canceled.map(|entry| entry.from.as_deref()).collect();
    assert_eq!(from, [Some("127.0.0.1"); 2], "{asked:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_loses_no_release_and_leaves_no_process() {
    let mut farm = pushes().await;
    let ann = farm.pusher("ann").await;
    ann.creates("hill").await;
    ann.commits(&[("Procfile", SERVER)]);
    succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
    ann.commits(&pusher::SLOW);
    let pushing = ann.begins(&["push", &ann.by_ssh("hill"), "main"]);
    farm.waits_until_it_builds(BuildId(2)).await;
    farm.kill_master();
    let said = pushing.fails();
    assert!(!said.contains("deployed"), "{said}");
    let gone = is_true_within(Duration::from_secs(20), || farm.gits().is_empty());
    assert!(gone, "{:?}", farm.gits());
    // As after a power cut in mid-push.
    let incoming = farm.only_repository().join("objects/tmp_objdir-incoming-x");
    fs::create_dir_all(&incoming).unwrap();
    let lock = farm.only_repository().join("refs/heads/main.lock");
    fs::write(lock, "").unwrap();
    farm.start_master().await;
    assert_eq!(farm.half_stored(), [""; 0]);
    assert_eq!(ann.get("apps/hill/releases/").await["count"], 2);
    let refs = succeeds(&ann.git(&["ls-remote", &ann.by_ssh("hill"), "refs/heads/main"]));
    let first = ann.in_work(&["rev-parse", "HEAD^"]);
    assert!(
        refs.starts_with(first.trim()),
        "the host key is the same, and the branch: {refs}"
    );
    // The build that nobody waits for any more goes on; it ends here so that the next one has a slave.
    farm.cancels(BuildId(2)).await;
    ann.in_work(&["rm", "--quiet", "Dockerfile"]);
    ann.commits(&[("page.txt", "x")]);
    let said = succeeds(&ann.git(&["push", &ann.by_ssh("hill"), "main"]));
    assert!(said.contains("hill:v3"), "{said}");
}
