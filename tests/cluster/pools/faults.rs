//! Providers that fail, and slaves that never appear.

use super::{QUICK, Swept, local_provider, number_of, repository, wait_for_nothing, wait_for_pool};
use crate::farm::Farm;
use crate::wait::wait_for;
use std::fs;
use std::path::Path;

/// A provider that writes down what it is asked to start and lists that, without ever starting a slave. It fails while there
/// is a file `broken`.
fn scripts(directory: &Path) -> String {
    fs::create_dir(directory).unwrap();
    let shown = directory.display();
    let broken = format!("[ ! -e {shown}/broken ] || {{ echo 'no quota left' >&2; exit 1; }}");
    let name = r#"sed 's/.*\"name\":\"\([^\"]*\)\".*/\1/'"#;
    for (script, does) in [
        ("start", format!("{broken}\n{name} >>{shown}/asked\n")),
        (
            "stop",
            format!("cat >>{shown}/stopped\nmv {shown}/asked {shown}/before\n"),
        ),
        (
            "list",
            format!(
                "printf '{{\"slaves\": ['\nif [ -e {shown}/asked ]; then\n\
                 sed 's/.*/{{\"name\": \"&\", \"state\": \"running\"}}/' {shown}/asked | paste -sd,\nfi\necho ']}}'\n"
            ),
        ),
    ] {
        fs::write(directory.join(script), does).unwrap();
    }
    let line = |what: &str| format!("{what}_command = sh {shown}/{what}\n");
    ["start", "stop", "list"].map(line).concat()
}

#[tokio::test]
async fn a_slave_that_never_appears_is_given_up_and_said_so() {
    let mut farm = Farm::new();
    let _swept = Swept::of(&farm);
    let scripts = scripts(&farm.path("pool"));
    let quick = QUICK.replace("start_timeout = 60", "start_timeout = 3");
    farm.add_settings(&format!(
        "[pool never]\nprovider = command\nmax_slaves = 1\n{quick}{scripts}"
    ));
    farm.start_master().await;
    let work = repository(1, "0");
    let build = farm.submit(&work.request()).await;
    let given_up = wait_for_pool(&farm, "it is given up", |pool| pool.failed > 0).await;
    let failure = given_up.last_failure.unwrap().message;
    assert!(
        failure.contains("no slave has joined within 3 s"),
        "{failure}"
    );
    wait_for("the provider was told to end it", async || {
        let stopped = fs::read_to_string(farm.path("pool/stopped")).unwrap_or_default();
        let is_told = number_of("POOL_SLAVE_ENDED", &farm) > 0;
        (is_told && stopped.contains("\"name\":\"cr-")).then_some(())
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    // What was started in the meantime is given up as well, and nothing more comes.
    wait_for_nothing(&farm).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_longer_and_longer_and_tried_again() {
    let mut farm = Farm::new();
    let _swept = Swept::of(&farm);
    let provider = local_provider(&farm);
    let broken = farm.path("broken");
    fs::write(&broken, "").unwrap();
    let refuse = format!(
        "[ ! -e {} ] || {{ echo 'no quota left' >&2; exit 1; }}; ",
        broken.display()
    );
    let provider = provider.replace("start_command = \"", &format!("start_command = \"{refuse}"));
    farm.add_settings(&format!(
        "[pool poor]\nprovider = command\nmax_slaves = 1\n{QUICK}{provider}"
    ));
    farm.start_master().await;
    let work = repository(2, "0");
    let build = farm.submit(&work.request()).await;
    let paused = wait_for_pool(&farm, "it has failed twice", |pool| pool.failed >= 2).await;
    assert_eq!(paused.reason, "paused");
    assert!(paused.why.contains("2 failures in a row"), "{}", paused.why);
    assert!(paused.why.contains("no quota left"), "{}", paused.why);
    // Nobody but operators reads what tools of a provider complain of.
    let open = format!("http://{}/v2/pools", farm.master_address());
    let open = reqwest::get(open).await.unwrap().text().await.unwrap();
    assert!(
        open.contains("\"paused\"") && !open.contains("quota"),
        "{open}"
    );
    assert!(
        number_of("POOL_SLAVE_FAILED", &farm) <= 3,
        "it is not asked again and again"
    );
    fs::remove_file(broken).unwrap();
    farm.end_of(build).await.passes();
    wait_for_nothing(&farm).await;
}
