//! Why a build took so long.

use super::error::ApiError;
use super::{Api, Path};
use crate::read::explanation::{Explained, Ran};
use axum::Json;
use axum::extract::State;
use clusterrunner_common::api::explanation::{
    ExplainedPart, Explanation, ExplanationBody, LongestAtom, PartName,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use std::sync::Arc;

/// The time of a build in parts that add up to the whole.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(build): Path<BuildId>,
) -> Result<Json<ExplanationBody>, ApiError> {
    let explained = api.builds.explained(build, Timestamp::now()).await?;
    let explanation = view(build, &explained);
    Ok(Json(ExplanationBody { explanation }))
}

fn view(build_id: BuildId, explained: &Explained) -> Explanation {
    let parts = &explained.parts;
    let parts = [
        (PartName::Queue, parts.queue),
        (PartName::Preparation, parts.preparation),
        (PartName::WaitingForSlaves, parts.waiting_for_slaves),
        (PartName::SetUp, parts.set_up),
        (PartName::Atoms, parts.atoms),
        (PartName::LongestAtom, parts.longest_atom),
        (PartName::Imbalance, parts.imbalance),
        (PartName::Retries, parts.retries),
        (PartName::Upload, parts.upload),
    ];
    let part = |(name, ms)| ExplainedPart {
        name,
        seconds: seconds(ms),
    };
    Explanation {
        build_id,
        is_over: explained.is_over,
        seconds: seconds(explained.whole),
        parts: parts.map(part).to_vec(),
        num_executors: explained.num_executors,
        longest_atom: explained.longest.map(|ran: Ran| LongestAtom {
            subjob_id: ran.subjob,
            atom_id: ran.atom,
            seconds: seconds(ran.took_ms),
        }),
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
