//! What a master says of its receivers.

use super::receiver::Receiver;
use crate::farm::{Extra, Farm};
use crate::json_schema::Schema;
use crate::repository::Repository;
use crate::wait::wait_for;
use serde_json::Value;

const JOB: &str = "Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n";

/// What the command prints. The receivers answer on the thread of the test.
async fn list(farm: &Farm, more: &[&str]) -> String {
    let mut command = farm.command();
    command.args(["notify", "list"]).args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn receivers_are_listed_with_what_they_were_told_and_what_fails() {
    let (well, ill) = (Receiver::start().await, Receiver::start().await);
    ill.answer(&[(404, "no hook of the name hush"); 1000]);
    let slave = format!(
        "[notify well]\nurl = {}/hush\n[notify ill]\nurl = {}/hush\nevents = finished\nprojects = **\n",
        well.url(),
        ill.url()
    );
    let mut farm = Farm::with(&Extra {
        master: "on_finish = 'true'\n",
        slave: &slave,
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let repository = Repository::with_jobs(JOB);
    let build = farm.run(&repository.request()).await.id;
    let listed = wait_for("all were told or tried", async || {
        let listed: Value = serde_json::from_str(&list(&farm, &["--json"]).await).unwrap();
        let [well, ill, command] = [0, 1, 2].map(|number| &listed["receivers"][number]);
        let is_done = well["sent"] == 2 && ill["failed"].as_u64() > Some(1) && command["sent"] == 1;
        is_done.then_some(listed)
    })
    .await;
    Schema::documented().check("notify_list", &listed).unwrap();
    let [well, ill, command] = [0, 1, 2].map(|number| &listed["receivers"][number]);
    assert_eq!(
        (&well["kind"], &command["kind"]),
        (&"webhook".into(), &"command".into())
    );
    assert_eq!(command["name"], "on_finish");
    assert_eq!(well["last_sent"]["event"], "finished");
    assert_eq!(well["last_sent"]["build_id"], build.0);
    assert_eq!(
        (&well["waiting"], &well["last_failure"]),
        (&0.into(), &Value::Null)
    );
    assert_eq!((&ill["waiting"], &ill["sent"]), (&1.into(), &0.into()));
    assert_eq!(ill["projects"][0], "**");
    // What a receiver says, and where it is, stays in the master's log.
    assert_eq!(ill["last_failure"]["message"], "it answered 404 Not Found");
    assert!(!listed.to_string().contains("hush"), "{listed}");

    let shown = list(&farm, &[]).await;
    for part in [
        "well",
        "build 1 finished",
        "ill: ",
        "it answered 404 Not Found",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn a_farm_that_tells_nobody_says_so() {
    let farm = Farm::start(&[]).await;
    assert_eq!(list(&farm, &[]).await, "Nobody is told of builds.\n");
}
