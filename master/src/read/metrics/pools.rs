//! What is told of pools.

use super::text::{family, line};
use crate::read::pools::PoolSeen;

/// Slaves on demand, as text; nothing where there are no pools. Ours.
#[must_use]
pub(crate) fn of_pools(pools: &[PoolSeen]) -> String {
    let mut text = String::new();
    if pools.is_empty() {
        return text;
    }
    let name = "pool_executors_wanted";
    let help = "Number of executors that a pool would need for what waits";
    family(&mut text, name, "gauge", help);
    for pool in pools {
        let (pool, number) = (&pool.name, pool.wanted_executors);
        line(
            &mut text,
            format_args!("{name}{{pool=\"{pool}\"}} {number}"),
        );
    }
    let name = "pool_slaves";
    family(
        &mut text,
        name,
        "gauge",
        "Number of slaves of a pool by what they do",
    );
    for pool in pools {
        let counts = &pool.counts;
        for (state, number) in [
            ("wanted", pool.wanted_slaves),
            ("queued", counts.queued),
            ("starting", counts.starting),
            ("idle", counts.idle),
            ("busy", counts.joined.saturating_sub(counts.idle)),
            ("leaving", counts.leaving),
        ] {
            let pool = &pool.name;
            line(
                &mut text,
                format_args!("{name}{{pool=\"{pool}\",state=\"{state}\"}} {number}"),
            );
        }
    }
    let name = "pool_failures_total";
    let help =
        "Number of times that a pool could not start, end or list slaves, or that one did not come";
    family(&mut text, name, "counter", help);
    for pool in pools {
        let (pool, number) = (&pool.name, pool.failed);
        line(
            &mut text,
            format_args!("{name}{{pool=\"{pool}\"}} {number}"),
        );
    }
    text
}
