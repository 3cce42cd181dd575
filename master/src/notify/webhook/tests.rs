use super::super::subject::fixture::subject;
use super::*;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::settings::NotifyReceiver;
use clusterrunner_common::work::BuildEvent;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A webhook as the settings have it.
fn webhook(more: &str) -> Webhook {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clusterrunner.conf");
    let text = format!("[notify chat]\nurl = https://chat.example.com/hook\n{more}\n");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let home = |variable: &str| (variable == "HOME").then(|| "/home/nobody".to_owned());
    let settings = clusterrunner_common::settings::load_master(
        Some(&file),
        home,
        &clusterrunner_common::settings::Overrides::new(),
    );
    match settings.unwrap().notify.remove(0).receiver {
        NotifyReceiver::Webhook(webhook) => webhook,
        NotifyReceiver::CommitStatuses(statuses) => panic!("{statuses:?}"),
    }
}

fn notice(event: BuildEvent) -> Notice {
    Notice {
        build: BuildId(7),
        event,
        at: Timestamp(1_700_000_185_250),
    }
}

fn headers(outgoing: &Outgoing) -> BTreeMap<&str, &str> {
    let headers = outgoing.headers.iter();
    headers.map(|(name, value)| (*name, &**value)).collect()
}

#[test]
fn the_body_says_what_happened_and_shows_the_build() {
    let repository = "https://user:hush@github.com/acme/web.git";
    let fields = json!({
        "request_params": {
            "type": "git", "url": repository, "branch": "main",
            "remote_files": {"a": "https://x/?token=hush"},
        },
    });
    let subject = subject(repository, &fields);
    let page = "https://ci.example.com/ui/builds/7";
    let finished = notice(BuildEvent::Finished);
    let told = (&subject, page);
    let outgoing = request(
        &webhook(""),
        "chat",
        &finished,
        told,
        Timestamp(1_700_000_200_999),
    );
    assert_eq!(outgoing.url.as_str(), "https://chat.example.com/hook");
    let mut body: Value = serde_json::from_str(&outgoing.body).unwrap();
    let build = body["build"].take();
    let expected = json!({
        "version": 1,
        "id": "msg_2232ee3075b7d7c37757179726a3eaf5",
        "event": "finished",
        "at": 1_700_000_185.25,
        "project": "github.com/acme/web",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "branch": "main",
        "url": page,
        "build": null,
    });
    assert_eq!(body, expected);
    assert_eq!(build["id"], 7);
    assert_eq!(build["result"], "NO_FAILURES");
    assert_eq!(
        build["request_params"]["url"],
        "https://github.com/acme/web.git"
    );
    assert!(!outgoing.body.contains("hush"), "{}", outgoing.body);
    let expected = BTreeMap::from([
        ("webhook-id", "msg_2232ee3075b7d7c37757179726a3eaf5"),
        ("webhook-timestamp", "1700000200"),
        ("x-clusterrunner-event", "finished"),
    ]);
    assert_eq!(headers(&outgoing), expected);
    // Nothing in the log says where requests go, but for the host.
    assert!(!format!("{outgoing:?}").contains("hook"), "{outgoing:?}");
}

#[test]
fn a_body_names_some_failed_atoms_and_counts_all() {
    let atom = |number: u32| {
        json!({
            "command_string": format!("export N=\"{number}\";"), "expected_time": null, "actual_time": 1.0,
            "exit_code": 1, "state": "COMPLETED", "id": 0, "subjob_id": number,
        })
    };
    let failed: Vec<Value> = (0..200).map(atom).collect();
    let fields = json!({"failed_atoms": failed, "num_atoms_failed": 200, "result": "FAILURE"});
    let subject = subject("https://github.com/acme/web", &fields);
    let outgoing = request(
        &webhook(""),
        "chat",
        &notice(BuildEvent::Finished),
        (&subject, ""),
        Timestamp(0),
    );
    let body: Value = serde_json::from_str(&outgoing.body).unwrap();
    let named = body["build"]["failed_atoms"].as_array().unwrap().len();
    assert_eq!(
        (named, &body["build"]["num_atoms_failed"]),
        (50, &json!(200))
    );
}

/// The signatures are what Python's hmac made of the same texts.
#[test]
fn the_signatures_are_those_of_standard_webhooks_and_of_github() {
    for (secret, standard, of_body) in [
        (
            "a secret of this test",
            "v1,+ciogr0AVaWAgsbRvl2eraAmE0vl7e/6X6k3eKyEOmc=",
            "sha256=08e42694e6ee3c5f6515a4b9c4709070008d58dafba8177f15b0be634103fce2",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,8jnJLI9+ML43nVQO21NlthXXGrfbsjj1rCk3SytfWjw=",
            "sha256=163ba8c585e714892a9f9ce87ab4c17c1f0e9afd8729fd2ff6db8d3eb2f838bf",
        ),
    ] {
        let webhook = webhook(&format!("secret = {secret}"));
        let body = json!({"version": 1});
        let moment = Timestamp(1_700_000_000_999);
        let outgoing = signed(&webhook, "ping", "msg_1", &body, moment);
        let expected = BTreeMap::from([
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", standard),
            ("x-clusterrunner-event", "ping"),
            ("x-hub-signature-256", of_body),
        ]);
        assert_eq!(headers(&outgoing), expected);
    }
}

#[test]
fn an_id_is_of_one_notice_to_one_receiver() {
    let id = |receiver, build, event, queued| {
        let notice = Notice {
            build: BuildId(build),
            event,
            at: Timestamp(build),
        };
        delivery_id(receiver, &notice, Timestamp(queued))
    };
    let finished = BuildEvent::Finished;
    let ids = [
        id("chat", 7, finished, 1),
        id("chat", 7, finished, 2),
        id("chat", 8, finished, 1),
        id("chat", 7, BuildEvent::Building, 1),
        id("other", 7, finished, 1),
    ];
    let different: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    assert_eq!(id("chat", 7, finished, 1), ids[0]);
}
