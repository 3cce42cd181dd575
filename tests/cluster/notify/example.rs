//! The receiver that `docs/notifications.md` shows.

use crate::farm::{Extra, Farm};
use crate::repository::Repository;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

const PAGE: &str = include_str!("../../../docs/notifications.md");
const SECRET: &str = "the secret of this test";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn the_example_checks_signatures_and_says_what_came() {
    let (_, program) = PAGE.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let mut running = Running(
        Command::new("python3")
            .args(["-c", program])
            .env("WEBHOOK_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let port = first.strip_prefix("listens on port ").unwrap();

    clusterrunner_common::http::install_crypto();
    let forged = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/"))
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", "1700000000")
        .header("webhook-signature", "v1,Zm9yZ2Vk")
        .body("{}");
    assert_eq!(forged.send().await.unwrap().status(), 401);

    let repository =
        Repository::with_jobs("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
    let slave = format!("[notify example]\nurl = http://127.0.0.1:{port}/\nsecret = {SECRET}\n");
    let mut farm = Farm::with(&Extra {
        slave: &slave,
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let build = farm.run(&repository.request()).await.id;
    let told = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]);
    let told = told.await.unwrap().map(|line| line.unwrap().unwrap());
    let (building, finished) = (
        format!("{build} building "),
        format!("{build} finished NO_FAILURES"),
    );
    assert!(told[0].starts_with(&building), "{told:?}");
    assert_eq!(told[1], finished);
}
