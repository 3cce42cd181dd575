//! Keys of slaves and join tokens in the wrong hands: revoked, used up, stolen, replayed, or those of another slave.

use super::victim::Victim;
use crate::raw::{Answer, Proof, Raw, session_of};
use clusterrunner_common::api::slave_keys::CreateJoinToken;
use clusterrunner_common::api::{PROTOCOL, SlaveIdentity, SlaveView};
use clusterrunner_common::auth::joining::life_with_key;
use clusterrunner_common::auth::keys::{JoinToken, OwnKey};
use clusterrunner_common::auth::signature::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{PublicKey, SessionId};
use serde_json::{Value, json};

/// Where a slave of the attacker says it is. Nobody is there.
const NOWHERE: &str = "10.255.255.1:9";

/// A farm of two slaves, the second of which is the attacker's, and what the attacker has besides.
struct Scene<'v> {
    victim: &'v Victim,
    /// The slaves, the attacker's last.
    slaves: [SlaveView; 2],
    /// A key that was good once.
    revoked: OwnKey,
    /// The request with which it joined, and a token that is good no more since.
    join: (Raw, Proof),
    used_up: JoinToken,
    /// A token that is for other addresses.
    bound: JoinToken,
    /// A token that lets slaves join anywhere.
    open: JoinToken,
}

#[tokio::test]
async fn keys_and_tokens_open_what_they_are_for() {
    let mut victim = Victim::new().await;
    victim.farm.start_slave(1);
    victim.farm.wait_for_slaves(2).await;
    let scene = Scene::set(&victim).await;
    suffer!(
        victim with scene,
        a_key_that_was_revoked,
        a_join_that_is_replayed,
        a_token_that_is_used_up,
        a_token_for_other_addresses,
        the_address_of_another_slave,
        a_key_that_one_has_not,
        a_key_that_is_none,
        what_another_slave_says,
        a_result_of_another_slave,
        a_mark_that_no_master_made,
        keys_and_tokens_for_other_things,
        a_master_that_is_none,
    );
    victim.lives().await;
}

impl<'v> Scene<'v> {
    async fn set(victim: &'v Victim) -> Self {
        let client = victim.farm.client();
        let token = async |address: Option<&str>, uses| {
            let new = CreateJoinToken {
                name: "stolen".to_owned(),
                expires_in: None,
                address: address.map(str::to_owned),
                uses,
            };
            let created = client.create_join_token(&new).await.unwrap();
            created.text.parse::<JoinToken>().unwrap()
        };
        let used_up = token(None, Some(1)).await;
        let (bound, open) = (token(Some("pool-*"), None).await, token(None, None).await);
        let revoked = OwnKey::from_random(random_bytes());
        let request = join(victim, &revoked, NOWHERE);
        let proof = with_token(&request, &used_up);
        let answer = request.send(&proof).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        client
            .revoke_slave_key(revoked.public(), true)
            .await
            .unwrap();
        let slaves = client.slaves().await.unwrap();
        let at = |number| {
            let address = victim.farm.slave_address(number);
            let mut slaves = slaves.iter();
            slaves.find(|slave| slave.url == address).unwrap().clone()
        };
        Self {
            victim,
            slaves: [at(0), at(1)],
            revoked,
            join: (request, proof),
            used_up,
            bound,
            open,
        }
    }

    /// What is answered to a slave that joins with a new key.
    async fn joins(&self, token: &JoinToken, address: &str) -> Answer {
        let request = join(self.victim, &OwnKey::from_random(random_bytes()), address);
        request.send(&with_token(&request, token)).await
    }

    /// What the master answers to who signs with a key.
    async fn asks(&self, key: &OwnKey, path: &str, body: &Value) -> Answer {
        let request = Raw::json("POST", &self.victim.master(), path, body);
        request.send(&request.key_signature(key)).await
    }

    /// The key of the attacker's slave.
    fn own(&self) -> OwnKey {
        self.victim.farm.slave_key(1)
    }
}

