//! What slaves are told that get projects from the master.

use clusterrunner_common::api::SetupRequest;
use clusterrunner_common::git::GitUrl;
use serde_json::Value;

/// The same set-up with the source at the master. The URLs are names then, and keep their credentials here.
pub(super) fn from_master(request: &SetupRequest) -> SetupRequest {
    let mut request = request.clone();
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
mod tests {
    use super::*;
    use serde_json::json;

    fn check(params: &Value, commit: Option<&str>, expected: &Value) {
        let request = SetupRequest {
            project_type_params: params.as_object().unwrap().clone(),
            commit: commit.map(str::to_owned),
            ..SetupRequest::default()
        };
        let made = from_master(&request);
        assert_eq!(Value::Object(made.project_type_params), *expected);
        assert_eq!(made.source_from_master, commit.is_some());
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
