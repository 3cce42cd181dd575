//! Carries out what is planned for a pool, then asks its provider what there is.

use super::joining::JoinTokens;
use super::names::fresh;
use super::provider::{Order, Provider as _};
use super::providers::PoolsProvider;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::TokenId;
use clusterrunner_common::logs::event_log::{Entry, EventLog};
use clusterrunner_common::settings::PoolSettings;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::{Command, SlaveChoice};
use clusterrunner_core::pools::memory::Part;
use clusterrunner_core::pools::planning::End;
use clusterrunner_core::pools::{Listed, PoolPlan};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pool is carried out with.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) settings: PoolSettings,
    pub(super) provider: PoolsProvider,
    /// Begins the names of what the pool starts.
    pub(super) prefix: String,
    pub(super) farm: String,
    /// Host and port of the master.
    pub(super) master: (String, u16),
    pub(super) tokens: JoinTokens,
    pub(super) events: EventLog,
}

/// A slave could not be started.
struct NotStarted {
    what: String,
    /// What it would have joined with, and its name.
    token: Option<(TokenId, String)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the provider listed afterwards, if it did, and the moment before which nothing was started that could be missing
    /// in that.
    pub(super) listed: Option<(Vec<Listed>, Timestamp)>,
    /// Whether the provider has ended what it was to end.
    pub(super) has_ended: bool,
    /// What failed.
    pub(super) failures: Vec<(Part, String)>,
}

impl Hand {
    /// Carries a plan out. `listed` is what the provider listed last; none where it has said nothing yet, and only that is
    /// done for which it is not needed.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        plan: PoolPlan,
        listed: Option<Vec<Listed>>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for gone in plan.forget {
            if let Some(failure) = &gone.failure {
                tracing::warn!(
                    pool = self.settings.terms.name,
                    name = gone.name,
                    "{failure}"
                );
                self.record("POOL_SLAVE_FAILED", &gone.name, failure);
            }
            if let Err(failure) = self.tokens.end(gone.token).await {
                tracing::warn!(error = %failure, "could not end the join token of {}", gone.name);
            }
        }
        let (leaving, listed_ones): (Vec<End>, Vec<End>) =
            plan.end.into_iter().partition(|end| end.slave.is_some());
        self.shut_down(leaving).await;
        let Some(listed) = listed else { return outcome };
        self.stop(listed_ones, &listed, &mut outcome).await;
        let mut not_started = None;
        // Providers take their time, to start and to list: what is started from here on may be missing in the list.
        let began = Timestamp::now();
        for _ in 0..plan.start {
            if let Err(failure) = self.start().await {
                outcome.failures.push((Part::Starts, failure.what));
                not_started = failure.token;
                break;
            }
        }
        self.list(&mut outcome, began).await;
        // It may have been started all the same.
        if let (Some((token, name)), Some((listed, _))) = (not_started, &outcome.listed)
            && !listed.iter().any(|one| one.name == name && one.is_there())
            && let Err(failure) = self.tokens.end(token).await
        {
            tracing::warn!(error = %failure, "could not end the join token of {name}");
        }
        outcome
    }

    /// Asks the provider what there is.
    pub(super) async fn look(self: Arc<Self>) -> Outcome {
        let mut outcome = Outcome::default();
        self.list(&mut outcome, Timestamp::now()).await;
        outcome
    }

    /// Asks what there is, of which something may be missing that was started since `began`.
    async fn list(&self, outcome: &mut Outcome, began: Timestamp) {
        match self.provider.list(&self.prefix).await {
            Ok(listed) => outcome.listed = Some((listed, began)),
            Err(error) => outcome.failures.push((Part::Lists, error.to_string())),
        }
    }

    /// Idle slaves end by themselves: one that gets work in this very moment finishes it first.
    async fn shut_down(&self, ends: Vec<End>) {
        for end in ends {
            let Some(slave) = end.slave else { continue };
            let slaves = SlaveChoice::Named(vec![slave]);
            let by = Actor::Master;
            let command = Command::ShutDownSlaves { by, slaves };
            match self.tokens.cluster.command(command).await {
                Ok(_) => self.told_end(&end),
                Err(failure) => {
                    tracing::debug!(slave.id = slave.0, error = %failure, "could not end a slave");
                }
            }
        }
    }

    /// Has the provider end what has no slave, or one that is not there.
    async fn stop(&self, ends: Vec<End>, listed: &[Listed], outcome: &mut Outcome) {
        if ends.is_empty() {
            return;
        }
        let is_meant = |one: &&Listed| ends.iter().any(|end| end.name == one.name);
        let meant: Vec<Listed> = listed.iter().filter(is_meant).cloned().collect();
        if !meant.is_empty() {
            if let Err(error) = self.provider.stop(&meant).await {
                outcome.failures.push((Part::Stops, error.to_string()));
                return;
            }
            outcome.has_ended = true;
        }
        for end in ends {
            self.told_end(&end);
            if let Some(token) = end.token
                && let Err(failure) = self.tokens.end(token).await
            {
                tracing::warn!(error = %failure, "could not end the join token of {}", end.name);
            }
        }
    }

    fn told_end(&self, end: &End) {
        tracing::info!(
            pool = self.settings.terms.name,
            name = end.name,
            "ended: {}",
            end.reason
        );
        self.record("POOL_SLAVE_ENDED", &end.name, &end.reason.to_string());
    }

    /// Starts a slave. Its token is on disk before its provider hears of it: what was started is never without one.
    async fn start(&self) -> Result<(), NotStarted> {
        let settings = &self.settings;
        let name = fresh(&self.prefix);
        let good_for = settings.terms.start_timeout * 2 + self.provider.may_queue_for();
        let created = self.tokens.create(name.clone(), good_for).await;
        let (token, text) = created.map_err(|failure| NotStarted {
            what: format!("could not make a join token: {failure}"),
            token: None,
        })?;
        let (host, port) = &self.master;
        let labels: Vec<String> = settings.terms.labels.iter().cloned().collect();
        let order = Order {
            name: name.clone(),
            pool: settings.terms.name.clone(),
            farm: self.farm.clone(),
            master_url: format!("{host}:{port}"),
            executors: settings.terms.executors,
            join_token: text,
            environment: BTreeMap::from([
                ("CLUSTERRUNNER_MASTER_HOSTNAME", host.clone()),
                ("CLUSTERRUNNER_MASTER_PORT", port.to_string()),
                (
                    "CLUSTERRUNNER_NUM_EXECUTORS",
                    settings.terms.executors.to_string(),
                ),
                ("CLUSTERRUNNER_LABELS", labels.join(",")),
                ("CLUSTERRUNNER_PORT", "0".to_owned()),
                ("CLUSTERRUNNER_END_WHEN_UNKNOWN", "True".to_owned()),
            ]),
            labels,
        };
        match self.provider.start(&order).await {
            Ok(()) => {
                tracing::info!(pool = settings.terms.name, name, "started a slave");
                self.record("POOL_SLAVE_STARTED", &name, "");
                Ok(())
            }
            Err(error) => {
                let what = error.to_string();
                self.record("POOL_SLAVE_FAILED", &name, &what);
                let token = Some((token, name));
                Err(NotStarted { what, token })
            }
        }
    }

    fn record(&self, tag: &'static str, name: &str, why: &str) {
        let entry = Entry::new(tag)
            .with("pool", self.settings.terms.name.as_str())
            .with("name", name);
        let entry = match why {
            "" => entry,
            why => entry.with("reason", why),
        };
        self.events.record([(Timestamp::now(), entry)]);
    }
}

#[cfg(test)]
mod tests;
