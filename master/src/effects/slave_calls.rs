//! Calls slaves: one task for each, so that its calls about a build arrive in their order and a slow
//! slave keeps no other waiting. Beside it goes what the slave is told of instances.

mod batch;
mod calls;
mod instances;
mod keeping;
mod orders;
mod original;
mod repeating;
mod secrets;
mod set_up;

pub(crate) use keeping::Keeping;
pub(crate) use original::ProjectLinks;
pub(crate) use secrets::Giving;

use crate::coordinator::ClusterHandle;
use crate::read::metrics::Measured;
use calls::Calls;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::ids::{BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_core::effect::{SlaveCall, WantedInstance};
use instances::{Newest, Wanted};
use repeating::PATIENCE;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The slaves that can be called.
#[derive(Debug)]
pub(crate) struct SlaveCalls {
    caller: Caller,
    cluster: ClusterHandle,
    links: ProjectLinks,
    gives_projects: bool,
    giving: Option<Giving>,
    keeping: Keeping,
    measured: Measured,
    open: HashMap<SlaveId, OpenSlave>,
    tasks: JoinSet<()>,
}

/// What a slave is to be told.
#[derive(Debug)]
enum Order {
    About(BuildId, SlaveCall),
    End,
}

/// A slave that can be called.
#[derive(Debug)]
pub(crate) struct Callee {
    /// The slave's id.
    pub slave: SlaveId,
    /// `host:port` at which it is called.
    pub url: String,
    /// The life that is meant.
    pub session: SessionId,
    /// The incarnation of the journal that it is registered under.
    pub incarnation: Option<Incarnation>,
}

#[derive(Debug)]
struct OpenSlave {
    /// Unbounded: what waits here is bounded by the slave's executors and builds.
    calls: mpsc::UnboundedSender<Order>,
    instances: watch::Sender<Newest>,
    stop: CancellationToken,
}

impl SlaveCalls {
    /// No slave can be called yet. Answers go to `cluster` as commands.
    #[must_use]
    pub(crate) fn new(
        caller: Caller,
        cluster: ClusterHandle,
        links: ProjectLinks,
        keeping: Keeping,
        measured: Measured,
    ) -> Self {
        Self {
            caller,
            cluster,
            links,
            gives_projects: false,
            giving: None,
            keeping,
            measured,
            open: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The same, and slaves are told to get projects from the master if `given`.
    #[must_use]
    pub(crate) fn giving_projects(self, given: bool) -> Self {
        Self {
            gives_projects: given,
            ..self
        }
    }

    /// The same, and slaves are given the secrets of builds.
    #[must_use]
    pub(crate) fn giving_secrets(self, giving: Giving) -> Self {
        Self {
            giving: Some(giving),
            ..self
        }
    }

    /// From now on this slave can be called.
    pub(crate) fn open(&mut self, callee: Callee, is_legacy: bool) {
        while self.tasks.try_join_next().is_some() {}
        let (calls, inbox) = mpsc::unbounded_channel();
        let (instances, newest) = watch::channel(None);
        let stop = CancellationToken::new();
        let calls_to_slave = Calls {
            caller: self.caller.clone(),
            cluster: self.cluster.clone(),
            measured: self.measured.clone(),
            callee,
            life: self.links.session.clone(),
            patience: PATIENCE,
            legacy: is_legacy.then(|| self.links.clone()),
            gives_projects: self.gives_projects,
            giving: self.giving.clone(),
            keeping: self.keeping.clone(),
        };
        let (stopped, slave) = (stop.clone(), calls_to_slave.callee.slave);
        self.tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                // Neither ends before it is closed.
                ((), ()) = futures_util::future::join(
                    calls_to_slave.carry_out(inbox),
                    calls_to_slave.tell_instances(newest),
                ) => {}
            }
        });
        let open = OpenSlave {
            calls,
            instances,
            stop,
        };
        self.open.insert(slave, open);
    }

    /// This slave is not called any more, whatever was still to be said to it.
    pub(crate) fn close(&mut self, slave: SlaveId) {
        if let Some(open) = self.open.remove(&slave) {
            open.stop.cancel();
        }
    }

    /// Calls a slave, after all earlier calls about this build.
    pub(crate) fn call(&self, slave: SlaveId, build: BuildId, call: SlaveCall) {
        self.order(slave, Order::About(build, call));
    }

    /// Tells a slave which instances it is to run from now on, in place of what it was to be told before.
    pub(crate) fn order_instances(
        &self,
        slave: SlaveId,
        instances: Vec<WantedInstance>,
        preloads: Vec<TemplateContent>,
    ) {
        if let Some(open) = self.open.get(&slave) {
            let wanted = Wanted {
                instances,
                preloads,
            };
            open.instances.send_replace(Some(Arc::new(wanted)));
        }
    }

    /// Tells a slave to end, after all earlier calls to it.
    pub(crate) fn end(&self, slave: SlaveId) {
        self.order(slave, Order::End);
    }

    fn order(&self, slave: SlaveId, order: Order) {
        if let Some(open) = self.open.get(&slave) {
            // Its task ends only when it is closed.
            drop(open.calls.send(order));
        }
    }
}
