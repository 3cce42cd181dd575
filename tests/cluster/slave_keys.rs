//! Slaves with keys of their own: joining, restarts, revocation, and those who take others for themselves.

use crate::farm::Farm;
use crate::job::Job;
use crate::raw::{Answer, Raw};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::slave_keys::CreateJoinToken;
use clusterrunner_common::api::{BuildView, PROTOCOL, SlaveView};
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Settings of the farm without its secret.
fn settings_without_secret(farm: &Farm) -> PathBuf {
    let text = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("secret = "));
    let text: Vec<&str> = lines.collect();
    let file = farm.path("base/no_secret.conf");
    fs::write(&file, text.join("\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// A file with a new join token.
async fn token_file(farm: &Farm) -> PathBuf {
    let new = CreateJoinToken {
        name: "test".to_owned(),
        expires_in: Some(3600),
        address: None,
        uses: Some(10),
    };
    let created = farm.client().create_join_token(&new).await.unwrap();
    let file = farm.path("token");
    fs::write(&file, created.text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Starts a slave that has a join token and no secret.
async fn start_with_token(farm: &mut Farm) -> usize {
    let (settings, token) = (settings_without_secret(farm), token_file(farm).await);
    let (settings, token) = (text(&settings), text(&token));
    let more = ["--config-file", &settings, "--join-token-file", &token];
    let slave = farm.start_slave_with_arguments(1, &more);
    farm.wait_for_slaves(slave + 1).await;
    slave
}

async fn says(farm: &Farm, daemon: &str, words: &[&str]) {
    wait_for(&format!("{daemon} says {words:?}"), async || {
        let output = farm.output(daemon);
        words.iter().all(|word| output.contains(word)).then_some(())
    })
    .await;
}

async fn slave_at(farm: &Farm, number: usize) -> SlaveView {
    let slaves = farm.client().slaves().await.unwrap();
    let address = farm.slave_address(number);
    slaves
        .into_iter()
        .find(|slave| slave.url == address)
        .unwrap()
}

/// A request that the slave with this number signs with its key.
async fn send_as(farm: &Farm, number: usize, path: &str, body: &Value) -> Answer {
    let request = Raw::json("POST", &farm.master_address(), path, body);
    request
        .send(&request.key_signature(&farm.slave_key(number)))
        .await
}

/// A result of the first subjob of a build in the name of some slave, by the slave with this number, which does not hold it.
async fn send_result_as(
    farm: &Farm,
    number: usize,
    (build, slave): (BuildId, &SlaveView),
) -> Answer {
    let report = json!({
        "slave_id": slave.id, "session_id": slave.session_id, "incarnation": farm.incarnation(),
        "results": [{"subjob_id": 0, "attempt": 1}],
    });
    let body = format!(
        "--X\r\nContent-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n{report}\r\n--X\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"payload\"\r\n\r\nx\r\n--X--\r\n"
    );
    let request = Raw {
        method: "POST",
        server: farm.master_address(),
        path: format!("/v1/build/{build}/results"),
        content_type: Some("multipart/form-data; boundary=X".to_owned()),
        body: body.into_bytes(),
    };
    request
        .send(&request.upload_signature(&farm.slave_key(number)))
        .await
}

#[tokio::test]
async fn a_slave_joins_with_a_token_and_needs_neither_that_nor_the_secret_again() {
    let mut farm = Farm::start(&[]).await;
    let slave = start_with_token(&mut farm).await;
    farm.works().await;
    fs::remove_file(farm.path("token")).unwrap();
    let settings = text(&farm.path("base/no_secret.conf"));
    assert!(farm.stop_slave(slave).success());
    farm.restart_slave_with_arguments(slave, 1, &["--config-file", &settings]);
    farm.wait_for_slaves(1).await;
    farm.works().await;
    assert!(farm.stop_master().success());
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.works().await;
    let secret = fs::read_to_string(farm.path("base/no_secret.conf")).unwrap();
    assert!(!secret.contains("secret ="), "none was made");
}

#[tokio::test]
async fn a_revoked_slave_ends_and_its_build_goes_on_elsewhere() {
    let mut farm = Farm::start(&[1]).await;
    let flag = farm.path("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.1; done", flag.display());
    let repository = Repository::of(&Job::empty().then(&wait).atoms(1));
    let build = farm.submit(&repository.request()).await;
    let runs = |view: &BuildView| view.num_atoms_in_progress > 0;
    farm.wait_for_build(build, "it runs", runs).await;
    let revoked = slave_at(&farm, 0).await;
    farm.start_slave(1);
    farm.wait_for_slaves(2).await;
    let key = farm.client().slave_keys().await.unwrap();
    let key = key.iter().find(|key| key.address == revoked.url).unwrap();
    farm.client().revoke_slave_key(key.key, true).await.unwrap();
    wait_for("it ends", async || farm.has_ended(0).then_some(())).await;
    says(&farm, "slave 0", &["revoked", "--undo", "identity"]).await;
    let late = json!({"slave": {"heartbeat": true, "session_id": revoked.session_id}});
    let path = format!("/v1/slave/{}/heartbeat", revoked.id);
    let answer = send_as(&farm, 0, &path, &late).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.error().contains("revoked"), "{answer:?}");
    let answer = send_result_as(&farm, 0, (build, &revoked)).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    // Started again it does not get in by the secret, which it still has.
    farm.restart_slave(0, 1);
    wait_for("it ends again", async || farm.has_ended(0).then_some(())).await;
    fs::write(flag, "").unwrap();
    farm.end_of(build).await.passes();
    // What its log says helps.
    fs::remove_dir_all(farm.slave_directory(0).join("identity")).unwrap();
    farm.restart_slave(0, 1);
    farm.wait_for_slaves(2).await;
}

#[tokio::test]
async fn a_slave_acts_for_itself_alone() {
    let farm = Farm::start(&[1, 1]).await;
    let other = slave_at(&farm, 1).await;
    let (id, session) = (other.id, other.session_id.clone());
    let named = json!({"slave_id": id, "session_id": session, "key": "0".repeat(64), "digest": "0",
        "offset": 0, "submodule": [], "have": [], "instances": [], "logs": []});
    let about =
        json!({"slave": {"heartbeat": true, "state": "DISCONNECTED", "session_id": session}});
    for (path, body) in [
        (format!("/v1/slave/{id}/heartbeat"), &about),
        (format!("/v1/slave/{id}/shutdown"), &json!({})),
        (format!("/v1/slave/{id}/drain"), &json!({})),
        (
            "/v1/slave/shutdown".to_owned(),
            &json!({"shutdown_all": true}),
        ),
        ("/v1/kept_setup".to_owned(), &named),
        ("/v1/build".to_owned(), &json!({"type": "directory"})),
        ("/v2/join_tokens".to_owned(), &json!({"name": "mine"})),
    ] {
        let answer = send_as(&farm, 0, &path, body).await;
        assert!([401, 403].contains(&answer.status), "{path}: {answer:?}");
    }
    let own = slave_at(&farm, 0).await;
    let alive = json!({"slave": {"heartbeat": true, "session_id": own.session_id}});
    let path = format!("/v1/slave/{}/heartbeat", own.id);
    let answer = send_as(&farm, 0, &path, &alive).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    farm.works().await;
}

#[tokio::test]
async fn a_slave_brings_nobody_elses_result() {
    let mut farm = Farm::start(&[1]).await;
    let flag = farm.path("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.1; done", flag.display());
    let repository = Repository::of(&Job::empty().then(&wait).atoms(1));
    let build = farm.submit(&repository.request()).await;
    let runs = |view: &BuildView| view.num_atoms_in_progress > 0;
    farm.wait_for_build(build, "it runs", runs).await;
    farm.start_slave(1);
    farm.wait_for_slaves(2).await;
    let (holder, other) = (slave_at(&farm, 0).await, slave_at(&farm, 1).await);
    let answer = send_result_as(&farm, 1, (build, &holder)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.error().contains("a key of its own"), "{answer:?}");
    let answer = send_result_as(&farm, 1, (build, &other)).await;
    assert_eq!(answer.body["rejected"][0]["status"], 403, "{answer:?}");
    fs::write(flag, "").unwrap();
    farm.end_of(build).await.passes();
}

#[tokio::test]
async fn another_master_at_the_address_is_refused_until_it_is_wanted() {
    let mut farm = Farm::start(&[1]).await;
    assert!(farm.stop_master().success());
    fs::remove_file(farm.path("base/master/master.key")).unwrap();
    farm.start_master().await;
    says(
        &farm,
        "slave 0",
        &["takes no orders from another", "--forget-master"],
    )
    .await;
    assert!(!farm.has_ended(0), "it goes on waiting for its own");
    assert!(farm.stop_slave(0).success());
    farm.restart_slave_with_arguments(0, 1, &["--forget-master"]);
    farm.wait_for_slaves(1).await;
    farm.works().await;
}

#[tokio::test]
async fn a_slave_of_another_master_is_not_registered() {
    let mut farm = Farm::start(&[1]).await;
    assert!(farm.stop_master().success());
    fs::remove_file(farm.path("base/master/master.key")).unwrap();
    fs::remove_dir_all(farm.path("base/master/journal")).unwrap();
    farm.start_master().await;
    says(&farm, "slave 0", &["has joined the one with the key"]).await;
    assert!(farm.client().slaves().await.unwrap().is_empty());
    assert!(farm.client().slave_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_slave_whose_token_is_of_another_master_says_what_helps() {
    let mut farm = Farm::start(&[]).await;
    start_with_token(&mut farm).await;
    assert!(farm.stop_master().success());
    fs::remove_file(farm.path("base/master/master.key")).unwrap();
    fs::remove_dir_all(farm.path("base/master/journal")).unwrap();
    farm.start_master().await;
    let words = [
        "not one of this master",
        "has joined the one",
        "--forget-master",
    ];
    says(&farm, "slave 0", &words).await;
}

#[tokio::test]
async fn a_slave_that_lost_its_key_says_what_helps() {
    let mut farm = Farm::start(&[]).await;
    let slave = start_with_token(&mut farm).await;
    assert!(farm.stop_slave(slave).success());
    fs::remove_file(farm.slave_directory(slave).join("identity/own.key")).unwrap();
    let settings = text(&farm.path("base/no_secret.conf"));
    farm.restart_slave_with_arguments(slave, 1, &["--config-file", &settings]);
    says(
        &farm,
        "slave 0",
        &["does not know the slave's key", "--join-token-file"],
    )
    .await;
    assert!(farm.stop_slave(slave).success());
    let token = text(&token_file(&farm).await);
    let more = ["--config-file", &settings, "--join-token-file", &token];
    farm.restart_slave_with_arguments(slave, 1, &more);
    // A token takes the address of nobody, not even that of the slave's own lost key.
    says(&farm, "slave 0", &["another slave has", "slaves forget"]).await;
    let keys = farm.client().slave_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    // The slave of before may not have come to say that it ends.
    wait_for("its key can be forgotten", async || {
        farm.client().forget_slave_key(keys[0].key).await.ok()
    })
    .await;
    farm.wait_for_slaves(1).await;
    farm.works().await;
}

#[tokio::test]
async fn slaves_join_again_when_the_journal_does_not_know_them() {
    let mut farm = Farm::start(&[1]).await;
    farm.works().await;
    assert!(farm.stop_master().success());
    fs::remove_dir_all(farm.path("base/master/journal")).unwrap();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.works().await;
    let keys = farm.client().slave_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
}

/// What a slave of a version before keys sends: all of it is signed with the secret.
#[tokio::test]
async fn a_slave_of_a_version_before_keys_goes_on_with_the_secret() {
    let farm = Farm::start(&[1]).await;
    let send = async |path: &str, body: &Value| {
        let request = Raw::json("POST", &farm.master_address(), path, body);
        request.send(&request.signature(&farm.secret())).await
    };
    let address = farm.slave_address(1);
    let offer = json!({"slave": address, "num_executors": 1, "protocol": PROTOCOL, "session_id": "of-before-keys"});
    let answer = send("/v1/slave", &offer).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body["identity"].is_null(), "{answer:?}");
    let id = answer.body["slave_id"].as_str().unwrap();
    says(&farm, "master", &["no key of its own", "upgrade it"]).await;
    let alive = json!({"slave": {"heartbeat": true, "session_id": "of-before-keys"}});
    let path = format!("/v1/slave/{id}/heartbeat");
    let answer = send(&path, &alive).await;
    assert_eq!(
        (answer.status, &answer.body["is_alive"]),
        (200, &json!(true))
    );
    // A key of another slave says nothing in its name.
    let answer = send_as(&farm, 0, &path, &alive).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let leaves = json!({"slave": {"state": "DISCONNECTED", "session_id": "of-before-keys"}});
    let request = Raw::json(
        "PUT",
        &farm.master_address(),
        &format!("/v1/slave/{id}"),
        &leaves,
    );
    let answer = request.send(&request.signature(&farm.secret())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    farm.works().await;
}

/// As what a pool has started and given up: its key is forgotten, and its token gone.
#[tokio::test]
async fn a_slave_that_its_master_has_forgotten_ends_where_it_is_to() {
    let mut farm = Farm::start(&[]).await;
    farm.add_settings("end_when_unknown = True\n");
    let slave = start_with_token(&mut farm).await;
    assert!(farm.stop_slave(slave).success());
    let client = farm.client();
    for key in client.slave_keys().await.unwrap() {
        wait_for("the master knows that the slave has ended", async || {
            client.forget_slave_key(key.key).await.ok()
        })
        .await;
    }
    for token in client.join_tokens().await.unwrap().tokens {
        client.revoke_join_token(token.id).await.unwrap();
    }
    let (settings, token) = (farm.path("base/no_secret.conf"), farm.path("token"));
    let more = [
        "--config-file",
        &text(&settings),
        "--join-token-file",
        &text(&token),
    ];
    farm.restart_slave_with_arguments(slave, 1, &more);
    assert!(!farm.end_of_slave(slave).await.success());
    says(&farm, "slave 0", &["its master knows it no more"]).await;
}