/// What a slave sends to join, in a life of its own.
fn join(victim: &Victim, key: &OwnKey, address: &str) -> Raw {
    let random = SessionId::from_random(random_bytes());
    let life = life_with_key(&random, &key.public());
    let identity = SlaveIdentity::new(key, address, &life, random_bytes());
    let body = json!({"slave": address, "num_executors": 1, "protocol": PROTOCOL, "session_id": life, "identity": identity});
    Raw::json("POST", &victim.master(), "/v1/slave", &body)
}

fn with_token(request: &Raw, token: &JoinToken) -> Proof {
    let signed = Signed {
        method: request.method,
        path_and_query: &request.path,
        receiver: &session_of(&request.server),
        content_digest: &content_digest(&request.body),
    };
    let signature = signed.sign_with_token(token, Timestamp::now(), random_bytes());
    vec![(SIGNATURE_HEADER, signature)]
}

/// Its holder says it is alive, connects, and joins anew under the secret's eyes.
async fn a_key_that_was_revoked(scene: &Scene<'_>) {
    let request = join(scene.victim, &scene.revoked, NOWHERE);
    let alive = json!({"slave": {"heartbeat": true, "session_id": scene.slaves[0].session_id}});
    let id = scene.slaves[0].id;
    let answers = [
        request.send(&request.key_signature(&scene.revoked)).await,
        request.send(&with_token(&request, &scene.open)).await,
        request
            .send(&request.signature(&scene.victim.farm.secret()))
            .await,
        scene
            .asks(&scene.revoked, &format!("/v1/slave/{id}/heartbeat"), &alive)
            .await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.error().contains("revoked"), "{answer:?}");
    }
}

/// The very request that was good once.
async fn a_join_that_is_replayed(scene: &Scene<'_>) {
    let (request, proof) = &scene.join;
    for _ in 0..2 {
        let answer = request.send(proof).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}

async fn a_token_that_is_used_up(scene: &Scene<'_>) {
    for address in [NOWHERE, "10.255.255.2:9"] {
        let answer = scene.joins(&scene.used_up, address).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.error().contains("no more may"), "{answer:?}");
    }
}

async fn a_token_for_other_addresses(scene: &Scene<'_>) {
    for address in [NOWHERE, "a.pool-1:9", "POOL.example.com:9"] {
        let answer = scene.joins(&scene.bound, address).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.error().contains("pool-*"), "{answer:?}");
    }
}

/// With a token, and with the key of another slave.
async fn the_address_of_another_slave(scene: &Scene<'_>) {
    let address = scene.victim.farm.slave_address(0);
    let answer = scene.joins(&scene.open, &address).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.error().contains("slaves forget"), "{answer:?}");
    let request = join(scene.victim, &scene.own(), &address);
    let answer = request.send(&request.key_signature(&scene.own())).await;
    assert_eq!(answer.status, 409, "{answer:?}");
}

