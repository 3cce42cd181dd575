//! Pauses between two looks at a build that end with the build.

use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// For how long the master is asked to wait for the end, each time. In seconds; less than any usual limit of a call.
const WAIT: u64 = 10;

/// How soon it is asked again if it has answered too soon, as old masters do and those with too many readers.
const PAUSE: Duration = Duration::from_secs(5);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<BuildView, ClientError>> + Send + 'a>>;

/// Waits for the end of a build at its master, with a call that is under way while the build is looked at.
pub(super) struct UntilOver<'a> {
    client: &'a Client,
    build: BuildId,
    asked: Option<Answer<'a>>,
    /// When the master is asked again.
    next: Instant,
}

impl<'a> UntilOver<'a> {
    /// Begins with the first pause.
    pub(super) fn of(client: &'a Client, build: BuildId) -> Self {
        Self {
            client,
            build,
            asked: None,
            next: Instant::now(),
        }
    }

    /// Returns after a pause, or as soon as the build is over. Trouble with the master is for those who look.
    pub(super) async fn or_after(&mut self, pause: Duration) {
        let due = Instant::now() + pause;
        while let Some(asked) = self.ask() {
            match timeout_at(due, asked).await {
                Err(_) => return,
                Ok(answer) => {
                    self.asked = None;
                    if answer.is_ok_and(|build| build.status.is_over()) {
                        return;
                    }
                }
            }
        }
        sleep_until(due).await;
    }

    /// The call that is under way, if it is time for one.
    fn ask(&mut self) -> Option<&mut Answer<'a>> {
        let now = Instant::now();
        if self.asked.is_none() && self.next <= now {
            // What ends later than this was waited for; the next call follows at once.
            self.next = now + PAUSE;
            let (client, build) = (self.client.with_patience(Duration::ZERO), self.build);
            self.asked = Some(Box::pin(async move {
                client.build_when_over(build, WAIT).await
            }));
        }
        self.asked.as_mut()
    }
}
