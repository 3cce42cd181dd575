//! The projects of a farm, as people look at them.

use super::browser::Browser;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;

#[tokio::test]
async fn projects_show_their_builds_and_their_badges() {
    let farm = Farm::start(&[1]).await;
    let browser = Browser::at(&farm, "/ui/projects").await;
    browser.wait_for_text("No projects yet").await;
    let good = Repository::of(&job("true").atoms(1));
    let bad = Repository::of(&job("exit 1").atoms(1));
    farm.run(&bad.request()).await.fails(&[(1, 1)]);
    // A project appears by itself.
    browser
        .wait("document.querySelector('.project .chip.failed')")
        .await;
    let first = farm.run(&good.request()).await.passes();
    let last = farm.run(&good.request()).await.passes();
    browser.wait_for_text("2 projects").await;
    browser
        .wait(&format!(
            "document.querySelector(\".project a[href='/ui/builds/{}']\")",
            last.id
        ))
        .await;
    let states = "[...document.querySelectorAll('.project .chip')].map((e) => e.innerText).join()";
    browser.wait(&format!("{states} === 'Passed,Failed'")).await;
    browser.wait_for_text("of clusterrunner").await;
    browser.wait_for_text("2 builds").await;
    browser.click(".project a").await;
    browser
        .wait("document.querySelectorAll('.build').length === 2")
        .await;
    browser
        .wait("document.querySelector('.badge-card img')?.naturalWidth > 40")
        .await;
    let markdown = "return document.querySelector('.badge-card pre').innerText";
    let markdown = browser.run(markdown).await;
    let path = browser.run("return location.pathname").await;
    let id = path.as_str().unwrap().rsplit('/').next().unwrap();
    let text = markdown.as_str().unwrap();
    let origin = format!("http://{}", farm.master_address());
    let links = format!("]({origin}/v2/projects/{id}/badge.svg)]({origin}/ui/projects/{id})");
    assert!(text.starts_with("[![") && text.ends_with(&links), "{text}");
    // From a build back to its project.
    browser
        .click(&format!(".build a[href='/ui/builds/{}']", first.id))
        .await;
    browser
        .wait(&format!(
            "document.querySelector(\".crumbs a[href='/ui/projects/{id}']\")"
        ))
        .await;
    browser.go("/ui/projects/99").await;
    browser.wait_for_text("There is no project 99.").await;
    browser.ends_content(&["404 (Not Found)"]).await;
}
