//! Tells of what pools have started whose sections are not in the settings any more: nobody ends that.

use crate::coordinator::ClusterHandle;
use clusterrunner_core::Cluster;

/// Warns of join tokens whose names begin with `all`, as those of pools of this farm do, and with nothing of `configured`.
pub(super) async fn warn_of_removed(cluster: &ClusterHandle, all: String, configured: Vec<String>) {
    let look = move |cluster: &Cluster| {
        let tokens = cluster.slave_keys().tokens();
        let names = tokens.map(|(_, token)| token.said.name.as_str());
        of_no_pool(names, &all, &configured)
    };
    let Ok(left) = cluster.read(look).await else {
        return;
    };
    if let Some(first) = left.first() {
        tracing::warn!(
            number = left.len(),
            first,
            "pools that are not in the settings any more have started slaves, which nobody ends: end them by their provider, and \
             revoke the join tokens of these names"
        );
    }
}

fn of_no_pool<'n>(
    names: impl Iterator<Item = &'n str>,
    all: &str,
    configured: &[String],
) -> Vec<String> {
    let of_pools = names.filter(|name| name.starts_with(all));
    let is_of_none = |name: &&str| !configured.iter().any(|prefix| name.starts_with(prefix));
    of_pools.filter(is_of_none).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_pool_has_started_is_found() {
        let names = ["cr-f-a-1", "cr-f-b-2", "cr-g-b-3", "by hand", "cr-f-ab-4"];
        let configured = ["cr-f-a-".to_owned()];
        let left = of_no_pool(names.into_iter(), "cr-f-", &configured);
        assert_eq!(left, ["cr-f-b-2", "cr-f-ab-4"]);
    }
}
