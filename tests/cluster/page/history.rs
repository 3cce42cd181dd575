//! What earlier builds say of atoms and tests, on the page.

use super::browser::{Browser, ENTER};
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::WantedJobs;
use serde_json::json;

/// What is wrong with the present view, as a list of texts.
const CHECKS: &str = include_str!("looks.js");

#[tokio::test]
async fn flaky_atoms_are_listed_and_any_name_is_found() {
    let farm = Farm::start(&[1]).await;
    let browser = Browser::at(&farm, "/ui/history").await;
    browser.wait_for_text("Nothing is known to be flaky").await;
    let repository = Repository::empty();
    let first = repository.outside("first");
    let command = format!(
        "test $N != 3 && {{ test $N != 2 || ! mkdir '{}' 2>/dev/null; }}",
        first.display()
    );
    repository.commit_job(&job(command).with("retries", 1));
    let over = farm.run(&repository.request()).await;
    let client = farm.client();
    wait_for("the build counts", async || {
        let flaky = client.flaky(&WantedJobs::default(), 9).await.unwrap();
        (flaky.total == 1).then_some(())
    })
    .await;
    browser.go("/ui/").await;
    browser.click("#sections a[href='/ui/history']").await;
    browser
        .wait_for_text("One atom or test failed and passed on the same commit")
        .await;
    browser.wait_for_text("did so in 1 of 1 build").await;
    for (scheme, width) in [("light", 1440), ("dark", 360)] {
        browser.prefers(scheme).await;
        browser.size(width, 800).await;
        let wrong = browser.run(CHECKS).await;
        assert_eq!(wrong, json!([]), "{scheme} {width}");
    }
    // From a test to its earlier builds, and by a name.
    browser.go(&format!("/ui/builds/{}/tests", over.id)).await;
    browser
        .click("details[open] a[href^='/ui/history?name=']")
        .await;
    browser.wait("document.querySelector('.run.failed')").await;
    browser.click("#history-name").await;
    browser
        .run("document.querySelector('#history-name').value = 'nothing'")
        .await;
    browser.press(ENTER).await;
    browser
        .wait_for_text("No archived build has an atom or a test with this name.")
        .await;
    browser.ends_content(&[]).await;
}
