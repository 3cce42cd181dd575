//! What people do with the page.

use super::browser::{Browser, ENTER};
use crate::farm::{Extra, Farm};
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomState;
use std::fs;

/// What the browser says of requests while nobody listens at the master's port.
const NOBODY_THERE: &[&str] = &["net::ERR_", "Failed to load resource"];

/// Each look is at the same document: a mark on its window is still there at the end.
#[tokio::test]
async fn a_build_is_watched_from_the_queue_to_its_end_without_a_reload() {
    let mut farm = Farm::new();
    farm.start_master().await;
    let browser = Browser::at(&farm, "/").await;
    browser.grants_messages().await;
    browser.run("window.isFirst = true").await;
    browser.wait_for_text("No builds yet").await;
    let repository = Repository::of(&job("true"));
    let gate = repository.outside("gate");
    repository.commit_job(
        &job(format!(
            "echo begun; while [ ! -e '{}' ]; do sleep 0.05; done; test $N != 3",
            gate.display()
        ))
        .atoms(4),
    );
    let build = farm.submit(&repository.request()).await;
    // A new build appears by itself.
    let link = format!("a[href='/ui/builds/{build}']");
    browser
        .wait(&format!("document.querySelector(\"{link}\")"))
        .await;
    browser.click(&link).await;
    browser
        .wait("document.querySelector('h1 .chip')?.innerText.includes('Waiting')")
        .await;
    farm.start_slave(2);
    browser
        .wait("document.querySelector('h1 .chip.running')")
        .await;
    browser.wait_for_text("4 atoms: 2 running, 2 waiting").await;
    browser
        .wait("document.querySelectorAll('.windowed .chip.running').length === 2")
        .await;
    browser.wait("document.title.startsWith('Running: ')").await;
    // Each message of the browser is noted on its way.
    let note = "window.told = []; window.Notification = new Proxy(window.Notification, \
                {construct: (real, said) => { told.push(said[0]); return new real(...said); }})";
    browser.run(note).await;
    browser.click(".head button[aria-pressed='false']").await;
    browser
        .wait("document.querySelector(\".head button[aria-pressed='true']\")")
        .await;
    fs::write(&gate, "").unwrap();
    browser
        .wait("document.querySelector('h1 .chip.failed')")
        .await;
    browser.wait_for_text("4 atoms: 1 failed, 3 passed").await;
    browser.wait_for_text("1 failed atom").await;
    browser.wait("document.title.startsWith('Failed: ')").await;
    browser
        .wait("document.querySelectorAll('.windowed .chip.passed').length === 3")
        .await;
    // The waterfall has colours, so something is drawn.
    let colours = "(() => { const c = document.querySelector('canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
                   const seen = new Set(); for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return seen.size; })() > 4";
    browser.wait(colours).await;
    assert_eq!(browser.run("return window.isFirst").await, true);
    let told = browser.run("return window.told").await;
    assert_eq!(told, serde_json::json!([format!("Build {build} failed")]));
    browser.ends_content(&[]).await;
    farm.end_of(build).await.fails(&[(3, 1)]);
}

