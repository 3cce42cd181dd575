use super::*;
use clusterrunner_common::job::matrix::Part;
use clusterrunner_core::access::UserCaller;

fn before(failed: &[&str]) -> Before {
    let request = json!({
        "type": "git", "url": "u", "branch": "main", "job_name": "Unit", "env": {"A": "1"}, "retries": 3,
        "inherited_env": {"HOME": "/elsewhere"},
    });
    Before {
        project: ProjectId(7),
        started_by: None,
        request: BuildRequest::from_json(&request).unwrap(),
        commit: Some("c0ffee".repeat(6) + "c0ff"),
        is_given_secrets: false,
        is_over: true,
        failed: failed.iter().copied().map(str::to_owned).collect(),
        quotes_atoms: true,
        children: Vec::new(),
        chosen: Vec::new(),
    }
}

#[test]
fn what_another_user_brought_is_known() {
    let mut of_ben = before(&[]);
    of_ben.started_by = Some(UserId(2));
    assert!(of_ben.is_of_others(Actor::SecretHolder));
    assert!(of_ben.is_of_others(Actor::User(UserId(1))));
    assert!(!of_ben.is_of_others(Actor::User(UserId(2))));
    assert!(!before(&[]).is_of_others(Actor::User(UserId(1))));
}

#[test]
fn tokens_that_only_submit_are_told_apart() {
    let user = |role| {
        Caller::User(UserCaller {
            id: UserId(1),
            is_superuser: true,
            role,
        })
    };
    assert!(only_submits(user(Role::Submit)));
    assert!(!only_submits(user(Role::Admin)));
    assert!(!only_submits(Caller::Nobody));
}

fn again(fields: Value) -> Again {
    Again::from_json(&fields).unwrap().unwrap()
}

/// What failed of a matrix is chosen with its atoms, and a build of one runs again alone.
#[test]
fn a_matrix_runs_again_as_far_as_it_failed() {
    let combination = |value: &str| -> Combination {
        let variable = ("PY".to_owned(), value.to_owned());
        [variable].into_iter().collect()
    };
    let of_matrix = || {
        let mut parent = before(&[]);
        // A build that has no plan says nothing of how atoms are written, wherever it stands.
        parent.take_choice(combination("0"), Some((Vec::new(), false)));
        parent.take_choice(combination("1"), Some((vec!["$(a)".to_owned()], true)));
        parent.take_choice(combination("2"), None);
        parent
    };
    let fields = json!({"retry_of": 5, "only_failed": true});
    let request = again(fields).request(of_matrix()).unwrap();
    let atoms: Vec<_> = request.matrix.iter().map(|one| one.atoms.clone()).collect();
    assert_eq!(atoms, [None, Some(vec!["$(a)".to_owned()]), None]);
    assert!(request.matrix.iter().all(|one| one.is_exact));
    assert!(request.quotes_atoms && request.atoms_override.is_none());

    let chosen = || json!({"retry_of": 5, "matrix": [{"PY": "2"}]});
    let request = again(chosen()).request(of_matrix()).unwrap();
    assert_eq!((request.matrix.len(), request.quotes_atoms), (1, false));
    let mut both = chosen();
    both["only_failed"] = json!(true);
    let refused = again(both).request(of_matrix()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("Field 'matrix' must be left out")
    );

    let alone = || {
        let mut alone = before(&[]);
        let (parent, combination) = (Some(BuildId(3)), combination("1"));
        alone.request.part = Some(Part {
            parent,
            combination,
        });
        alone
    };
    let part = again(json!({"retry_of": 5}))
        .request(alone())
        .unwrap()
        .part
        .unwrap();
    assert_eq!((part.parent, part.combination), (None, combination("1")));
    let refused = again(chosen()).request(alone()).unwrap_err();
    assert!(refused.to_string().contains("one combination of a matrix"));
}

#[test]
fn the_same_commit_is_built_with_the_same_variables() {
    let request = again(json!({"retry_of": 5})).request(before(&[])).unwrap();
    // The master has found it on the branch.
    assert!(request.is_commit_found);
    let mut named = before(&[]);
    if let ProjectSource::Git { hash, .. } = &mut named.request.project {
        *hash = Some("c0ffee".to_owned());
    }
    let of_named = again(json!({"retry_of": 5})).request(named).unwrap();
    assert!(!of_named.is_commit_found);
    let body = Value::Object(request.to_body());
    assert_eq!(
        body,
        json!({
            "type": "git", "url": "u", "branch": "main", "job_name": "Unit", "env": {"A": "1"}, "retries": 3,
            "hash": "c0ffee".repeat(6) + "c0ff", "retry_of": 5,
        })
    );
}

