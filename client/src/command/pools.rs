//! `clusterrunner pools`: slaves on demand.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, PoolsOptions};
use crate::output::table::{Cell, Table};
use crate::output::{self, BAD, FAINT};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::pools::PoolView;

/// Lists them.
pub(crate) async fn run(options: PoolsOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let body = client.pools().await.map_err(of_accounts)?;
    if options.json {
        output::say_versioned(&body);
        return Ok(ExitCode::Success);
    }
    if body.pools.is_empty() {
        output::say("The farm has no pools.");
        output::note("a section [pool NAME] of the master's settings makes one, see docs/pools.md");
        return Ok(ExitCode::Success);
    }
    let titles = [
        "Pool", "Provider", "Slaves", "Wanted", "Queued", "Starting", "Busy", "Idle", "Why",
    ];
    let mut table = Table::new(&titles).cutting(titles.len() - 1);
    for pool in &body.pools {
        table.add(row(pool));
    }
    table.print();
    if options.slaves {
        list(&body.pools);
    }
    Ok(ExitCode::Success)
}

fn row(pool: &PoolView) -> Vec<Cell> {
    let there = pool.busy + pool.idle;
    let is_bad = matches!(pool.reason.as_str(), "paused" | "queue_stands" | "hindered");
    vec![
        Cell::from(pool.name.as_str()),
        Cell::from(pool.provider.as_str()),
        Cell::from(format!("{there} of {}", pool.max_slaves)),
        Cell::from(pool.wanted_slaves.to_string()),
        Cell::from(pool.queued.to_string()),
        Cell::from(pool.starting.to_string()),
        Cell::from(pool.busy.to_string()),
        Cell::from(pool.idle.to_string()),
        match is_bad {
            true => Cell::styled(BAD, pool.why.as_str()),
            false => Cell::from(pool.why.as_str()),
        },
    ]
}

fn list(pools: &[PoolView]) {
    let mut table = Table::new(&["Started", "State", "Slave"]);
    for slave in pools.iter().flat_map(|pool| &pool.slaves) {
        let id = slave.slave_id.map(|id| id.to_string());
        table.add([
            Cell::styled(FAINT, slave.name.as_str()),
            Cell::from(slave.state.as_str()),
            Cell::from(id.unwrap_or_else(|| "-".to_owned())),
        ]);
    }
    output::say("");
    table.print();
}
