//! How views look to those who see little, use a keyboard, or have a small screen: by own checks of the real document.

use super::browser::Browser;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use serde_json::json;

/// What is wrong with the present view, as a list of texts.
const CHECKS: &str = include_str!("looks.js");

#[tokio::test]
async fn all_views_can_be_read_in_both_schemes_at_all_widths() {
    let farm = Farm::start(&[2]).await;
    let long = "a/very/long/path/of/a/test/that/has/no/place/to/break_".repeat(6);
    let print = format!("printf '%s\\n' short {long} 'three words here'");
    let job = job(
        "echo \"$N\"; printf '\\033[31mred\\033[0m \\033[34mblue\\033[0m\\n'; [ \"$N\" = short ]",
    )
    .atomizer(print)
    .setup("echo set up");
    let repository = Repository::of(&job);
    let over = farm.run(&repository.request()).await;
    let mut wrong = repository.request();
    wrong["branch"] = format!("no-such-branch-{}", "x".repeat(200)).into();
    farm.run(&wrong).await;
    let build = format!("/ui/builds/{}", over.id);
    let console = format!("{build}/subjobs/1/atoms/0");
    let views = [
        ("/ui/", "document.querySelectorAll('.build').length === 2"),
        (&build, "document.querySelectorAll('.tail .text').length"),
        (&console, "document.querySelector('.line')"),
        ("/ui/slaves", "document.querySelector('.slave')"),
        ("/ui/sign-in", "document.querySelector('#password')"),
        ("/ui/submit", "document.querySelector('h1')"),
        ("/ui/nowhere", "document.querySelector('main h1')"),
    ];
    let browser = Browser::at(&farm, "/ui/").await;
    for (path, is_there) in views {
        browser.go(path).await;
        browser.wait(is_there).await;
        for (scheme, width) in [("light", 1440), ("dark", 360)] {
            browser.prefers(scheme).await;
            browser.size(width, 800).await;
            let wrong = browser.run(CHECKS).await;
            assert_eq!(wrong, json!([]), "{path} {scheme} {width}");
        }
    }
    browser.ends_content(&[]).await;
}
