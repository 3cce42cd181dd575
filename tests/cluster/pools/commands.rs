//! A pool whose slaves are processes of this machine, by the example's script.

use super::{
    QUICK, Swept, local_provider, number_of, pool, repository, wait_for_nothing, wait_for_pool,
};
use crate::farm::Farm;
use crate::json_schema::Schema;
use crate::processes;
use crate::wait::wait_for;
use serde_json::Value;
use std::fs;

fn farm(more: &str) -> Farm {
    let farm = Farm::new();
    let provider = local_provider(&farm);
    farm.add_settings(&format!(
        "[pool local]\nprovider = command\n{QUICK}{provider}{more}\n"
    ));
    farm
}

#[tokio::test]
async fn slaves_come_for_a_build_and_go_when_it_is_over() {
    let mut farm = farm("max_slaves = 2\nlabels = here");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let at_once = farm.client().pools().await.unwrap().pools;
    assert_eq!(at_once.len(), 1, "a pool is shown before it is looked at");
    let before = wait_for_pool(&farm, "the provider has listed", |pool| {
        pool.reason == "nothing"
    })
    .await;
    assert_eq!((before.wanted_slaves, before.busy + before.idle), (0, 0));

    let repository = repository(16, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    let slaves = farm.client().slaves().await.unwrap();
    let alive: Vec<_> = slaves.iter().filter(|slave| slave.is_alive).collect();
    assert!(alive.iter().all(|slave| slave.labels.iter().eq(["here"])));
    let view = farm.end_of(build).await.passes();
    assert_eq!(view.num_atoms_completed, 16);

    wait_for_nothing(&farm).await;
    assert_eq!(number_of("POOL_SLAVE_STARTED", &farm), 2);
    assert_eq!(number_of("POOL_SLAVE_ENDED", &farm), 2);
    assert_eq!(number_of("POOL_SLAVE_FAILED", &farm), 0);
    let left = processes::with_text(&farm.path("pool").display().to_string());
    assert!(left.is_empty(), "{left:?}");
    // Nobody but the slave ever had its token, and no command line.
    let ran: usize = fs::read_to_string(repository.outside("log"))
        .unwrap()
        .lines()
        .count();
    assert_eq!(ran, 16, "no atom ran twice");
}

#[tokio::test]
async fn pools_are_shown_in_tables_lines_and_metrics() {
    let mut farm = farm("min_slaves = 1\nmax_slaves = 3\nexecutors = 2");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    wait_for_pool(&farm, "the least is there", |pool| pool.idle == 1).await;
    let run = |arguments: &'static [&'static str]| {
        let mut command = farm.command();
        command.args(arguments);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output()).await;
            let output = output.unwrap().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        }
    };
    let table = run(&["pools", "--slaves"]).await;
    assert!(
        table.contains("1 of 3") && table.contains("nothing waits; 1 slave is idle"),
        "{table}"
    );
    assert!(table.contains("cr-"), "{table}");
    let json: Value = serde_json::from_str(&run(&["pools", "--json"]).await).unwrap();
    Schema::documented().check("pools", &json).unwrap();
    assert_eq!(json["pools"][0]["slaves"][0]["state"], "idle");
    let shown = run(&["config", "show", "master"]).await;
    assert!(shown.contains("pool.local.max_slaves"), "{shown}");
    let metrics = reqwest::get(format!("http://{}/v1/metrics", farm.master_address())).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for line in [
        "pool_slaves{pool=\"local\",state=\"idle\"} 1",
        "pool_slaves{pool=\"local\",state=\"wanted\"} 1",
        "pool_executors_wanted{pool=\"local\"} 0",
        "pool_failures_total{pool=\"local\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // Ended by the settings: no slave is left when the farm goes.
    assert_eq!(pool(&farm).await.failed, 0);
    assert!(farm.stop_master().success());
    let settings = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let settings = settings.replace("min_slaves = 1", "min_slaves = 0");
    fs::write(farm.path("base/clusterrunner.conf"), settings).unwrap();
    farm.start_master().await;
    wait_for_nothing(&farm).await;
}

/// The master is killed while slaves start and while they work: what was started is found again, and nothing twice.
#[tokio::test]
async fn what_an_earlier_life_of_the_master_started_is_adopted() {
    let mut farm = farm("max_slaves = 2");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let repository = repository(24, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for("both are started", async || {
        let places = fs::read_dir(farm.path("pool"))
            .into_iter()
            .flatten()
            .flatten();
        let started = places.filter(|place| place.path().join("pid").exists());
        (started.count() == 2).then_some(())
    })
    .await;
    farm.kill_master();
    farm.start_master().await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    farm.kill_master();
    farm.start_master().await;
    let view = farm.end_of(build).await.passes();
    assert_eq!(view.num_atoms_completed, 24);
    wait_for_nothing(&farm).await;
    // One of them may not have been started yet when its master died.
    let ended = number_of("POOL_SLAVE_ENDED", &farm);
    assert_eq!(ended, 2, "each slave is ended once, and there were no more");
}
