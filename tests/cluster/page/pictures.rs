//! All views as they look on a farm with work, in both schemes and at both widths. Where the variable
//! `CLUSTERRUNNER_PICTURES` names a directory, such as `docs/images`, each is kept there.

use super::browser::Browser;
use super::signed_in::{PASSWORD, sign_in};
use crate::farm::Farm;
use crate::job::job;
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::WantedJobs;
use serde_json::json;
use std::fs;

/// What is wrong with the present view, as a list of texts.
const CHECKS: &str = include_str!("looks.js");

/// The atoms: files of tests.
const ATOMS: &str = "for part in account basket checkout delivery invoices login prices search; do \
                     for kind in api model view; do echo \"tests/$part/test_$kind.py\"; done; done";

/// What an atom does: a file `good` lets all pass, one `gate` ends what waits. Only then one fails and one is flaky.
const COMMAND: &str = r#"
printf '\033[1mcollected 2 tests of %s\033[0m\n' "$N"
[ ! -e STATE/slow ] || case $N in *model*|*search*) while [ ! -e STATE/gate ]; do sleep 0.05; done ;; esac
sleep "0.$(printf %s "$N" | cksum | cut -c2-3)"
code=0 failed=
[ -e STATE/good ] || case $N in
    tests/checkout/test_api.py)
        printf 'test_total \033[31mFAILED\033[0m\n\n    def test_total():\n>       assert total(basket) == 42\n\033[31mE       assert 41 == 42\033[0m\n'
        code=1 failed="<failure message='assert 41 == 42'/>" ;;
    tests/search/test_view.py)
        [ -e STATE/once ] || { touch STATE/once; echo 'test_total: the connection was reset'; code=1; } ;;
esac
[ $code = 1 ] || printf 'test_total \033[32mpassed\033[0m\n'
printf 'test_names \033[32mpassed\033[0m\n'
class=$(echo "${N%.py}" | tr / .)
echo "<testsuite name='s'><testcase classname='$class' name='test_total' time='0.1'>$failed</testcase><testcase classname='$class' name='test_names' time='0.02'/></testsuite>" >"$ARTIFACT_DIR/junit.xml"
exit $code
"#;

/// A farm that has passed a build of a project `shop`, failed the next, and runs a third one until a file `gate` is there.
struct Shop {
    farm: Farm,
    repository: Repository,
    failed: u64,
    runs: u64,
}

impl Shop {
    async fn open() -> Self {
        let farm = Farm::start(&[4, 4]).await;
        let ann = json!({"name": "ann", "password": PASSWORD, "is_superuser": true});
        let request = Raw::json("POST", &farm.master_address(), "/v1/users", &ann);
        let answer = request.send(&request.signature(&farm.secret())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let repository = Repository::empty();
        let state = repository.outside("state");
        fs::create_dir(&state).unwrap();
        let command = COMMAND.replace("STATE", &state.display().to_string());
        let job = job(command)
            .atomizer(ATOMS)
            .setup("echo 'Installing what the tests need'")
            .with("retries", 1);
        let jobs = job.to_string().replacen("Job", "Unit tests", 1);
        repository.commit(&[("clusterrunner.yaml", &jobs)]);
        // Its name is that of the project.
        let shop = repository.outside("shop");
        repository.git(&["clone", "--quiet", "--bare", ".", shop.to_str().unwrap()]);
        let request = json!({"type": "git", "url": shop, "branch": "main"});
        fs::write(state.join("good"), "").unwrap();
        farm.run(&request).await.passes();
        fs::remove_file(state.join("good")).unwrap();
        let failed = farm.run(&request).await;
        assert_eq!(
            (failed.num_atoms_failed, failed.num_atoms_flaky),
            (1, Some(1))
        );
        fs::write(state.join("good"), "").unwrap();
        fs::write(state.join("slow"), "").unwrap();
        let runs = farm.submit(&request).await;
        Self {
            failed: failed.id.0,
            runs: runs.0,
            farm,
            repository,
        }
    }

    async fn close(self) {
        fs::write(self.repository.outside("state").join("gate"), "").unwrap();
        self.farm
            .end_of(clusterrunner_common::ids::BuildId(self.runs))
            .await
            .passes();
    }
}

async fn look(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        for width in [1440, 360] {
            browser.prefers(scheme).await;
            browser.size(width, 900).await;
            let wrong = browser.run(CHECKS).await;
            assert_eq!(wrong, json!([]), "{name} {scheme} {width}");
            let height = "return Math.min(document.querySelector('main').scrollHeight + 60, 1100)";
            let height = browser.run(height).await.as_u64().unwrap();
            let height = u32::try_from(height).unwrap();
            browser
                .picture(&format!("{name}-{scheme}-{width}"), height)
                .await;
        }
    }
    browser.size(1440, 900).await;
}

