//! A pool of a real Slurm.

use super::slurm_cluster::SlurmCluster;
use super::{
    QUICK, Swept, number_of, pool, repository, settings_of_slaves, wait_for_nothing, wait_for_pool,
};
use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::program::clusterrunner;
use crate::repository::Repository;
use crate::skipping::{Lacks, skip};
use crate::wait::{wait_for, wait_for_at_most};
use clusterrunner_common::api::BuildStatus;
use std::time::Duration;

/// A farm with a pool of the cluster.
fn farm(slurm: &SlurmCluster, more: &str) -> Farm {
    let mut farm = Farm::new();
    farm.add_settings(&format!(
        "[pool slurm]\nprovider = slurm\npartition = test\n{QUICK}slave_command = \"{} slave -c {}\"\n{more}\n",
        clusterrunner().display(),
        settings_of_slaves(&farm).display()
    ));
    // The master finds the cluster by its environment.
    let settings = format!("SLURM_CONF={}", slurm.settings().display());
    farm.wrap("master", vec!["/usr/bin/env".to_owned(), settings]);
    farm
}

async fn cluster(processors: u32) -> Option<SlurmCluster> {
    if !SlurmCluster::is_possible() {
        skip(Lacks::Slurm);
        return None;
    }
    Some(SlurmCluster::start(processors).await)
}

/// No job is left that is not over, and no process of a slave.
async fn wait_until_gone(farm: &Farm, slurm: &SlurmCluster) {
    wait_for_nothing(farm).await;
    wait_for("no job is left", async || {
        slurm.jobs().is_empty().then_some(())
    })
    .await;
    let slaves = processes::with_text(&farm.path("slaves.conf").display().to_string());
    assert!(slaves.is_empty(), "{slaves:?}");
}

#[tokio::test]
async fn slurm_gives_slaves_for_a_build_and_takes_them_back_though_the_master_is_killed() {
    let Some(slurm) = cluster(4).await else {
        return;
    };
    let mut farm = farm(&slurm, "max_slaves = 2\nexecutors = 2\nlabels = hpc");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let repository = repository(60, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    let jobs = slurm.jobs();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(
        jobs.iter().all(|(_, _, name)| name.starts_with("cr-")),
        "{jobs:?}"
    );
    farm.kill_master();
    farm.start_master().await;
    wait_for_pool(&farm, "both are adopted", |pool| pool.slaves.len() == 2).await;
    assert_eq!(slurm.jobs(), jobs, "no job is submitted twice");
    let view = farm.end_of(build).await.passes();
    assert_eq!(view.num_atoms_completed, 60);
    wait_until_gone(&farm, &slurm).await;
    assert_eq!(number_of("POOL_SLAVE_STARTED", &farm), 2);
}

#[tokio::test]
async fn jobs_whose_slave_is_killed_are_replaced_and_their_work_runs_again() {
    let Some(slurm) = cluster(4).await else {
        return;
    };
    let mut farm = farm(&slurm, "max_slaves = 1");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let repository = repository(20, "0.5");
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "the slave works", |pool| pool.busy == 1).await;
    let (id, ..) = slurm.jobs().remove(0);
    // The guardian of the slave ends its atoms, and the script its job.
    let slaves = farm.path("slaves.conf").display().to_string();
    processes::kill_with_text(&slaves);
    wait_for("another job is there", async || {
        let jobs = slurm.jobs();
        jobs.iter().any(|(other, ..)| *other != id).then_some(())
    })
    .await;
    let view = farm.end_of(build).await.passes();
    assert_eq!((view.num_atoms_completed, view.num_atoms_failed), (20, 0));
    wait_until_gone(&farm, &slurm).await;
}

