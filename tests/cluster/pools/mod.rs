//! Slaves on demand: builds for which there are no slaves until they wait.

mod api_double;
mod commands;
mod faults;
mod kubernetes;
mod slurm;
mod slurm_cluster;

use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::program::clusterrunner;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::pools::PoolView;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// How soon pools of tests do what they do.
const QUICK: &str = "idle_timeout = 2\ntarget_wait = 1\nlist_interval = 1\nstart_timeout = 60\n";

/// Ends what a test that failed has left of its pool: those slaves are nobody's children.
struct Swept(String);

impl Swept {
    fn of(farm: &Farm) -> Self {
        Self(farm.path("slaves.conf").display().to_string())
    }
}

impl Drop for Swept {
    fn drop(&mut self) {
        processes::kill_with_text(&self.0);
    }
}

/// The settings of slaves that a pool starts: they have no secret.
fn settings_of_slaves(farm: &Farm) -> PathBuf {
    let text = format!(
        "[general]\nbind_address = {}\natom_kill_grace = 1\n[slave]\nheartbeat_interval = 1\n\
         container_runtime = none\ntemplates_path = '{}'\n",
        farm.address(),
        farm.path("templates").display()
    );
    let file = farm.path("slaves.conf");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The provider of the example, with a directory of this farm.
fn local_provider(farm: &Farm) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pools/local.sh");
    let line = |what: &str| {
        format!(
            "{what}_command = \"POOL_DIRECTORY={} CLUSTERRUNNER={} SLAVE_OPTIONS='-c {}' {} {what}\"\n",
            farm.path("pool").display(),
            clusterrunner().display(),
            settings_of_slaves(farm).display(),
            script.display()
        )
    };
    ["start", "stop", "list"].map(line).concat()
}

/// A build that more than one executor would work on, whose atoms leave their names in `log`.
fn repository(atoms: u32, seconds: &str) -> Repository {
    let repository = Repository::empty();
    let log = repository.outside("log");
    let work = job(format!("sleep {seconds}")).then(format!("echo \"$N\" >> '{}'", log.display()));
    repository.commit_job(&work.atomizer(format!("seq 1 {atoms}")));
    repository
}

/// The only pool. A master that has just started looks at its pools first.
async fn pool(farm: &Farm) -> PoolView {
    wait_for("the master knows its pool", async || {
        let pools = farm.client().pools().await.unwrap().pools;
        assert!(pools.len() <= 1, "{pools:?}");
        pools.into_iter().next()
    })
    .await
}

/// Waits until the pool is as it says.
async fn wait_for_pool(farm: &Farm, what: &str, is: impl Fn(&PoolView) -> bool) -> PoolView {
    wait_for(what, async || {
        Some(pool(farm).await).filter(|pool| is(pool))
    })
    .await
}

/// Nothing of the pool is there any more, and no token of it.
async fn wait_for_nothing(farm: &Farm) {
    wait_for("nothing of the pool is left", async || {
        let pool = pool(farm).await;
        let tokens = farm.client().join_tokens().await.unwrap();
        let is_over = pool.slaves.is_empty() && tokens.tokens.is_empty();
        is_over.then_some(())
    })
    .await;
}

/// The tags of the events of pools, in their order.
fn events(farm: &Farm) -> Vec<String> {
    let log = fs::read_to_string(farm.path("base/log/eventlog_master.log")).unwrap();
    let events = log.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["__tag__"].as_str().unwrap().to_owned()
    });
    events.filter(|tag| tag.starts_with("POOL_")).collect()
}

fn number_of(tag: &str, farm: &Farm) -> usize {
    events(farm).iter().filter(|one| *one == tag).count()
}
