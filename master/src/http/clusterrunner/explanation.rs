//! Why a build took so long.

use super::error::ApiError;
use super::{Api, Path};
use crate::read::explanation::{Explained, Ran, Steps};
use crate::store::results::StoredStep;
use axum::Json;
use axum::extract::State;
use clusterrunner_common::api::StepKind;
use clusterrunner_common::api::explanation::{
    ExplainedPart, Explanation, ExplanationBody, Hunting, LongestAtom, PartName,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use std::sync::Arc;

/// The time of a build in parts that add up to the whole.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(build): Path<BuildId>,
) -> Result<Json<ExplanationBody>, ApiError> {
    let (running, steps) = (api.running.of(build), api.ended_steps(build).await?);
    let explained = api
        .builds
        .explained(build, running, told(&steps), Timestamp::now())
        .await?;
    let explanation = view(build, &explained);
    Ok(Json(ExplanationBody { explanation }))
}

/// What steps that have ended tell of the time of their build.
fn told(steps: &[(u64, StoredStep)]) -> Steps {
    let of_kind = |kind| steps.iter().filter(move |(_, step)| step.kind == kind);
    let fetched = of_kind(StepKind::Fetch).map(|(_, step)| step.end.ended_at_ms);
    let began = of_kind(StepKind::Atomizer).map(|(_, step)| step.end.began_at_ms);
    let set_up = of_kind(StepKind::Setup).filter(|(_, step)| step.end.exit_code == Some(0));
    Steps {
        fetched: fetched.chain(began).next(),
        set_up: set_up.map(|(_, step)| step.end.ended_at_ms).min(),
    }
}

fn view(build_id: BuildId, explained: &Explained) -> Explanation {
    let parts = &explained.parts;
    let parts = [
        (PartName::Queue, parts.queue),
        (PartName::Fetch, parts.fetch),
        (PartName::Atomizer, parts.atomizer),
        (PartName::WaitingForSlaves, parts.waiting_for_slaves),
        (PartName::SetUp, parts.set_up),
        (PartName::Matrix, parts.matrix),
        (PartName::Atoms, parts.atoms),
        (PartName::BatchesInVain, parts.batches_in_vain),
        (PartName::LongestAtom, parts.longest_atom),
        (PartName::Imbalance, parts.imbalance),
        (PartName::NothingRan, parts.nothing_ran),
        (PartName::Retries, parts.retries),
        (PartName::Upload, parts.upload),
    ];
    // Clients that do not know these read what has none of them.
    let is_told = |(name, ms): &(PartName, u64)| {
        let is_new = matches!(
            name,
            PartName::Matrix | PartName::NothingRan | PartName::BatchesInVain
        );
        *ms > 0 || !is_new
    };
    let part = |(name, ms)| ExplainedPart {
        name,
        seconds: seconds(ms),
    };
    Explanation {
        build_id,
        is_over: explained.is_over,
        seconds: seconds(explained.whole),
        parts: parts.into_iter().filter(is_told).map(part).collect(),
        num_executors: explained.num_executors,
        longest_atom: explained.longest.map(|ran: Ran| LongestAtom {
            subjob_id: ran.subjob,
            atom_id: ran.atom,
            seconds: seconds(ran.took_ms),
        }),
        hunting: explained.hunting.map(|hunted| Hunting {
            runs: hunted.runs,
            executor_seconds: seconds(hunted.ms),
            trials: hunted.trials.0,
            flakes: hunted.trials.1,
        }),
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
