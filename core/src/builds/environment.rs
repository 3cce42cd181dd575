//! What all commands of a build find in their environment.

use crate::builds::plan::Plan;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::variables::{BuildVariables, TEMPLATE_VARIABLE, Variables};
use clusterrunner_common::work::{BuildRequest, ProjectSource};

/// What a build, its job and its request say. The request overrules the job.
#[must_use]
pub fn variables(id: BuildId, request: &BuildRequest, plan: &Plan) -> BuildVariables {
    let mut set = Variables::default();
    set.set("CI", "true");
    set.set_all(&plan.env);
    set.set_all(&request.env);
    // What a matrix is for: no other variable takes its place.
    let part = request.part.iter();
    for (name, value) in part.flat_map(|part| part.combination.iter()) {
        set.set(name, value);
    }
    set.set("CLUSTERRUNNER_BUILD_ID", id.to_string());
    set.set("CLUSTERRUNNER_JOB", plan.job_name.clone());
    if let Some(commit) = &plan.commit {
        set.set("CLUSTERRUNNER_COMMIT", commit.clone());
    }
    if let ProjectSource::Git {
        branch: Some(branch),
        ..
    } = &request.project
    {
        set.set("CLUSTERRUNNER_BRANCH", branch.clone());
    }
    if let Some(product) = &request.product {
        set.set(TEMPLATE_VARIABLE, product.name.clone());
    }
    BuildVariables {
        inherited: request.inherited_env.clone(),
        set,
        ..BuildVariables::default()
    }
}
