//! What a slave of ours is told in order to set a build up.

use clusterrunner_common::api::SetupRequest;
use clusterrunner_common::api::build_request::{HASH, WORKING_TREE};
use clusterrunner_common::git::GitUrl;
use clusterrunner_core::effect::SetUp;
use serde_json::Value;

/// The body of the call, without what the call adds to it.
pub(super) fn request(set_up: &SetUp) -> SetupRequest {
    let mut params = set_up.request.to_params();
    // Slaves of ours get the commit from here, whoever has made it.
    params.remove(WORKING_TREE);
    // `commit` has it. Without it the build is one of its branch, as its first one was.
    if set_up.request.is_commit_found {
        params.remove(HASH);
    }
    SetupRequest {
        project_type_params: params,
        build_executor_start_index: set_up.start_index,
        commit: set_up.commit.clone(),
        job: Some(set_up.job.clone().told()),
        variables: set_up.variables.clone(),
        ..SetupRequest::default()
    }
}

/// The same set-up with the source at the master. The URLs are names then, and keep their credentials here.
pub(super) fn from_master(mut request: SetupRequest) -> SetupRequest {
    if request.commit.is_none() {
        // A directory.
        return request;
    }
    request.source_from_master = true;
    for field in ["url", "remote"] {
        if let Some(Value::String(url)) = request.project_type_params.get_mut(field)
            // `origin` is none, and all others were checked when the build was submitted.
            && let Ok(parsed) = GitUrl::parse(url, true)
        {
            *url = parsed.without_credentials();
        }
    }
    request
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clusterrunner_common::process::variables::BuildVariables;
    use clusterrunner_common::work::{BuildRequest, IsolationWish, SetupJob};
    use clusterrunner_core::effect::SlaveCall;
    use serde_json::json;

    /// The set-up of a build that was asked for with these parameters.
    pub(in crate::effects::slave_calls) fn set_up(params: &Value, commit: Option<&str>) -> SetUp {
        SetUp {
            request: BuildRequest::from_json(params).unwrap(),
            start_index: 0,
            commit: commit.map(str::to_owned),
            variables: BuildVariables::default(),
            job: SetupJob {
                name: "unit".to_owned(),
                setup_build: None,
                teardown_build: None,
                setup_timeout_s: None,
                teardown_timeout_s: None,
                max_executors: None,
                priority: 0,
                weight: None,
                image: None,
                templates: Vec::new(),
                junit: None,
                batch_command: None,
                cache: None,
                setup_once: false,
                worker: None,
                isolation: IsolationWish::default(),
            },
            secrets: Vec::new(),
        }
    }

    /// The call that sets up a build of a directory.
    pub(in crate::effects::slave_calls) fn directory(
        path: &str,
        commit: Option<&str>,
    ) -> SlaveCall {
        let params = json!({"type": "directory", "project_directory": path});
        SlaveCall::SetUp(Box::new(set_up(&params, commit)))
    }

    fn check(params: &Value, commit: Option<&str>, expected: &Value) {
        let made = from_master(request(&set_up(params, commit)));
        assert_eq!(Value::Object(made.project_type_params), *expected);
        assert_eq!(made.source_from_master, commit.is_some());
    }

    #[test]
    fn a_commit_that_the_master_has_found_makes_no_build_of_a_commit() {
        let params = json!({"type": "git", "url": "u", "branch": "main", "hash": "0123456"});
        let mut found = set_up(&params, Some("0123456"));
        assert!(request(&found).project_type_params.contains_key(HASH));
        found.request.is_commit_found = true;
        let told = request(&found);
        assert!(!told.project_type_params.contains_key(HASH));
        assert_eq!(told.commit.as_deref(), Some("0123456"));
    }

    #[test]
    fn credentials_stay_on_the_master() {
        check(
            &json!({"type": "git", "url": "https://me:pw@host/a.git", "remote": "https://token@host/b", "branch": "x"}),
            Some("0123"),
            &json!({"type": "git", "url": "https://host/a.git", "remote": "https://host/b", "branch": "x"}),
        );
        check(
            &json!({"type": "git", "url": "/a", "remote": "origin"}),
            Some("0123"),
            &json!({"type": "git", "url": "/a", "remote": "origin"}),
        );
        check(
            &json!({"type": "directory", "project_directory": "/p"}),
            None,
            &json!({"type": "directory", "project_directory": "/p"}),
        );
    }
}
