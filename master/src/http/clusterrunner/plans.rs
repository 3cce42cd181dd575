//! How long a build takes with how many slaves.

use super::error::ApiError;
use super::{Api, Path, shapes};
use crate::read::plans::{PlanError, Planned};
use axum::Json;
use axum::extract::State;
use clusterrunner_common::api::plan::{PlanBody, PlanChoice, PlanView};
use clusterrunner_common::http::clusterrunner::wanted_plan::WantedPlan;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::forecast::{Choice, Wanted};
use std::sync::Arc;

/// The rest of a build that is at work, or a new build of the atoms of another one.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(build): Path<BuildId>,
    wanted: WantedPlan,
) -> Result<Json<PlanBody>, ApiError> {
    let wanted = Wanted {
        slaves: wanted.slaves,
        under_ms: wanted
            .under
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let planned = api.forecasts.plan(&api.builds, build, wanted).await;
    let planned = planned.map_err(|error| match error {
        PlanError::Read(error) => error.into(),
        PlanError::OfMatrix(children) => ApiError::PlansOfMatrix { build, children },
    })?;
    let plan = view(build, &planned, wanted);
    Ok(Json(PlanBody { plan }))
}

fn view(build_id: BuildId, planned: &Planned, wanted: Wanted) -> PlanView {
    let plan = planned.plan.as_ref();
    let choices = plan.map_or(&[][..], |plan| &plan.choices);
    let slaves = plan.map_or(0, |plan| plan.slaves);
    let median_with = |slaves: usize| {
        let choice = choices.iter().find(|choice| choice.slaves == slaves)?;
        Some(choice.finish.median as f64 / 1000.0)
    };
    let beside = wanted.slaves.unwrap_or(slaves);
    let before_and_after = median_with(beside).zip(median_with(beside + 1));
    PlanView {
        build_id,
        is_anew: planned.is_anew,
        num_atoms: planned.num_left,
        num_slaves: slaves as u64,
        executors_per_slave: plan.map_or(1, |plan| plan.executors_each),
        choices: choices.iter().map(choice).collect(),
        next_slave_saves: before_and_after.map(|(before, after)| (before - after).max(0.0)),
        under: plan.and_then(|plan| plan.under.as_ref()).map(choice),
    }
}

fn choice(choice: &Choice) -> PlanChoice {
    PlanChoice {
        num_slaves: choice.slaves as u64,
        num_executors: choice.executors,
        finish: shapes::finish(choice.finish),
    }
}
