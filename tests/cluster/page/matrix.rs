//! A build of a matrix, as people see it: its builds, how each stands, and the way to them.

use super::browser::Browser;
use super::signed_in::{PASSWORD, sign_in};
use crate::farm::Farm;
use crate::job::job;
use crate::raw::Raw;
use crate::repository::Repository;
use serde_json::json;

/// What is wrong with the present view, as a list of texts.
const CHECKS: &str = include_str!("looks.js");

/// The rows of the list of builds, as texts.
const ROWS: &str = "return [...document.querySelectorAll('[aria-labelledby=children-title] tbody tr')].map((e) => e.innerText)";

/// Has the view looked at in both schemes at both widths.
async fn look(browser: &Browser) {
    for scheme in ["light", "dark"] {
        for width in [1440, 360] {
            browser.prefers(scheme).await;
            browser.size(width, 900).await;
            let wrong = browser.run(CHECKS).await;
            assert_eq!(wrong, json!([]), "{scheme} {width}");
            let height = "return Math.min(document.querySelector('main').scrollHeight + 60, 1100)";
            let height = browser.run(height).await.as_u64().unwrap();
            let height = u32::try_from(height).unwrap();
            browser
                .picture(&format!("matrix-{scheme}-{width}"), height)
                .await;
        }
    }
    browser.size(1440, 900).await;
}

#[tokio::test]
async fn the_builds_of_a_matrix_are_listed_and_what_failed_in_them_runs_again() {
    let farm = Farm::start(&[4]).await;
    let ann = json!({"name": "ann", "password": PASSWORD, "is_superuser": true});
    let request = Raw::json("POST", &farm.master_address(), "/v1/users", &ann);
    let answer = request.send(&request.signature(&farm.secret())).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let long = "a/value/that/is/long/and/has/no/place/to/break_".repeat(3);
    let job = job(r#"[ "$PYTHON $N" != "3.13 2" ]"#).atoms(3).with(
        "matrix",
        json!({"PYTHON": ["3.12", "3.13"], "OS": ["debian", "<b>alpine</b>"],
            "include": [{"PYTHON": "3.14", "OS": long}]}),
    );
    let repository = Repository::of(&job);
    let parent = farm.run(&repository.request()).await;
    assert_eq!(parent.num_atoms_failed, 2);

    let browser = Browser::at(&farm, "/ui/sign-in").await;
    sign_in(&browser, "ann", PASSWORD).await;
    browser.go(&format!("/ui/builds/{}", parent.id)).await;
    browser
        .wait("document.querySelectorAll('[aria-labelledby=children-title] tbody tr').length === 5")
        .await;
    browser.wait_for_text("5 builds of a matrix").await;
    let rows = browser.run(ROWS).await;
    let rows: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_str().unwrap())
        .collect();
    for (row, parts) in rows.iter().zip([
        ["#2", "PYTHON=3.12 OS=debian", "Passed", "3 atoms"],
        ["#3", "PYTHON=3.12 OS=<b>alpine</b>", "Passed", "3 atoms"],
        ["#4", "PYTHON=3.13 OS=debian", "Failed", "3 atoms, 1 failed"],
        [
            "#5",
            "PYTHON=3.13 OS=<b>alpine</b>",
            "Failed",
            "3 atoms, 1 failed",
        ],
        ["#6", "PYTHON=3.14 OS=a/value", "Passed", "3 atoms"],
    ]) {
        assert!(
            parts.iter().all(|part| row.contains(part)),
            "{parts:?}: {row}"
        );
    }
    look(&browser).await;

    // From the list to a build, and from there back.
    browser
        .click("[aria-labelledby=children-title] tbody tr:nth-of-type(3) a")
        .await;
    browser.wait("location.pathname === '/ui/builds/4'").await;
    browser
        .wait_for_text("matrix PYTHON=3.13 OS=debian of #1")
        .await;
    browser.go("/ui/").await;
    browser.wait_for_text("5 builds of a matrix").await;

    // What failed in any of them runs again, each in its combination.
    browser.go(&format!("/ui/builds/{}", parent.id)).await;
    let retry = "[...document.querySelectorAll('.actions button')].find((e) => e.innerText === 'Retry failed')";
    browser.wait(retry).await;
    browser.run(&format!("{retry}.click()")).await;
    browser.wait("location.pathname === '/ui/builds/7'").await;
    browser
        .wait("document.querySelectorAll('[aria-labelledby=children-title] tbody tr').length === 2")
        .await;
    browser.wait_for_text("2 builds of a matrix").await;
    let rows = browser.run(ROWS).await.to_string();
    assert!(
        rows.contains("PYTHON=3.13 OS=debian") && !rows.contains("3.12"),
        "{rows}"
    );
    browser.ends_content(&[]).await;
}
