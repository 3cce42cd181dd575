use super::super::subject::fixture::{COMMIT, subject};
use super::*;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use serde_json::Value;

const PAGE: &str = "https://ci.example.com/ui/builds/7";

fn statuses(forge: Forge, api_url: &str, hosts: &[&str]) -> CommitStatuses {
    CommitStatuses {
        forge,
        api_url: Url::parse(api_url).unwrap(),
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        token: Secret::new("the token of this test".to_owned()).unwrap(),
        context: "clusterrunner/{job}".to_owned(),
    }
}

fn github() -> CommitStatuses {
    statuses(Forge::GitHub, "https://api.github.com/", &["github.com"])
}

fn gitlab() -> CommitStatuses {
    statuses(Forge::GitLab, "https://gitlab.com/api/v4", &["gitlab.com"])
}

fn gitea() -> CommitStatuses {
    statuses(Forge::Gitea, "https://git.corp/api/v1", &["git.corp"])
}

fn notice(event: BuildEvent) -> Notice {
    Notice {
        build: BuildId(7),
        event,
        at: Timestamp(1_700_000_185_250),
    }
}

fn sent(statuses: &CommitStatuses, event: BuildEvent, subject: &Subject) -> Outgoing {
    request(statuses, &notice(event), (subject, PAGE)).unwrap()
}

#[test]
fn each_server_gets_the_request_of_its_api() {
    let description = "20 atoms passed in 3 min 5 s";
    for (statuses, repository, url, body, headers, token) in [
        (
            github(),
            "https://github.com/acme/web.git",
            format!("https://api.github.com/repos/acme/web/statuses/{COMMIT}"),
            json!({
                "state": "success", "target_url": PAGE, "description": description,
                "context": "clusterrunner/Unit",
            }),
            vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            ("authorization", "Bearer "),
        ),
        (
            gitlab(),
            "git@gitlab.com:acme/tools/web.git",
            format!("https://gitlab.com/api/v4/projects/acme%2Ftools%2Fweb/statuses/{COMMIT}"),
            json!({
                "state": "success", "target_url": PAGE, "description": description,
                "name": "clusterrunner/Unit",
            }),
            Vec::new(),
            ("private-token", ""),
        ),
        (
            gitea(),
            "ssh://git@git.corp:2222/acme/web",
            format!("https://git.corp/api/v1/repos/acme/web/statuses/{COMMIT}"),
            json!({
                "state": "success", "target_url": PAGE, "description": description,
                "context": "clusterrunner/Unit",
            }),
            Vec::new(),
            ("authorization", "token "),
        ),
    ] {
        let subject = subject(repository, &json!({}));
        let outgoing = sent(&statuses, BuildEvent::Finished, &subject);
        assert_eq!(outgoing.url.as_str(), url);
        let found: Value = serde_json::from_str(&outgoing.body).unwrap();
        assert_eq!(found, body);
        assert_eq!(outgoing.headers, headers);
        let (name, before, secret) = outgoing.token.as_ref().unwrap();
        assert_eq!((*name, *before), token);
        assert_eq!(secret.as_bytes(), b"the token of this test");
        assert!(
            !format!("{outgoing:?}").contains("the token"),
            "{outgoing:?}"
        );
    }
}

#[test]
fn each_event_has_a_state_and_a_sentence() {
    use BuildEvent::{Building, Canceled, Error, Failing, Finished, Prepared, Queued};
    let failed = json!({
        "num_atoms_failed": 3, "result": "FAILURE", "num_atoms_flaky": 1, "num_atoms_not_run": 2,
    });
    let error = json!({"error_message": "The job has no commands.\nMore.", "result": null});
    let none = json!({});
    let empty = json!({"num_atoms": 0, "num_subjobs": 0, "lacks_atoms": true});
    for (event, fields, states, sentence) in [
        (
            Queued,
            &none,
            ("pending", "pending"),
            "Waits to be prepared",
        ),
        (
            Prepared,
            &none,
            ("pending", "pending"),
            "20 atoms wait for a slave",
        ),
        (Building, &none, ("pending", "running"), "Runs 20 atoms"),
        (
            Failing,
            &failed,
            ("failure", "failed"),
            "3 of 20 atoms failed so far",
        ),
        (
            Finished,
            &failed,
            ("failure", "failed"),
            "3 of 20 atoms failed, 1 flaky, 2 not run in 3 min 5 s",
        ),
        (
            Finished,
            &empty,
            ("failure", "failed"),
            "No atoms were found",
        ),
        (
            Error,
            &error,
            ("error", "failed"),
            "Error: The job has no commands.",
        ),
        (Canceled, &none, ("error", "canceled"), "Canceled"),
    ] {
        for (statuses, repository, state) in [
            (github(), "https://github.com/acme/web", states.0),
            (gitea(), "https://git.corp/acme/web", states.0),
            (gitlab(), "https://gitlab.com/acme/web", states.1),
        ] {
            let subject = subject(repository, fields);
            let outgoing = sent(&statuses, event, &subject);
            let body: Value = serde_json::from_str(&outgoing.body).unwrap();
            assert_eq!(body["state"], state, "{event} {repository}");
            assert_eq!(body["description"], sentence);
        }
    }
}