/// The identity of another slave, and one that is signed for another address.
async fn a_key_that_one_has_not(scene: &Scene<'_>) {
    let (mine, other) = (
        OwnKey::from_random(random_bytes()),
        scene.victim.farm.slave_key(0),
    );
    let life = life_with_key(&SessionId::from_random(random_bytes()), &other.public());
    let foreign = SlaveIdentity {
        key: other.public(),
        ..SlaveIdentity::new(&mine, NOWHERE, &life, random_bytes())
    };
    let elsewhere = SlaveIdentity::new(&mine, "10.255.255.2:9", &life, random_bytes());
    for identity in [foreign, elsewhere] {
        let body = json!({"slave": NOWHERE, "num_executors": 1, "protocol": PROTOCOL, "session_id": life, "identity": identity});
        let request = Raw::json("POST", &scene.victim.master(), "/v1/slave", &body);
        let answer = request.send(&with_token(&request, &scene.open)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        // The attacker's own key signs the request, and the identity is another's.
        let answer = request.send(&request.key_signature(&scene.own())).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

/// Points with which anybody can sign: of a small group, or no points at all.
async fn a_key_that_is_none(scene: &Scene<'_>) {
    let mut one = [0; 32];
    one[0] = 1;
    for bytes in [[0; 32], one, [0xff; 32]] {
        let key = PublicKey(bytes);
        let life = life_with_key(&SessionId::from_random(random_bytes()), &key);
        let identity = json!({"key": key, "proof": "0".repeat(128), "challenge": "c"});
        let body = json!({"slave": NOWHERE, "num_executors": 1, "protocol": PROTOCOL, "session_id": life, "identity": identity});
        let request = Raw::json("POST", &scene.victim.master(), "/v1/slave", &body);
        let answer = request.send(&with_token(&request, &scene.open)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let signature = format!(
            "v3;t={};n={};s={};k={key};d={}",
            Timestamp::now().0,
            "0".repeat(32),
            session_of(&request.server),
            "0".repeat(128)
        );
        let answer = request.send(&vec![(SIGNATURE_HEADER, signature)]).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}

/// The attacker's slave says that the other one leaves, has no instances, or is idle.
async fn what_another_slave_says(scene: &Scene<'_>) {
    let other = &scene.slaves[0];
    let (id, session) = (other.id, &other.session_id);
    let instances = json!({"session_id": session, "number": 1_u64 << 40, "max_instances": 0, "runs_images": false,
        "instances": [], "snapshots": []});
    let alive = json!({"slave": {"heartbeat": true, "session_id": session}});
    for (path, body) in [
        (format!("/v1/slave/{id}/heartbeat"), &alive),
        (format!("/v1/slave/{id}/instances"), &instances),
        (format!("/v1/slave/{id}/shutdown"), &json!({})),
    ] {
        let answer = scene.asks(&scene.own(), &path, body).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    let leaves = json!({"slave": {"state": "DISCONNECTED", "session_id": session}});
    let path = format!("/v1/slave/{id}");
    let request = Raw::json("PUT", &scene.victim.master(), &path, &leaves);
    let answer = request.send(&request.key_signature(&scene.own())).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

/// A result in the other's name, and one in the own name that was never handed out to the attacker.
async fn a_result_of_another_slave(scene: &Scene<'_>) {
    for slave in &scene.slaves {
        let report = json!({"slave_id": slave.id, "session_id": slave.session_id,
            "incarnation": scene.victim.farm.incarnation(), "results": [{"subjob_id": 0, "attempt": 1}]});
        let body = format!(
            "--X\r\nContent-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n{report}\r\n--X\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"payload\"\r\n\r\nx\r\n--X--\r\n"
        );
        let request = Raw {
            content_type: Some("multipart/form-data; boundary=X".to_owned()),
            body: body.into_bytes(),
            ..Raw::json(
                "POST",
                &scene.victim.master(),
                "/v1/build/1/results",
                &Value::Null,
            )
        };
        let answer = request.send(&request.upload_signature(&scene.own())).await;
        let is_recorded = answer.status == 200 && answer.body["rejected"].as_array().is_none();
        assert!(!is_recorded, "{answer:?}");
    }
}

/// The attacker's slave connects again, as it may, and says that it has seen what the journal lacks: all work would be void.
async fn a_mark_that_no_master_made(scene: &Scene<'_>) {
    let (own, key) = (&scene.slaves[1], scene.own());
    let session = own.session_id.clone().unwrap();
    let identity = SlaveIdentity::new(&key, &own.url, &session, random_bytes());
    for proof in [Value::Null, json!("00"), json!("0".repeat(64))] {
        let mut mark = json!({"incarnation": scene.victim.farm.incarnation(), "session_id": "never", "position": 1_u64 << 40});
        if !proof.is_null() {
            mark["proof"] = proof;
        }
        let seen = json!([{"last": mark, "build": 1_000, "attempt": 1_000, "slave": own.id}]);
        let body = json!({"slave": own.url, "num_executors": own.num_executors, "protocol": PROTOCOL, "session_id": session,
            "slave_id": own.id, "identity": identity, "seen": seen, "version": env!("CARGO_PKG_VERSION"), "isolation": "none"});
        let request = Raw::json("POST", &scene.victim.master(), "/v1/slave", &body);
        let answer = request.send(&request.key_signature(&key)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["resumed"], true, "{answer:?}");
    }
}

/// Keys of slaves and join tokens submit nothing, read no accounts, and manage neither keys nor tokens.
async fn keys_and_tokens_for_other_things(scene: &Scene<'_>) {
    let key = scene.victim.farm.slave_key(0).public();
    for (method, path) in [
        ("POST", "/v1/build".to_owned()),
        ("PUT", "/v1/build/1".to_owned()),
        ("GET", "/v2/slave_keys".to_owned()),
        ("POST", format!("/v2/slave_keys/{key}/revoke")),
        ("DELETE", format!("/v2/slave_keys/{key}")),
        ("GET", "/v2/join_tokens".to_owned()),
        ("POST", "/v2/join_tokens".to_owned()),
        ("GET", "/v2/users".to_owned()),
        ("POST", "/v2/users".to_owned()),
        ("GET", "/v2/secrets".to_owned()),
        ("GET", "/v2/audit".to_owned()),
        ("POST", "/v1/slave/shutdown".to_owned()),
        ("POST", format!("/v1/slave/{}/drain", scene.slaves[0].id)),
    ] {
        // What the route would take.
        let body = match path.as_str() {
            "/v1/build" => json!({"type": "directory"}),
            "/v1/build/1" => json!({"status": "canceled"}),
            "/v1/slave/shutdown" => json!({"shutdown_all": true}),
            // Anybody may register, as nobody in particular.
            "/v2/users" => {
                json!({"name": "mine", "password": "a long password", "is_superuser": true})
            }
            "/v2/join_tokens" => json!({"name": "mine"}),
            _ => json!({}),
        };
        let request = Raw::json(method, &scene.victim.master(), &path, &body);
        for proof in [
            request.key_signature(&scene.own()),
            with_token(&request, &scene.open),
        ] {
            let answer = request.send(&proof).await;
            assert!(
                [401, 403].contains(&answer.status),
                "{method} {path}: {answer:?}"
            );
        }
    }
    let alive = json!({"slave": {"heartbeat": true, "session_id": scene.slaves[0].session_id}});
    let path = format!("/v1/slave/{}/heartbeat", scene.slaves[0].id);
    let request = Raw::json("POST", &scene.victim.master(), &path, &alive);
    let answer = request.send(&with_token(&request, &scene.open)).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
}

/// Orders to a slave by who has the secret, another slave's key, or a key of nobody: it takes those of its master alone.
async fn a_master_that_is_none(scene: &Scene<'_>) {
    let slave = scene.victim.farm.slave_address(0);
    let master = json!({"incarnation": scene.victim.farm.incarnation(),
        "session_id": session_of(&scene.victim.master()), "position": 1});
    let subjob = json!({"subjob_id": 0, "attempt": 1, "atoms": ["true"]});
    for (path, body) in [
        (
            "/v1/build/1/subjobs",
            json!({"command": "true", "subjobs": [subjob], "master": master}),
        ),
        (
            "/v1/build/1/teardown",
            json!({"wait_ms": 1, "master": master}),
        ),
    ] {
        let request = Raw::json("POST", &slave, path, &body);
        for proof in [
            Proof::new(),
            request.signature(&scene.victim.farm.secret()),
            request.key_signature(&scene.own()),
            request.key_signature(&OwnKey::from_random(random_bytes())),
        ] {
            let answer = request.send(&proof).await;
            assert!([401, 403].contains(&answer.status), "{path}: {answer:?}");
        }
    }
}
