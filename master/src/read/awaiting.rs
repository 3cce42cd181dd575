//! Waiting for what happens on the farm.

use crate::coordinator::{ClusterHandle, Gone};
use crate::read::feed::{Feed, News};
use clusterrunner_core::Cluster;
use clusterrunner_core::event::Fact;

/// Waits until `look` sees something in the cluster. It looks at once, and again after each fact that `concerns` it.
///
/// # Errors
/// The master ends.
pub(crate) async fn seen<T, L>(
    cluster: &ClusterHandle,
    feed: &Feed,
    concerns: impl Fn(&Fact) -> bool,
    look: L,
) -> Result<T, Gone>
where
    T: Send + 'static,
    L: Fn(&Cluster) -> Option<T> + Clone + Send + 'static,
{
    let mut facts = feed.reader_after(feed.latest());
    loop {
        if let Some(found) = cluster.read(look.clone()).await? {
            return Ok(found);
        }
        loop {
            match facts.next().await {
                Some(News::Facts(facts)) => {
                    if facts.iter().any(|(_, event)| concerns(&event.fact)) {
                        break;
                    }
                }
                Some(News::Missed { .. }) => break,
                None => return Err(Gone),
            }
        }
    }
}
