//! Those who are told of builds, and how it goes with them.

use super::Api;
use super::requests::sees_farm;
use crate::read::metrics::NoticeOutcome;
use crate::read::receivers::{FailedAttempt, Sent, Standing};
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::receivers::{
    LastFailureView, LastSentView, ReceiverView, ReceiversBody,
};
use clusterrunner_core::access::Caller;
use std::sync::Arc;

/// All of them. Where there are private projects only holders of the secret and superusers read which projects and builds
/// receivers are told of.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Json<ReceiversBody> {
    let receivers = api.receivers.standing();
    let sees_all = !api.private.exist() || sees_farm(caller);
    let shown = |view: ReceiverView| match sees_all {
        true => view,
        false => without_builds(view),
    };
    Json(ReceiversBody {
        receivers: receivers.into_iter().map(view).map(shown).collect(),
    })
}

/// The same without what tells of projects and builds.
fn without_builds(view: ReceiverView) -> ReceiverView {
    ReceiverView {
        projects: Vec::new(),
        last_sent: None,
        last_failure: None,
        ..view
    }
}

fn view(standing: Standing) -> ReceiverView {
    let record = &standing.record;
    ReceiverView {
        name: standing.name,
        kind: standing.kind.to_owned(),
        events: standing.events,
        projects: standing.projects,
        waiting: standing.waiting as u64,
        next_attempt_in: standing.next_try.map(|pause| pause.as_secs_f64()),
        sent: record.number(NoticeOutcome::Sent),
        failed: record.number(NoticeOutcome::Failed),
        skipped: record.number(NoticeOutcome::Skipped),
        refused: record.number(NoticeOutcome::Refused),
        given_up: record.number(NoticeOutcome::GivenUp),
        last_sent: record.last_sent.map(last_sent),
        last_failure: record.last_failure.as_ref().map(last_failure),
    }
}

fn last_sent(sent: Sent) -> LastSentView {
    LastSentView {
        at: sent.at.as_unix_seconds(),
        build_id: sent.build,
        event: sent.event,
    }
}

fn last_failure(failed: &FailedAttempt) -> LastFailureView {
    LastFailureView {
        at: failed.sent.at.as_unix_seconds(),
        build_id: failed.sent.build,
        event: failed.sent.event,
        attempt: failed.attempt,
        message: failed.what.clone(),
    }
}