#[test]
fn a_token_goes_to_its_own_server_and_a_path_to_no_other_place() {
    let sends = |statuses: &CommitStatuses, repository: &str| {
        let subject = subject(repository, &json!({}));
        let sent = request(statuses, &notice(BuildEvent::Finished), (&subject, PAGE));
        assert_eq!(
            sent.is_some(),
            is_there(statuses, &subject.place),
            "{repository}"
        );
        sent.map(|outgoing| outgoing.url.to_string())
    };
    for repository in [
        "https://github.com.evil.org/acme/web",
        "https://evil.org/github.com/acme/web",
        "https://github.com@evil.org/acme/web",
        "https://gitlab.com/acme/web",
        "https://github.com/acme",
        "https://github.com/acme/web/more",
        "https://github.com/acme/..%2f..%2fuser",
        "https://github.com/../web",
        "https://github.com/acme/%2e%2e",
        "https://github.com/acme/web%3fx",
        "https://github.com/acme/we%20b",
        "/srv/repositories/acme/web",
    ] {
        assert_eq!(sends(&github(), repository), None, "{repository}");
    }
    for repository in [
        "https://github.com/acme/web.git/",
        "https://GitHub.com/acme/web",
        "https://token@github.com/acme/web.git",
        "git@github.com:acme/web.git",
        "ssh://git@github.com/acme/web.git",
        "git://github.com/acme/web.git",
    ] {
        let expected = format!("https://api.github.com/repos/acme/web/statuses/{COMMIT}");
        assert_eq!(sends(&github(), repository), Some(expected), "{repository}");
    }
    // A server below a path: its repositories are there, too, but not for SSH.
    let below = statuses(Forge::Gitea, "https://git.corp/code/api/v1", &["git.corp"]);
    for repository in ["https://git.corp/code/acme/web", "git@git.corp:acme/web"] {
        let expected = format!("https://git.corp/code/api/v1/repos/acme/web/statuses/{COMMIT}");
        assert_eq!(sends(&below, repository), Some(expected), "{repository}");
    }
}

#[test]
fn without_a_commit_there_is_no_status() {
    let subject = Subject {
        commit: None,
        ..subject("https://github.com/acme/web", &json!({}))
    };
    let sent = request(&github(), &notice(BuildEvent::Queued), (&subject, PAGE));
    assert!(sent.is_none());
}

#[test]
fn texts_are_short_and_give_no_orders() {
    let error = json!({"error_message": format!("\u{1b}[31m{}", "é".repeat(500))});
    let subject = Subject {
        job: Some("j".repeat(300)),
        ..subject("https://github.com/acme/web", &error)
    };
    let outgoing = sent(&github(), BuildEvent::Error, &subject);
    let body: Value = serde_json::from_str(&outgoing.body).unwrap();
    let description = body["description"].as_str().unwrap();
    assert_eq!(description.chars().count(), 140);
    assert!(description.ends_with('…') && !description.contains('\u{1b}'));
    assert_eq!(body["context"].as_str().unwrap().chars().count(), 255);
}

#[test]
fn gitlab_says_so_where_a_status_does_not_change() {
    let answer = r#"{"message":"Cannot transition status via :run from :running"}"#;
    assert!(is_known_already(Forge::GitLab, 400, answer));
    assert!(!is_known_already(Forge::GitLab, 400, "{}"));
    assert!(!is_known_already(Forge::GitLab, 404, answer));
    assert!(!is_known_already(Forge::GitHub, 400, answer));
}
