//! What those who are signed in do with the page.

use super::browser::{Browser, ENTER, TAB};
use crate::farm::Farm;
use crate::job::job;
use crate::raw::Raw;
use crate::repository::Repository;
use clusterrunner_common::api::BuildStatus;
use serde_json::json;

pub(super) const PASSWORD: &str = "a long passphrase";

/// A farm with a slave and the user `ann`.
async fn farm_with_ann() -> Farm {
    let farm = Farm::start(&[2]).await;
    let ann = json!({"name": "ann", "password": PASSWORD});
    let request = Raw::json("POST", &farm.master_address(), "/v1/users", &ann);
    let answer = request.send(&request.signature(&farm.secret())).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    farm
}

pub(super) async fn sign_in(browser: &Browser, user: &str, password: &str) {
    browser.go("/ui/sign-in").await;
    browser
        .wait("document.activeElement?.id === 'username'")
        .await;
    browser.press(user).await;
    browser.press(TAB).await;
    browser.press(password).await;
    browser.press(ENTER).await;
    let is_in = format!("document.querySelector('#account .user')?.innerText === '{user}'");
    browser.wait(&is_in).await;
}

#[tokio::test]
async fn a_user_submits_cancels_and_repeats_builds() {
    let farm = farm_with_ann().await;
    let repository = Repository::of(&job("exit $((N == 2))"));
    let gate = repository.outside("gate");
    let browser = Browser::at(&farm, "/ui/").await;
    sign_in(&browser, "ann", PASSWORD).await;
    // The form says what is wrong, and focuses it.
    browser.go("/ui/submit").await;
    browser
        .wait("document.querySelector('form.card button')")
        .await;
    browser.click("form.card button[type=submit]").await;
    browser.wait_for_text("A URL is needed").await;
    browser.wait("document.activeElement?.name === 'url'").await;
    let url = format!("file://{}", repository.path().display());
    browser.press(&url).await;
    browser.press(ENTER).await;
    browser
        .wait("location.pathname.startsWith('/ui/builds/')")
        .await;
    browser
        .wait("document.querySelector('h1 .chip.failed')")
        .await;
    // Only what failed runs again.
    browser.click(".head .actions button:first-of-type").await;
    browser.wait("location.pathname === '/ui/builds/2'").await;
    browser.wait_for_text("1 atom: 1 failed").await;
    // Of another project no durations are known, so its atoms run in their order.
    let other = Repository::of(&job(format!(
        "test $N != 1 || exit 3; while [ ! -e '{}' ]; do sleep 0.05; done",
        gate.display()
    )));
    browser.go("/ui/submit").await;
    browser.wait("document.querySelector('[name=url]')").await;
    browser.click("[name=url]").await;
    let url = format!("file://{}", other.path().display());
    browser.press(&url).await;
    browser.press(ENTER).await;
    browser.wait_for_text("1 failed, 2 running").await;
    browser.click(".head .actions button.danger").await;
    browser.click("dialog button.danger").await;
    browser
        .wait("document.querySelector('h1 .chip.canceled')")
        .await;
    // What failed before is still told, and can run again.
    browser
        .wait_for_text("4 atoms: 1 failed, 2 canceled, 1 not run")
        .await;
    browser
        .wait("document.querySelector('.head .actions button').innerText === 'Retry failed'")
        .await;
    browser.click(".head .actions button:first-of-type").await;
    browser.wait("location.pathname === '/ui/builds/4'").await;
    browser.wait_for_text("1 atom: 1 failed").await;
    browser
        .wait("document.querySelector('h1 .chip.failed')")
        .await;
    let builds = farm.client().builds().await.unwrap();
    let statuses: Vec<BuildStatus> = builds.iter().map(|build| build.status).collect();
    let expected = [
        BuildStatus::Finished,
        BuildStatus::Finished,
        BuildStatus::Canceled,
        BuildStatus::Finished,
    ];
    assert_eq!(statuses, expected);
    // After signing out nothing is offered any more.
    browser.click("#account button").await;
    browser
        .wait("!document.querySelector('.head .actions button')")
        .await;
    browser.wait_for_text("Sign in").await;
    browser.ends_content(&[]).await;
}

#[tokio::test]
async fn a_link_opens_the_page_with_the_rights_of_the_secret() {
    let farm = Farm::start(&[1]).await;
    let request = Raw::json(
        "POST",
        &farm.master_address(),
        "/v2/session/link",
        &json!({}),
    );
    let answer = request.send(&request.signature(&farm.secret())).await;
    let link = answer.body["link"].as_str().unwrap().to_owned();
    let path = format!("/ui/slaves#link={link}");
    let browser = Browser::at(&farm, &path).await;
    browser
        .wait("document.querySelector('#account .user')?.innerText === 'clusterrunner'")
        .await;
    // The link is not in the address any more, and the address is shown.
    assert_eq!(browser.run("return location.hash").await, "");
    browser
        .wait("document.querySelector('[data-act$=\" drain\"]')")
        .await;
    browser.click("[data-act$=' drain']").await;
    browser.wait_for_text("Drained").await;
    assert!(farm.client().slaves().await.unwrap()[0].is_drained);
    browser.click("[data-act$=' undrain']").await;
    browser.wait_for_text("Idle").await;
    browser.ends_content(&[]).await;
    // It is good once.
    let browser = Browser::at(&farm, &path).await;
    browser.wait_for_text("was followed before").await;
    browser.ends_content(&["401 (Unauthorized)"]).await;
}
