//! Waiting for the next thing that happens to a build.

use crate::read::feed::{News, Reader};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::event::Fact;
use std::time::Duration;

/// Waits until something happens to a build, or for this time at most. Whether something did.
pub(crate) async fn happens(feed: &mut Reader, build: BuildId, pause: Option<Duration>) -> bool {
    let news = async {
        loop {
            let is_news = match feed.next().await {
                Some(News::Facts(facts)) => facts
                    .iter()
                    .any(|(_, event)| matches!(event.fact, Fact::Build(of, _) if of == build)),
                Some(News::Missed { .. }) => true,
                // The socket ends with the master.
                None => std::future::pending().await,
            };
            if is_news {
                return;
            }
        }
    };
    match pause {
        None => {
            news.await;
            true
        }
        Some(pause) => tokio::time::timeout(pause, news).await.is_ok(),
    }
}