#[test]
fn the_newest_commit_and_other_limits_are_taken_on_request() {
    let fields = json!({"retry_of": 5, "newest": true, "retries": 0, "max_fail": 2});
    let request = again(fields).request(before(&[])).unwrap();
    let body = request.to_body();
    assert_eq!(body.get("hash"), None);
    assert_eq!(
        (&body["retries"], &body["max_fail"]),
        (&json!(0), &json!(2))
    );
}

#[test]
fn only_what_failed_is_run_where_that_is_asked_for() {
    let fields = || json!({"retry_of": 5, "only_failed": true});
    let atoms = ["export T=\"a\";"];
    let request = again(fields()).request(before(&atoms)).unwrap();
    assert_eq!(request.atoms_override, Some(vec![atoms[0].to_owned()]));
    assert!(request.quotes_atoms);
    let refused = |before| again(fields()).request(before).unwrap_err().to_string();
    assert_eq!(refused(before(&[])), "Build 5 has no failed atoms.");
    let running = Before {
        is_over: false,
        ..before(&atoms)
    };
    assert!(refused(running).starts_with("Build 5 is not over yet"));
}

#[test]
fn some_atoms_run_one_after_the_other_where_that_is_asked_for() {
    let atoms = json!(["export T=\"b\";", "export T=\"a\";"]);
    let fields = |only_failed: bool| json!({"retry_of": 5, "atoms_override": atoms, "in_order": true, "only_failed": only_failed});
    let request = again(fields(false)).request(before(&["x"])).unwrap();
    let body = request.to_body();
    assert_eq!(
        (
            &body["atoms_override"],
            &body["in_order"],
            &body["quotes_atoms"]
        ),
        (&atoms, &json!(true), &json!(true))
    );
    let refused = again(fields(true)).request(before(&["x"])).unwrap_err();
    assert!(refused.to_string().starts_with("Field 'atoms_override'"));
    let request = again(json!({"retry_of": 5})).request(before(&[])).unwrap();
    assert!(!request.in_order && !request.quotes_atoms);
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |fields: Value| Again::from_json(&fields).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"retry_of": "five"})),
        "Field 'retry_of' must be the number of a build."
    );
    assert_eq!(
        refused(json!({"retry_of": 5, "newest": 1})),
        "Field 'newest' must be true or false."
    );
    assert!(refused(json!({"retry_of": 5, "retries": 11})).contains("between 0 and 10"));
    let unknown = refused(json!({"retry_of": 5, "branch": "main"}));
    assert!(
        unknown.starts_with("Field 'branch' must be left out"),
        "{unknown}"
    );
    assert!(
        Again::from_json(&json!({"type": "git", "retry_of": 5}))
            .unwrap()
            .is_none()
    );
    assert!(Again::from_json(&json!({"type": "git"})).unwrap().is_none());
}

/// Atoms are text of where they come from: they bring a build of other code no secrets.
#[test]
fn atoms_are_of_the_code_that_printed_them() {
    let code =
        |branch: Option<&str>, hash: Option<&str>, remote: Option<&str>| ProjectSource::Git {
            url: "u".to_owned(),
            remote: remote.map(str::to_owned),
            branch: branch.map(str::to_owned),
            hash: hash.map(str::to_owned),
            project_directory: None,
        };
    let main = || code(Some("main"), None, None);
    let pull_request = || code(Some("refs/pull/7/head"), None, None);
    let commit = || code(None, Some("c0ffee"), None);
    let fork = || code(Some("main"), None, Some("f"));
    for (of, again, is_given_secrets, expected) in [
        (main(), main(), false, true),
        (
            main(),
            code(Some("main"), None, Some("origin")),
            false,
            true,
        ),
        (pull_request(), main(), false, false),
        (fork(), main(), false, false),
        (fork(), main(), true, false),
        (commit(), main(), false, false),
        (commit(), commit(), false, true),
        (commit(), code(None, Some("another"), None), false, false),
        // It was found on a branch.
        (commit(), code(None, Some("another"), None), true, true),
        (main(), commit(), false, true),
    ] {
        let mut before = before(&[]);
        before.request.project = of.clone();
        before.commit = Some("c0ffee".to_owned());
        before.is_given_secrets = is_given_secrets;
        let found = is_of_same_code(&before, &again);
        assert_eq!(found, expected, "{of:?} {again:?}");
    }
}