#[tokio::test]
async fn all_views_look_well_on_a_farm_with_work() {
    let shop = Shop::open().await;
    let browser = Browser::at(&shop.farm, "/ui/sign-in").await;
    browser.wait("document.querySelector('#password')").await;
    look(&browser, "sign-in").await;
    sign_in(&browser, "ann", PASSWORD).await;
    let failed = format!("/ui/builds/{}", shop.failed);
    let runs = format!("/ui/builds/{}", shop.runs);
    let atoms = browser
        .run(&format!(
            "return fetch('/v2/builds/{}/atoms').then((answer) => answer.json()).then(({{ rows }}) => rows.find((row) => row[3].includes('checkout/test_api')).slice(0, 2))",
            shop.failed
        ))
        .await;
    let number = |at: usize| atoms[at].as_u64().unwrap();
    let console = format!("{failed}/subjobs/{}/atoms/{}", number(0), number(1));
    let tests = format!("{failed}/tests");
    let views = [
        (
            "build-running",
            &*runs,
            "document.querySelectorAll('.windowed .chip.running').length && document.querySelectorAll('.windowed .chip.passed').length",
        ),
        (
            "builds",
            "/ui/",
            "document.querySelectorAll('.build').length === 3",
        ),
        (
            "slaves",
            "/ui/slaves",
            "document.querySelector('.running-now') && document.querySelector('.load-chart rect')",
        ),
        (
            "build-failed",
            &failed,
            "document.querySelector('.tail .text') && document.querySelector('.windowed .chip.flaky')",
        ),
        (
            "console",
            &console,
            "document.querySelectorAll('.line').length > 4",
        ),
        (
            "tests",
            &tests,
            "document.querySelectorAll('.failures details').length > 10",
        ),
        (
            "projects",
            "/ui/projects",
            "document.querySelector('.project')",
        ),
        (
            "project",
            "/ui/projects/1",
            "document.querySelector('.badge-card img')?.complete && document.querySelectorAll('.build').length === 3",
        ),
        (
            "history",
            "/ui/history",
            "document.querySelector('.run.flaky')",
        ),
        (
            "submit",
            "/ui/submit",
            "document.querySelector('form.card button')",
        ),
        (
            "templates",
            "/ui/templates",
            "document.querySelector('.empty') && document.querySelector('main h1')?.textContent === 'Templates'",
        ),
        (
            "instances",
            "/ui/instances",
            "document.querySelector('.empty') && document.querySelector('main h1')?.textContent === 'Instances'",
        ),
        (
            "apps",
            "/ui/apps",
            "document.querySelector('.empty') && document.querySelector('main h1')?.textContent === 'Apps'",
        ),
        ("users", "/ui/users", "document.querySelector('td')"),
    ];
    let client = shop.farm.client();
    wait_for("the failed build counts", async || {
        let flaky = client.flaky(&WantedJobs::default(), 9).await.unwrap();
        (flaky.total > 0).then_some(())
    })
    .await;
    for (name, path, is_there) in views {
        browser.go(path).await;
        browser.wait(is_there).await;
        look(&browser, name).await;
    }
    browser.ends_content(&[]).await;
    shop.close().await;
}
