//! Providers that take their time.

use super::*;
use crate::coordinator::Coordinator;
use crate::journal::Journal;
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::settings::{CommandPool, PoolProvider};
use clusterrunner_common::work::PoolTerms;
use clusterrunner_core::pools::Standing;
use clusterrunner_core::pools::planning::Counts;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A pool whose commands note when they begin.
fn hand(directory: &Path) -> Arc<Hand> {
    let journal = Journal::open(&directory.join("journal")).unwrap();
    let (coordinator, cluster, _) = Coordinator::recover(journal, Duration::from_secs(9)).unwrap();
    tokio::spawn(async move { Box::pin(coordinator.run(CancellationToken::new())).await });
    let secret = Secret::new("a secret for tests".to_owned()).unwrap();
    let noting = |what: &str, more: &str| format!("date +%s%3N > {what}; {more}");
    let settings = PoolSettings {
        terms: PoolTerms {
            name: "a".to_owned(),
            min_slaves: 0,
            max_slaves: 1,
            executors: 1,
            labels: BTreeSet::new(),
            idle_timeout: Duration::from_secs(9),
            target_wait: Duration::from_secs(9),
            start_timeout: Duration::from_secs(9),
        },
        list_interval: Duration::from_secs(9),
        master_url: None,
        provider: PoolProvider::Command(CommandPool {
            start_command: noting("started", "cat > /dev/null"),
            stop_command: "true".to_owned(),
            list_command: noting("listed", "echo '{\"slaves\": []}'"),
            timeout: Duration::from_secs(60),
        }),
    };
    Arc::new(Hand {
        provider: PoolsProvider::new(&settings, directory),
        settings,
        prefix: "cr-a-".to_owned(),
        farm: "farm".to_owned(),
        master: ("a".to_owned(), 1),
        tokens: JoinTokens {
            cluster,
            slave_keys: SlaveKeys::new(secret, OwnKey::from_random([7; 32])),
        },
        events: EventLog::in_memory(),
    })
}

fn noted(directory: &Path, what: &str) -> u64 {
    let text = std::fs::read_to_string(directory.join(what)).unwrap();
    text.trim().parse().unwrap()
}

/// However long a list takes: what is started meanwhile is not missing in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_of_the_moment_before_anything_of_its_turn_was_begun() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let hand = hand(directory);
    let (_, began) = Arc::clone(&hand).look().await.listed.unwrap();
    assert!(began.0 <= noted(directory, "listed"));
    let plan = PoolPlan {
        wanted_executors: 1,
        wanted_slaves: 1,
        counts: Counts::default(),
        start: 1,
        end: Vec::new(),
        forget: Vec::new(),
        standing: Standing::Nothing,
    };
    let outcome = hand.carry_out(plan, Some(Vec::new())).await;
    let (_, began) = outcome.listed.unwrap();
    assert!(
        began.0 <= noted(directory, "started"),
        "{:?}",
        outcome.failures
    );
}
