//! The tests of a build, as people read them.

use super::browser::Browser;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use serde_json::json;

/// A shell's words that leave a report of tests: each atom a good one, and one that is not.
const REPORT: &str = r#"
case $N in
    one) bad="<testcase classname='deep.Parser' name='breaks'><failure message='1 is not 2'>at line 7</failure></testcase>" ;;
    two) bad="<testcase classname='deep.Parser' name='wavers'><flakyFailure message='sometimes'/></testcase>" ;;
    three) bad="<testcase classname='deep.Parser' name='waits'><skipped message='no network'/></testcase>" ;;
esac
echo "output of $N"
echo "<testsuite name='s'><testcase classname='deep.Lexer' name='adds $N' time='0.5'/>$bad</testsuite>" > "$ARTIFACT_DIR/junit.xml"
[ "$N" != one ]
"#;

/// The names of the tests that are listed, from the first.
const NAMES: &str =
    "return [...document.querySelectorAll('.failures details .strong')].map((e) => e.innerText)";

#[tokio::test]
async fn tests_are_listed_worst_first_and_lead_to_their_consoles() {
    let farm = Farm::start(&[1]).await;
    let job = job(REPORT).atomizer("printf '%s\\n' two one three");
    let repository = Repository::of(&job);
    let over = farm.run(&repository.request()).await.fails(&[("one", 1)]);
    let browser = Browser::at(&farm, &format!("/ui/builds/{}", over.id)).await;
    browser
        .wait("document.querySelector('.head .button')")
        .await;
    browser.click(".head .button").await;
    browser.wait_for_text("6 tests").await;
    let all = [
        "breaks",
        "wavers",
        "waits",
        "adds two",
        "adds one",
        "adds three",
    ];
    assert_eq!(browser.run(NAMES).await, json!(all));
    let states = "return [...document.querySelectorAll('.failures summary .chip')].slice(0, 4).map((e) => e.innerText)";
    let expected = json!(["Failed", "Flaky", "Skipped", "Passed"]);
    assert_eq!(browser.run(states).await, expected);
    browser.wait_for_text("1 is not 2").await;
    // One outcome, which the address has, so that it can be sent to somebody.
    browser
        .click("[aria-label=Outcome] button:nth-of-type(4)")
        .await;
    browser.wait_for_text("1 test").await;
    browser
        .wait("document.querySelectorAll('.failures details').length === 1")
        .await;
    assert_eq!(browser.run(NAMES).await, json!(["waits"]));
    let query = browser.run("return location.search").await;
    assert_eq!(query, "?outcome=skipped");
    browser
        .click("[aria-label=Outcome] button:nth-of-type(1)")
        .await;
    browser.wait_for_text("6 tests").await;
    // A text is looked for in names, classes and atoms.
    browser
        .run("document.querySelector('#test-text').focus()")
        .await;
    browser.press("parser").await;
    browser.wait_for_text("3 tests").await;
    assert_eq!(browser.run(NAMES).await, json!(all[..3]));
    browser.click(".failures details a").await;
    browser
        .wait("location.pathname.endsWith('/subjobs/1/atoms/0')")
        .await;
    browser.wait_for_text("output of one").await;
    browser.ends_content(&[]).await;
}
