//! Orders as a master of the original gives them.

use super::error::ApiError;
use crate::work::{JobSource, SetupOrder};
use axum::http::Method;
use clusterrunner_common::api::SetupRequest;
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, GivenSecrets};
use serde_json::Value;
use std::sync::Arc;

/// What the log says at each start with `accept_legacy_peers`.
pub(crate) const LEGACY_WARNING: &str = "accept_legacy_peers is on: while the master is one of the \
    original, anyone who reaches this port can stop this slave's work, and anyone who sees one of that \
    master's orders can repeat it. Turn it off when the migration is over (docs/migration.md)";

/// Where the original makes a link to the project; ours is in the build's own directory.
const LINK: &str = "build_project_directory";

/// The proof that the original sends with a request, path without a slash at its end.
pub(crate) fn legacy_proof(method: &Method, path: &str) -> Proof {
    let unversioned = ["/v1", "/v2"].iter().find_map(|v| path.strip_prefix(v));
    let mut parts = unversioned.unwrap_or(path).split('/').skip(1);
    let parts = [(); 5].map(|()| parts.next());
    match (method.as_str(), parts) {
        (
            "POST",
            [
                Some("build" | "builds"),
                Some(_),
                Some("teardown"),
                None,
                ..,
            ],
        ) => Proof::Nothing,
        ("POST", [Some("build" | "builds"), Some(_), Some("setup"), None, ..])
        | (
            "POST",
            [
                Some("build" | "builds"),
                Some(_),
                Some("subjob" | "subjobs"),
                Some(_),
                None,
            ],
        )
        | ("POST", [Some("kill"), None, ..]) => Proof::BodyDigest,
        _ => Proof::Bound,
    }
}

/// A set-up whose job is not in the order but in the project, and whose commit is what its branch
/// is at: the original's masters make a ref of their own for that.
pub(super) fn setup_order(build: BuildId, request: SetupRequest) -> Result<SetupOrder, ApiError> {
    let mut parameters = request.project_type_params;
    parameters.remove(LINK);
    let project = BuildRequest::from_json(&Value::Object(parameters))?;
    // As the original's slaves read a relative directory.
    let here = std::env::current_dir().unwrap_or_default();
    Ok(SetupOrder {
        build,
        incarnation: None,
        start_index: request.build_executor_start_index,
        source: project.project.resolved(&here),
        remote_files: project.remote_files,
        commit: None,
        source_from_master: false,
        job: JobSource::Project {
            name: project.job_name,
            config: project.config,
        },
        variables: Arc::default(),
        secrets: GivenSecrets::default(),
        subjobs: Vec::new(),
        timeout: None,
    })
}

/// A slave says `IDLE` without the build that it cleared away: said about another one, it would take
/// this slave's real build from it.
pub(super) fn check_teardown(asked: BuildId, current: Option<BuildId>) -> Result<(), ApiError> {
    match current {
        Some(current) if current != asked => Err(ApiError::OtherBuild { asked, current }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_the_proof_that_the_original_sends() {
        let check = |method: Method, path: &str, expected: Proof| {
            assert_eq!(legacy_proof(&method, path), expected, "{method} {path}");
        };
        for (v, s) in [("/v1", ""), ("", "s"), ("/v2", "s")] {
            let build = format!("{v}/build{s}/1");
            check(Method::POST, &format!("{build}/setup"), Proof::BodyDigest);
            check(Method::POST, &format!("{build}/teardown"), Proof::Nothing);
            let subjob = format!("{build}/subjob{s}/0");
            check(Method::POST, &subjob, Proof::BodyDigest);
            check(Method::PUT, &subjob, Proof::Bound);
            check(Method::POST, &format!("{subjob}/atom"), Proof::Bound);
            check(Method::POST, &format!("{v}/kill"), Proof::BodyDigest);
            // Ours alone.
            check(Method::POST, &format!("{build}/subjobs"), Proof::Bound);
            check(Method::POST, &format!("{build}/hand_outs"), Proof::Bound);
        }
        check(Method::POST, "/v1/unknown", Proof::Bound);
    }
}