#[tokio::test]
async fn a_queue_that_does_not_move_is_said_so_and_not_flooded() {
    let Some(slurm) = cluster(2).await else {
        return;
    };
    let quick = "max_slaves = 4\nexecutors = 2\noptions = --hold";
    let mut farm = farm(&slurm, quick);
    let _swept = Swept::of(&farm);
    let settings = std::fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let settings = settings.replace("start_timeout = 60", "start_timeout = 4");
    std::fs::write(farm.path("base/clusterrunner.conf"), settings).unwrap();
    farm.start_master().await;
    let work = repository(100, "1");
    let build = farm.submit(&work.request()).await;
    let stands = wait_for_pool(&farm, "it is said", |pool| pool.reason == "queue_stands").await;
    assert!(stands.why.contains("JobHeldUser"), "{}", stands.why);
    assert_eq!(stands.queued, 4, "{stands:?}");
    assert_eq!(slurm.jobs().len(), 4);
    assert_eq!(stands.failed, 0);
    // Once the build is gone the jobs are taken back out of the queue.
    farm.client().cancel(build).await.unwrap();
    wait_until_gone(&farm, &slurm).await;
}

#[tokio::test]
async fn a_controller_that_is_away_costs_nothing_that_runs() {
    let Some(mut slurm) = cluster(4).await else {
        return;
    };
    let mut farm = farm(&slurm, "max_slaves = 2\ncommand_timeout = 10");
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let small = repository(1, "0");
    let first = farm.submit(&small.request()).await;
    farm.end_of(first).await.passes();
    let work = repository(30, "0.5");
    let build = farm.submit(&work.request()).await;
    wait_for_pool(&farm, "both slaves work", |pool| pool.busy == 2).await;
    slurm.stop_controller();
    let away = wait_for_pool(&farm, "it is noticed", |pool| pool.reason == "paused").await;
    assert!(away.why.contains("squeue"), "{}", away.why);
    // What runs goes on and is idle and ended, all without the controller.
    farm.end_of(build).await.passes();
    wait_for("the slaves are ended", async || {
        let slaves = farm.client().slaves().await.unwrap();
        slaves.iter().all(|slave| !slave.is_alive).then_some(())
    })
    .await;
    slurm.start_controller().await;
    // It is listed again soon, but what starts slaves may pause for longer.
    wait_for_at_most(Duration::from_secs(180), "all is over", async || {
        let pool = pool(&farm).await;
        (pool.slaves.is_empty() && pool.reason == "nothing").then_some(())
    })
    .await;
    let last = farm.submit(&small.request()).await;
    farm.end_of(last).await.passes();
    wait_until_gone(&farm, &slurm).await;
}

/// A slave ends before the time limit of its job: what it can finish it finishes, and what it can not runs elsewhere and is
/// not blamed.
#[tokio::test]
async fn a_slave_ends_before_the_time_limit_of_its_job() {
    let Some(slurm) = cluster(4).await else {
        return;
    };
    let limit = "max_slaves = 1\ntime_limit = 1\ndrain_before = 30";
    let mut farm = farm(&slurm, limit);
    let _swept = Swept::of(&farm);
    farm.start_master().await;
    let repository = Repository::of(&job("sleep 4").atomizer("seq 1 20"));
    let build = farm.submit(&repository.request()).await;
    wait_for_pool(&farm, "the slave works", |pool| pool.busy == 1).await;
    let (first, ..) = slurm.jobs().remove(0);
    wait_for_at_most(
        Duration::from_secs(150),
        "another job takes over",
        async || {
            let jobs = slurm.jobs();
            jobs.iter().any(|(id, ..)| *id != first).then_some(())
        },
    )
    .await;
    let over = wait_for_at_most(Duration::from_secs(150), "the build is over", async || {
        let view = farm.client().build(build).await.unwrap();
        (view.status == BuildStatus::Finished).then_some(view)
    })
    .await;
    assert_eq!((over.num_atoms_completed, over.num_atoms_failed), (20, 0));
    // The slave went in order: no atom was cut off.
    let subjobs = farm.subjobs(build).await;
    assert_eq!(subjobs.len(), 20);
    wait_until_gone(&farm, &slurm).await;
}
