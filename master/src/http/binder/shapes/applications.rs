//! Applications as this API shows them.

use clusterrunner_core::instances::instance::{Instance, InstanceState};
use serde::Serialize;

/// An application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::http::binder) struct ApplicationView {
    id: String,
    template_name: String,
    /// Where users reach it, without a scheme.
    location: Option<String>,
    status: &'static str,
}

impl ApplicationView {
    /// An instance; `host` is where users reach instances.
    pub(in crate::http::binder) fn of(instance: &Instance, host: &str) -> Self {
        let key = &instance.key;
        let has_answered = instance.answered.is_some();
        Self {
            id: key.clone(),
            template_name: instance.template_name.clone(),
            location: has_answered.then(|| format!("{host}/user/{key}")),
            status: status(instance.state),
        }
    }
}

fn status(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Initialized => "pending",
        // One that crashed is started again.
        InstanceState::Created | InstanceState::Crashed => "deploying",
        InstanceState::Up => "deployed",
        InstanceState::Error => "failed",
        InstanceState::Down | InstanceState::Destroyed => "deleted",
    }
}