/// The mouse is not used.
#[tokio::test]
async fn a_failing_atoms_console_is_opened_and_searched_by_keyboard() {
    let farm = Farm::start(&[2]).await;
    let command = "for i in $(seq 1 3000); do echo \"line $i of $N\"; done; printf '\\033[31mneedle\\033[0m in '; echo $N; exit $((N == 2))";
    let repository = Repository::of(&job(command));
    let over = farm.run(&repository.request()).await.fails(&[(2, 1)]);
    let browser = Browser::at(&farm, "/ui/").await;
    let build = format!("a[href='/ui/builds/{}']", over.id);
    browser
        .wait(&format!("document.querySelector(\"{build}\")"))
        .await;
    browser.tab_to(&build).await;
    browser.press(ENTER).await;
    let console = format!(
        ".failures a[href='/ui/builds/{}/subjobs/1/atoms/0']",
        over.id
    );
    browser
        .wait(&format!("document.querySelector(\"{console}\")"))
        .await;
    browser.wait_for_text("needle in 2").await;
    browser.tab_to(&console).await;
    browser.press(ENTER).await;
    // A failed atom's console begins at its end, in colour.
    browser
        .wait("document.querySelector('.line .fg-1')?.innerText === 'needle'")
        .await;
    browser.wait_for_text("3,001 lines").await;
    browser.press("/line 12").await;
    browser.wait_for_text("111 hits").await;
    browser
        .wait("document.querySelector('.line.hit .text')?.innerText.includes('line 12')")
        .await;
    browser.press(ENTER).await;
    browser.wait_for_text("111 lines, at no. 2").await;
    // A link to lines leads to them.
    let lines = format!("/ui/builds/{}/subjobs/1/atoms/0#L1500-L1502", over.id);
    browser.go("/ui/").await;
    browser.go(&lines).await;
    browser
        .wait("document.querySelectorAll('.line.marked').length === 3")
        .await;
    browser
        .wait("document.querySelector('.line.marked .text')?.innerText === 'line 1500 of 2'")
        .await;
    browser.ends_content(&[]).await;
}

#[tokio::test]
async fn a_page_finds_its_master_again_after_a_restart() {
    let mut farm = Farm::start(&[1]).await;
    let repository = Repository::of(&job("true"));
    let gate = repository.outside("gate");
    repository.commit_job(
        &job(format!(
            "while [ ! -e '{}' ]; do sleep 0.05; done",
            gate.display()
        ))
        .atoms(1),
    );
    let build = farm.submit(&repository.request()).await;
    let browser = Browser::at(&farm, &format!("/ui/builds/{build}")).await;
    browser.run("window.isFirst = true").await;
    browser
        .wait("document.querySelector('h1 .chip.running')")
        .await;
    farm.stop_master();
    browser.wait_for_text("The master does not answer").await;
    farm.start_master().await;
    browser
        .wait("!document.body.innerText.includes('The master does not answer')")
        .await;
    fs::write(&gate, "").unwrap();
    browser
        .wait("document.querySelector('h1 .chip.passed')")
        .await;
    assert_eq!(browser.run("return window.isFirst").await, true);
    browser.ends_content(NOBODY_THERE).await;
}

/// What an atom prints is there while it runs, at the end of the console, until the reader goes elsewhere.
#[tokio::test]
async fn a_console_is_followed_while_its_atom_runs() {
    let farm = Farm::start(&[1]).await;
    let repository = Repository::of(&job("true"));
    let gate = repository.outside("gate");
    let command = format!(
        "seq 1 500; while [ ! -e '{}' ]; do sleep 0.05; done; seq 501 1000; echo the end",
        gate.display()
    );
    repository.commit_job(&job(command).atoms(1));
    let build = farm.submit(&repository.request()).await;
    farm.wait_for_build(build, "its atom is known", |build| build.num_subjobs == 1)
        .await;
    let path = format!("/ui/builds/{build}/subjobs/0/atoms/0");
    let browser = Browser::at(&farm, &path).await;
    browser.wait_for_text("500 lines").await;
    browser
        .wait("[...document.querySelectorAll('.line .text')].at(-1)?.innerText === '500'")
        .await;
    fs::write(&gate, "").unwrap();
    browser.wait_for_text("1,001 lines").await;
    browser
        .wait("[...document.querySelectorAll('.line .text')].at(-1)?.innerText === 'the end'")
        .await;
    // Only what is in sight are elements.
    let lines = browser
        .run("return document.querySelectorAll('.line').length")
        .await;
    assert!(lines.as_u64().unwrap() < 300, "{lines} lines are elements");
    browser.ends_content(&[]).await;
}

