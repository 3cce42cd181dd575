//! Requests that are good, and what the others are told.

use super::*;
use crate::ids::{BuildId, ProjectId};
use crate::job::matrix::Part;
use crate::work::ProjectSource;
use serde_json::json;
use std::num::NonZeroU32;
use std::path::Path;

fn check_refused(body: Value, error: &str) {
    assert_eq!(
        BuildRequest::from_json(&body).unwrap_err().to_string(),
        error
    );
}

#[test]
fn a_request_shows_the_fields_it_was_made_of() {
    let body = json!({
        "type": "git", "url": "https://example.org/a.git", "branch": "main",
        "job_name": "Unit", "atoms_override": ["export X=\"7\";"],
        "remote_files": {"data.bin": "https://example.org/data.bin"},
    });
    let request = BuildRequest::from_json(&body).unwrap();
    assert_eq!(Value::Object(request.to_params()), body);
    let stored = serde_json::to_string(&request).unwrap();
    assert_eq!(
        serde_json::from_str::<BuildRequest>(&stored).unwrap(),
        request
    );
}

#[test]
fn variables_are_sent_and_stored_and_never_shown() {
    let body = json!({
        "type": "git", "url": "u", "env": {"TOKEN": "a secret"}, "inherited_env": {"HOME": "/a secret"},
    });
    let request = BuildRequest::from_json(&body).unwrap();
    assert_eq!(Value::Object(request.to_body()), body);
    for shown in [
        format!("{request:?}"),
        Value::Object(request.to_params()).to_string(),
        Value::Object(request.source().to_params()).to_string(),
        Value::Object(request.without_variables().to_body()).to_string(),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    let kept = Value::Object(request.without_inherited_env().to_body());
    assert_eq!(
        kept,
        json!({"type": "git", "url": "u", "env": {"TOKEN": "a secret"}})
    );
    let refused = |variables: Value, error: &str| {
        check_refused(json!({"type": "git", "url": "u", "env": variables}), error);
    };
    refused(
        json!(["A=secret"]),
        "Field 'env' must be an object of names and values, not a list.",
    );
    refused(
        json!({"A": 7}),
        "Field 'env.A' must be a value in a string, not a number.",
    );
    refused(
        json!({"A B": "secret"}),
        "Field 'env.A B' must be given a name of letters, digits and underscores, since shells see no other.",
    );
    refused(
        json!({"PROJECT_DIR": "secret"}),
        "Field 'env.PROJECT_DIR' must be left out, since ClusterRunner sets this variable itself.",
    );
    let long: Map<String, Value> = (0..6)
        .map(|n| (format!("A{n}"), "x".repeat(100 << 10).into()))
        .collect();
    refused(
        long.into(),
        "Field 'env' must be of at most 512 KiB: write long values into files.",
    );
}

#[test]
fn null_counts_as_left_out_and_the_type_is_taken_in_any_case() {
    let body = json!({"type": "GIT", "url": "u", "job_name": null, "config": null});
    let request = BuildRequest::from_json(&body).unwrap();
    assert_eq!((request.job_name, request.config), (None, None));
}

/// As they come back where somebody submits what the original's `request_params` show.
#[test]
fn the_originals_link_is_ignored() {
    for body in [
        json!({"type": "git", "url": "u", "build_project_directory": "/tmp/links/x"}),
        json!({"type": "directory", "project_directory": "/p", "build_project_directory": 7}),
    ] {
        let request = BuildRequest::from_json(&body).unwrap();
        assert_eq!(request.to_params().get("build_project_directory"), None);
    }
}

#[test]
fn a_relative_directory_is_meant_from_a_base_on() {
    for (given, expected) in [
        ("web", "/srv/farm/web"),
        ("./web/", "/srv/farm/web"),
        (".", "/srv/farm"),
        ("../web/../app", "/srv/app"),
        ("../../../../x", "/x"),
        ("/abs/../as/it/is", "/abs/../as/it/is"),
    ] {
        let body = json!({"type": "directory", "project_directory": given});
        let project = BuildRequest::from_json(&body).unwrap().project;
        let project_directory = expected.to_owned();
        let resolved = ProjectSource::Directory { project_directory };
        assert_eq!(
            project.resolved(Path::new("/srv/farm")),
            resolved,
            "{given}"
        );
    }
    let git = json!({"type": "git", "url": "u", "project_directory": "a"});
    let git = BuildRequest::from_json(&git).unwrap().project;
    assert_eq!(git.clone().resolved(Path::new("/srv")), git);
}

#[test]
fn an_error_names_the_field_and_the_cure() {
    check_refused(
        json!([]),
        "The request body must be a JSON object such as {\"type\": \"git\", \"url\": ...}, not a list.",
    );
    let bad_type = "Invalid build request type. Field 'type' must be \"git\" or \"directory\".";
    check_refused(json!({"url": "u"}), bad_type);
    check_refused(json!({"type": 1}), bad_type);
    check_refused(json!({"type": "svn"}), bad_type);
    check_refused(
        json!({"type": "git"}),
        "Missing required parameter. Required parameters: ['url']",
    );
    check_refused(
        json!({"type": "directory"}),
        "Missing required parameter. Required parameters: ['project_directory']",
    );
    check_refused(
        json!({"type": "git", "url": 5}),
        "Field 'url' must be a string, not a number.",
    );
    check_refused(
        json!({"type": "git", "url": "u", "atoms_override": ["a", 1]}),
        "Field 'atoms_override[1]' must be a string such as export X=\"7\";, not a number.",
    );
    check_refused(
        json!({"type": "git", "url": "u", "atoms_override": ["a\0"]}),
        "Field 'atoms_override[0]' must be text without NUL characters.",
    );
    check_refused(
        json!({"type": "git", "url": "u", "hash": "xyz!"}),
        "Field 'hash' must be a commit id of 4 to 40 hex digits.",
    );
    check_refused(
        json!({"type": "git", "url": "u", "project_directory": "../x"}),
        "Field 'project_directory' must be a path inside the repository, relative and without '..'.",
    );
    check_refused(
        json!({"type": "git", "url": "u", "config": "text"}),
        "Field 'config' must be an object with the keys of one job, not a string.",
    );
    check_refused(
        json!({"type": "directory", "project_directory": "/x", "branch": "b"}),
        "Field 'branch' is not known for type \"directory\". Known fields: type, job_name, remote_files, project_directory, config, atoms_override, quotes_atoms, in_order, retries, max_fail, retry_of, matrix, env, inherited_env.",
    );
}

#[test]
fn only_a_master_names_a_project_s_own_repository() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let body = json!({"type": "own", "project": 7, "commit": commit});
    assert_eq!(BuildRequest::from_json(&body), Err(InvalidRequest::Type));
    let request = BuildRequest::from_master(&body).unwrap();
    let project = ProjectSource::Own {
        project: ProjectId(7),
        commit: Some(commit.to_owned()),
    };
    assert_eq!(request.project, project);
    assert_eq!(Value::Object(request.source().to_params()), body);
    for (field, value) in [
        ("project", json!("7")),
        ("project", json!(-1)),
        ("commit", json!("master")),
        ("url", json!("https://host/x")),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        assert!(BuildRequest::from_master(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_another_api_was_asked_for_is_stored_and_neither_taken_nor_shown() {
    let body = json!({"type": "git", "url": "https://host/x"});
    let mut request = BuildRequest::from_json(&body).unwrap();
    request.specification = Some(serde_json::Map::from_iter([(
        "kind".to_owned(),
        json!("build"),
    )]));
    assert_eq!(Value::Object(request.to_params()), body);
    assert_eq!(Value::Object(request.source().to_params()), body);
    let stored = serde_json::to_value(&request).unwrap();
    assert_eq!(
        serde_json::from_value::<BuildRequest>(stored.clone()).unwrap(),
        request
    );
    assert!(BuildRequest::from_json(&stored).is_err());
}

#[test]
fn retries_and_most_failures_are_bounded() {
    let request = |field: &str, value: Value| {
        let body = json!({"type": "git", "url": "u", field: value});
        BuildRequest::from_json(&body).map_err(|error| error.to_string())
    };
    let retries = |value| request("retries", value).map(|request| request.retries);
    assert_eq!(retries(json!(0)), Ok(Some(0)));
    assert_eq!(retries(json!(10)), Ok(Some(10)));
    assert_eq!(retries(Value::Null), Ok(None));
    let expected = "Field 'retries' must be a whole number between 0 and 10, not";
    for (wrong, found) in [
        (json!(11), "11"),
        (json!(-1), "-1"),
        (json!(1.5), "1.5"),
        (json!("2"), "a string"),
    ] {
        assert_eq!(retries(wrong), Err(format!("{expected} {found}.")));
    }
    for field in ["in_order", "quotes_atoms"] {
        assert!(request(field, json!(true)).is_ok());
        assert_eq!(
            request(field, json!("yes")),
            Err(format!(
                "Field '{field}' must be true or false, not a string."
            ))
        );
    }
    let max_fail = |value| request("max_fail", value).map(|request| request.max_fail);
    assert_eq!(max_fail(json!(3)), Ok(NonZeroU32::new(3)));
    let expected =
        "Field 'max_fail' must be a whole number of 1 or more; leave it out for no limit, not 0.";
    assert_eq!(max_fail(json!(0)), Err(expected.to_owned()));
}

/// What is submitted comes out again, and what only the farm says does not.
#[test]
fn combinations_of_a_matrix_may_be_chosen() {
    let body = json!({
        "type": "git", "url": "https://example.org/a.git", "matrix": [{"PYTHON": "3.12", "OS": "a"}, {"OS": "b"}],
    });
    let mut request = BuildRequest::from_json(&body).unwrap();
    assert_eq!(Value::from(request.to_body()), body);
    request.matrix[0].atoms = Some(vec!["true".to_owned()]);
    let combination = request.matrix[0].variables.clone();
    request.part = Some(Part {
        parent: Some(BuildId(7)),
        combination,
    });
    assert_eq!(Value::from(request.to_params()), body);
    let stored = serde_json::to_value(&request).unwrap();
    assert_eq!(
        serde_json::from_value::<BuildRequest>(stored).unwrap(),
        request
    );
    let refused = |matrix: Value| {
        let body = json!({"type": "git", "url": "https://example.org/a.git", "matrix": matrix});
        BuildRequest::from_json(&body).unwrap_err().to_string()
    };
    assert!(refused(json!({"A": "1"})).contains("'matrix' must be a list of objects"));
    assert!(refused(json!([])).contains("leave it out"));
    assert!(refused(json!(["A=1"])).contains("'matrix[0]' must be an object"));
    assert!(
        refused(json!([{"A": "1"}, {"A": 3.11}]))
            .contains("'matrix[1].A' must be a string, not a number")
    );
    assert!(refused(json!(vec![json!({}); 257])).contains("at most 256 objects, not 257"));
    let ours = [
        ("part", json!({"combination": {}})),
        ("is_commit_found", json!(true)),
        ("is_brought_by_others", json!(false)),
    ];
    for (field, value) in ours {
        let mut own = body.clone();
        own[field] = value;
        assert!(BuildRequest::from_json(&own).is_err(), "{field}");
    }
}

/// What a client has sent is a commit that is named in full, and nobody but a client says so.
#[test]
fn a_working_tree_belongs_to_a_commit_that_is_named_in_full() {
    let commit = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
    let body = json!({
        "type": "git", "url": "u", "hash": commit,
        "working_tree": {"base": commit, "files": 3, "by": "ada@home"},
    });
    let request = BuildRequest::from_json(&body).unwrap();
    assert_eq!(Value::Object(request.to_params()), body);
    assert_eq!(request.source().working_tree, request.working_tree);
    let refused = |field: &str, value: Value, error: &str| {
        let mut body = body.clone();
        body[field] = value;
        check_refused(body, error);
    };
    let whole = "Field 'hash' must be the full id of the commit that was sent.";
    refused("hash", Value::Null, whole);
    refused("hash", json!("1a2b3c4"), whole);
    refused(
        "remote",
        json!("https://h/fork"),
        "Field 'remote' must be left out beside 'working_tree'.",
    );
    refused(
        "working_tree",
        json!({"files": -1}),
        "Field 'working_tree.files' must be a whole number.",
    );
    refused(
        "working_tree",
        json!({"files": 1, "base": "main"}),
        "Field 'working_tree.base' must be a commit id of 40 hex digits.",
    );
    refused(
        "working_tree",
        json!({"files": 1, "by": "a\nb"}),
        "Field 'working_tree.by' must be a name of at most 200 bytes, in one line.",
    );
    refused(
        "working_tree",
        json!({"files": 1, "path": "/"}),
        "Field 'working_tree.path' must be left out.",
    );
    refused(
        "working_tree",
        json!("yes"),
        "Field 'working_tree' must be an object with \"files\", and perhaps \"base\" and \"by\", not a string.",
    );
}
