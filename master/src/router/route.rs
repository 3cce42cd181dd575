//! The way to one instance, and what becomes of requests to it.

use super::program::Program;
use super::uses::Uses;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_core::Cluster;
use clusterrunner_core::instances::instance::{Instance, InstanceState};
use std::sync::Arc;
use std::time::Instant;

/// The way to an instance.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) instance: InstanceId,
    pub(super) target: Target,
    pub(super) uses: Uses,
    /// Since when another instance gets its requests, if one does.
    pub(super) retired: Option<Instant>,
}

/// What becomes of requests to an instance.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The program gets them.
    Up {
        program: Arc<Program>,
        /// Whether the program sees paths with `/user/<key>` in front.
        keeps_prefix: bool,
    },
    /// The program will get those that come later.
    Starting {
        /// What is waited for.
        text: String,
    },
    /// No program will ever get them.
    Failed {
        /// Why it can not be started, for the user.
        text: String,
    },
    /// The instance has ended.
    Over,
}

impl Target {
    pub(super) fn program(&self) -> Option<&Arc<Program>> {
        match self {
            Self::Up { program, .. } => Some(program),
            Self::Starting { .. } | Self::Failed { .. } | Self::Over => None,
        }
    }
}

impl Route {
    /// The way to an instance as it is now. What is known of it from `before` stays.
    pub(super) fn to(
        cluster: &Cluster,
        instance: &Instance,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let known = before.and_then(|before| before.target.program());
        let since = before.and_then(|before| before.retired);
        Arc::new(Self {
            instance: instance.id,
            target: target(cluster, instance, known),
            uses: before.map_or_else(Uses::default, |before| before.uses.clone()),
            retired: instance.retired.then(|| since.unwrap_or_else(Instant::now)),
        })
    }

    /// Whether the program has just refused a connection.
    pub(super) fn refuses(&self) -> bool {
        let program = self.target.program();
        program.is_some_and(|program| program.refuses())
    }
}

/// What becomes of requests to an instance; `known` is its program so far, whose connections are kept.
fn target(cluster: &Cluster, instance: &Instance, known: Option<&Arc<Program>>) -> Target {
    let starting = |text: String| Target::Starting { text };
    let reason = instance
        .reason
        .as_deref()
        .unwrap_or("the reason is unknown");
    match instance.state {
        InstanceState::Initialized => {
            starting("It waits for a slave with a free place. This page tries again.".to_owned())
        }
        InstanceState::Created => {
            starting("Its program does not answer yet. This page tries again.".to_owned())
        }
        InstanceState::Crashed => starting(format!("Its program is started again: {reason}")),
        InstanceState::Up => {
            let slave = instance.slave.and_then(|slave| cluster.slave(slave));
            let host = slave.and_then(|slave| Some(slave.url.rsplit_once(':')?.0));
            match (host, instance.place) {
                (Some(host), Some((port, keeps_prefix))) => {
                    let address = format!("{host}:{port}");
                    let known = known.filter(|known| known.address == address);
                    Target::Up {
                        program: known.cloned().unwrap_or_else(|| Program::at(address)),
                        keeps_prefix,
                    }
                }
                _ => starting("Its slave is looked for. This page tries again.".to_owned()),
            }
        }
        InstanceState::Error => Target::Failed {
            text: format!("It can not be started: {reason}"),
        },
        InstanceState::Down | InstanceState::Destroyed => Target::Over,
    }
}
