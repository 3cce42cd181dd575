//! The pure modules of the page, each by its own cases in `modules.js`, in the browser that runs them for readers, too.

use super::browser::Browser;
use crate::farm::Farm;
use serde_json::json;

#[tokio::test]
async fn the_modules_of_the_page_do_what_they_say() {
    let mut farm = Farm::new();
    farm.start_master().await;
    let browser = Browser::at(&farm, "/ui/").await;
    browser.wait_for_text("No builds yet").await;
    let found = browser.run(include_str!("modules.js")).await;
    assert_eq!(found["failed"], json!([]), "{found:#}");
    assert_eq!(found["cases"], 117, "a case was not looked at");
    browser.ends_content(&[]).await;
}