#[tokio::test]
async fn an_atom_that_never_ran_says_so_once_its_build_is_over() {
    let farm = Farm::start(&[1]).await;
    let repository = Repository::of(&job("test $N != 1 || exit 3; sleep 600").atoms(4));
    let build = farm.submit(&repository.request()).await;
    let browser = Browser::at(&farm, &format!("/ui/builds/{build}")).await;
    browser.wait_for_text("1 failed, 1 running").await;
    // Starts come with the next word of the slave, up to a second later.
    wait_for("the start of the atom that runs is known", async || {
        let atoms = farm.atoms(build).await.into_iter();
        let mut begun = atoms.filter(|atom| atom.started_at.is_some());
        begun.find(|atom| atom.exit_code.is_none()).map(drop)
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    browser
        .wait("document.querySelector('h1 .chip.canceled')")
        .await;
    browser
        .wait("[...document.querySelectorAll('.windowed .chip')].at(-1)?.innerText === 'Not run'")
        .await;
    // What was cut off has a bar from its start to the end of the build.
    let atoms = farm.atoms(build).await;
    let cut_off = atoms.iter().find(|atom| atom.state == AtomState::Canceled);
    let cut_off = cut_off.unwrap();
    assert!(cut_off.started_at.is_some() && cut_off.executor_id.is_some());
    let lasted = cut_off.actual_time.unwrap();
    assert!(lasted > 0.0 && lasted < 300.0, "{lasted}");
    browser
        .wait(&format!("{} > 50", pixels_of("bar-canceled")))
        .await;
    let path = format!("/ui/builds/{build}/subjobs/3/atoms/0");
    browser.go(&path).await;
    browser
        .wait_for_text("The build ended before this atom ran.")
        .await;
    let follow = "return [...document.querySelectorAll('button')].some((e) => e.innerText === 'Follow' && e.checkVisibility())";
    assert_eq!(browser.run(follow).await, false);
    // Nothing was asked for that is not there.
    browser.ends_content(&[]).await;
}

/// An expression that counts the pixels of the waterfall with a colour of the style.
fn pixels_of(colour: &str) -> String {
    format!(
        "(() => {{ const canvas = document.querySelector('.waterfall canvas'); const pen = document.createElement('canvas').getContext('2d', {{ willReadFrequently: true }}); \
         pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--{colour}').trim(); pen.fillRect(0, 0, 1, 1); \
         const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data; \
         pen.canvas.width = canvas.width; pen.canvas.height = canvas.height; pen.drawImage(canvas, 0, 0); \
         const seen = pen.getImageData(0, 0, canvas.width, canvas.height).data; let found = 0; \
         for (let at = 0; at < seen.length; at += 4) if (seen[at] === red && seen[at + 1] === green && seen[at + 2] === blue) found += 1; \
         return found; }})()"
    )
}

/// An atom that passes when it is run again is neither passed nor failed, and what it printed first is still there.
#[tokio::test]
async fn a_flaky_atom_is_told_apart_and_its_first_attempt_can_be_read() {
    let farm = Farm::start(&[1, 1]).await;
    let repository = Repository::of(&job("true"));
    let once = repository.outside("once");
    let command = format!(
        "echo \"$N begins\"; [ $N != 2 ] || {{ [ ! -e '{0}' ] || exec sleep 0.3; touch '{0}'; echo 'no luck'; sleep 0.3; exit 3; }}",
        once.display()
    );
    repository.commit_job(&job(command).atoms(3).with("retries", 1));
    let over = farm.run(&repository.request()).await.passes();
    let browser = Browser::at(&farm, "/ui/").await;
    browser.wait_for_text("3 atoms, 1 flaky").await;
    browser.go(&format!("/ui/builds/{}", over.id)).await;
    browser.wait_for_text("3 atoms: 1 flaky, 2 passed").await;
    browser
        .wait("document.querySelector('.bar .flaky') && document.querySelector('.windowed .chip.flaky')?.innerText === 'Flaky'")
        .await;
    // The attempt that failed has a bar of its own.
    browser
        .wait(&format!("{} > 0", pixels_of("bar-failed")))
        .await;
    browser
        .wait(&format!("{} > 0", pixels_of("bar-flaky")))
        .await;
    browser
        .run("document.querySelector('#atom-state').value = '2'; document.querySelector('#atom-state').dispatchEvent(new Event('change'))")
        .await;
    browser.wait_for_text("1 of 3 atoms").await;
    browser.click(".windowed td.wide a").await;
    browser
        .wait("document.querySelector('h1 .chip.flaky')")
        .await;
    browser.wait_for_text("attempt 2 of 2").await;
    browser.click(".attempts a").await;
    browser.wait_for_text("no luck").await;
    browser.wait_for_text("attempt 1 of 2").await;
    browser
        .wait("document.querySelector('h1 .chip.failed')")
        .await;
    browser.wait_for_text("exit code 3").await;
    browser.ends_content(&[]).await;
}

#[tokio::test]
async fn a_build_without_atoms_says_why_it_is_bad() {
    let farm = Farm::start(&[1]).await;
    farm.runs(&job("true").atoms(1)).await.passes();
    let over = farm.runs(&job("true").atomizer("true")).await;
    let browser = Browser::at(&farm, "/ui/").await;
    browser
        .wait("document.querySelectorAll('.build').length === 2")
        .await;
    // Both rows have their parts at the same places.
    let places = "return new Set([...document.querySelectorAll('.build .what')].map((e) => e.offsetLeft)).size";
    assert_eq!(browser.run(places).await, 1);
    browser.go(&format!("/ui/builds/{}", over.id)).await;
    browser.wait_for_text("allow_no_atoms: true").await;
    browser.wait_for_text("there is nothing to fetch").await;
    browser.ends_content(&[]).await;
}

#[tokio::test]
async fn an_unknown_build_leads_to_all_builds() {
    let mut farm = Farm::new();
    farm.start_master().await;
    let browser = Browser::at(&farm, "/ui/builds/99").await;
    browser.wait_for_text("There is no build 99.").await;
    browser.wait_for_text("All builds").await;
    let buttons = browser
        .run("return document.querySelectorAll('main button').length")
        .await;
    assert_eq!(buttons, 0);
    browser.ends_content(&["404 (Not Found)"]).await;
}

#[tokio::test]
async fn without_a_session_the_page_only_reads() {
    let farm = Farm::start(&[1]).await;
    let repository = Repository::of(&job("exit 1").atoms(1));
    let over = farm.run(&repository.request()).await.fails(&[(1, 1)]);
    let browser = Browser::at(&farm, &format!("/ui/builds/{}", over.id)).await;
    browser.wait_for_text("1 failed atom").await;
    let offered = "return [...document.querySelectorAll('button, a')].map((e) => e.innerText).filter((t) => /retry|cancel|submit a|drain|shut down/i.test(t))";
    assert_eq!(browser.run(offered).await, serde_json::json!([]));
    browser.go("/ui/slaves").await;
    browser.wait_for_text("1 slave in contact").await;
    browser.wait_for_text("Last heartbeat").await;
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    browser.wait_for_text(&version).await;
    browser.wait_for_text("Load of the last minute").await;
    browser
        .wait("document.querySelector('.load-chart rect')")
        .await;
    assert_eq!(browser.run(offered).await, serde_json::json!([]));
    browser.go("/ui/submit").await;
    browser
        .wait_for_text("Without an account one can only read.")
        .await;
    // What only accounts may see is asked for in vain.
    browser.go("/ui/users").await;
    browser.wait_for_text("Sign in to see this").await;
    browser.ends_content(&["401 (Unauthorized)"]).await;
}

#[tokio::test]
async fn where_reads_are_signed_the_page_asks_to_sign_in() {
    let mut farm = Farm::with(&Extra {
        general: "require_signed_reads = True",
        ..Extra::default()
    });
    farm.start_master().await;
    let browser = Browser::at(&farm, "/ui/").await;
    browser.wait_for_text("Sign in to see this").await;
    browser.ends_content(&["401 (Unauthorized)"]).await;
}
