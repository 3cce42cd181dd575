//! The apps of a user on the page, while they change.

use super::browser::Browser;
use super::signed_in::sign_in;
use crate::deis::House;
use serde_json::json;

/// What is wrong with the present view, as a list of texts.
const CHECKS: &str = include_str!("looks.js");

async fn looks_well(browser: &Browser, name: &str) {
    for (scheme, width) in [("light", 1440), ("dark", 360)] {
        browser.prefers(scheme).await;
        browser.size(width, 800).await;
        let wrong = browser.run(CHECKS).await;
        assert_eq!(wrong, json!([]), "{name} {scheme} {width}");
        browser
            .picture(&format!("{name}-{scheme}-{width}"), 1500)
            .await;
    }
    browser.size(1440, 900).await;
}

/// The views are not loaded again: a mark on the window is still there at the end.
#[tokio::test]
async fn an_app_is_followed_from_its_first_release_to_its_end() {
    let house = House::with_slaves(1).await;
    let ann = house.user("ann").await;
    let browser = Browser::at(&house.farm, "/ui/apps").await;
    browser.wait_for_text("Sign in to see this").await;
    sign_in(&browser, "ann", "opensesame").await;
    browser.click("#sections a[href='/ui/apps']").await;
    browser.wait_for_text("No apps").await;
    browser.run("window.isFirst = true").await;
    looks_well(&browser, "no-apps").await;
    // Another user's app stays unseen.
    house
        .root
        .post("/v1/apps", json!({"id": "rome"}), 201)
        .await;
    ann.post("/v1/apps", json!({"id": "hill"}), 201).await;
    browser.wait_for_text("Not deployed").await;
    looks_well(&browser, "apps-before").await;
    browser.click("main a[href='/ui/apps/hill']").await;
    browser.wait_for_text("Nothing is deployed yet").await;
    let image = format!("{}:latest", house.template);
    ann.post("/v1/apps/hill/builds", json!({"image": image}), 201)
        .await;
    browser
        .wait("document.querySelector('h1 .chip.passed')")
        .await;
    browser.wait("document.title.startsWith('Up: hill')").await;
    browser.wait_for_text("web 1 of 1 up").await;
    let secret = "<b>a password</b>";
    ann.set(
        "hill",
        "values",
        json!({"GREETING": "hello", "SECRET": secret}),
    )
    .await;
    set(&browser, "input[name=worker]", "1").await;
    browser.click("form.scale button").await;
    // What a process prints is in the log, with the name of the process.
    browser.wait_for_text("worker.1 hello from v3").await;
    browser.wait_for_text("worker 1 of 1 up").await;
    browser.wait_for_text("ann added GREETING, SECRET").await;
    let text = browser.run("return document.body.innerText").await;
    let text = text.as_str().unwrap();
    assert!(text.contains("SECRET"), "{text}");
    assert!(!text.contains("a password"), "{text}");
    changes(&browser, secret).await;
    let domain = json!({"domain": "hill.example.net"});
    ann.post("/v1/apps/hill/domains", domain, 201).await;
    let link = "document.querySelector('dd a[href^=\"http://hill.example.net:\"]')?.innerText.startsWith('http://hill.example.net:')";
    browser.wait(link).await;
    looks_well(&browser, "app-domain").await;
    // From a process to its instance and back to all apps.
    browser.click("main th a[href^='/ui/instances/']").await;
    browser.wait_for_text("Instances / #").await;
    browser.click("#sections a[href='/ui/apps']").await;
    browser
        .wait("document.querySelector('td .chip.passed')")
        .await;
    looks_well(&browser, "apps").await;
    let text = browser.run("return document.body.innerText").await;
    let text = text.as_str().unwrap();
    assert!(text.contains("1 app") && !text.contains("rome"), "{text}");
    browser.click("main a[href='/ui/apps/hill']").await;
    browser.wait_for_text("worker 1 of 1 up").await;
    // An app that somebody else deletes is gone from both of its views by itself.
    ann.post("/v1/apps", json!({"id": "dale"}), 201).await;
    browser.click("#sections a[href='/ui/apps']").await;
    browser.click("main a[href='/ui/apps/dale']").await;
    browser.wait_for_text("Nothing is deployed yet").await;
    let gone = ann.send("DELETE", "/v1/apps/dale", None).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    browser.wait_for_text("There is no such app").await;
    browser.click("#sections a[href='/ui/apps']").await;
    browser.click("main a[href='/ui/apps/hill']").await;
    browser.wait_for_text("worker 1 of 1 up").await;
    browser.click(".head button.danger").await;
    browser.click("dialog button.danger").await;
    browser.wait_for_text("No apps").await;
    assert_eq!(ann.send("GET", "/v1/apps/hill", None).await.status, 404);
    assert_eq!(browser.run("return window.isFirst").await, true);
    browser
        .ends_content(&["401 (Unauthorized)", "404 (Not Found)", "409 (Conflict)"])
        .await;
}

/// Puts a text in place of what a field has.
async fn set(browser: &Browser, field: &str, text: &str) {
    let chosen = format!(
        "const field = document.querySelector({}); field.focus(); field.select()",
        json!(field)
    );
    browser.run(&chosen).await;
    browser.press(text).await;
}

/// Variables are seen once somebody asks for them, set, removed, and as they were in an earlier release; what can not be
/// is told in words.
async fn changes(browser: &Browser, secret: &str) {
    let values = "return [...document.querySelectorAll('.value')].map((e) => e.textContent)";
    assert_eq!(browser.run(values).await, json!([]));
    browser.click("#variables-title button").await;
    browser
        .wait("document.querySelectorAll('.value').length === 2")
        .await;
    assert_eq!(browser.run(values).await, json!(["hello", secret]));
    looks_well(browser, "app").await;
    browser.click("[aria-label='Change GREETING']").await;
    set(browser, "#variable-value", "good day").await;
    browser.click("form.variable button").await;
    browser.wait_for_text("worker.1 good day from v4").await;
    browser.wait_for_text("ann changed GREETING").await;
    assert_eq!(browser.run(values).await, json!(["good day", secret]));
    set(browser, "#variable-name", "A B").await;
    browser.click("form.variable button").await;
    browser.wait_for_text("A name has no blanks").await;
    browser.click("[aria-label='Remove SECRET']").await;
    browser.click("dialog button.danger").await;
    browser.wait_for_text("ann deleted SECRET").await;
    browser
        .wait("document.querySelectorAll('.value').length === 1")
        .await;
    browser.click("[aria-label='Roll back to v3']").await;
    browser.click("dialog button.danger").await;
    browser.wait_for_text("worker.1 hello from v6").await;
    browser
        .wait("document.querySelectorAll('.value').length === 2")
        .await;
    browser.click("#variables-title button").await;
    assert_eq!(browser.run(values).await, json!([]));
    browser.wait_for_text("worker 1 of 1 up").await;
    // The words of the master, where it says no.
    set(browser, "input[name=worker]", "1000").await;
    browser.click("form.scale button").await;
    browser.wait_for_text("An app may have").await;
    browser
        .run("document.querySelector('.scale').reset()")
        .await;
}
