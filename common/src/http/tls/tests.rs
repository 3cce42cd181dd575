//! A daemon with certificates that the `openssl` program makes, and who calls it.

use super::authority::{Authority, Term, new_key};
use super::*;
use crate::caller::{CallError, Caller};
use crate::clock::Timestamp;
use crate::http::limits::ServingLimits;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Self-signed certificates for 127.0.0.1, each its own authority.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Makes `<name>.pem` and `<name>.key`.
    fn make(&self, name: &str) -> Identity {
        self.make_with(name, "CA:FALSE")
    }

    fn make_with(&self, name: &str, constraint: &str) -> Identity {
        let (certificate, key) = (self.path(name, "pem"), self.path(name, "key"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=a test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args([
                "-addext",
                &format!("basicConstraints=critical,{constraint}"),
            ])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Identity { certificate, key }
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.0.path().join(format!("{name}.{ending}"))
    }
}

fn daemon(identity: Identity) -> HttpsSettings {
    HttpsSettings {
        identity: Some(identity),
        ..HttpsSettings::default()
    }
}

/// Certificates of one authority, as `tls init` makes them.
struct Signed {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Signed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = new_key([7; 32]).unwrap();
        let authority = Authority::found(&key, "a test", [1; 16], days(-1, 10)).unwrap();
        let pem = authority.certificate().unwrap();
        fs::write(directory.path().join("ca.pem"), pem).unwrap();
        Self {
            directory,
            authority,
        }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Makes `<name>.pem` and `<name>.key`, or the first anew.
    fn make(&self, name: &str, host: &str, term: Term) -> Identity {
        let file = |ending| self.directory.path().join(format!("{name}.{ending}"));
        let (certificate, key) = (file("pem"), file("key"));
        let pem = new_key([name.as_bytes()[0]; 32]).unwrap();
        let host = host.parse().unwrap();
        let serial = crate::clock::random_bytes();
        let made = self.authority.certify(&pem, &[host], serial, term).unwrap();
        fs::write(&certificate, made).unwrap();
        fs::write(&key, pem).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Identity { certificate, key }
    }
}

/// So many days around now.
fn days(from: i64, until: i64) -> Term {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let at = |day: i64| Timestamp(Timestamp::now().0.checked_add_signed(day * DAY_MS).unwrap());
    Term {
        from: at(from),
        until: at(until),
    }
}

fn trusting(file: &Path) -> HttpsSettings {
    HttpsSettings {
        authorities: Some(Authorities::File(file.to_owned())),
        ..HttpsSettings::default()
    }
}

fn caller(https: &HttpsSettings) -> Caller {
    Caller::with_https(None, Duration::from_secs(10), https).unwrap()
}

/// Answers until it is dropped.
struct Server {
    address: String,
    door: Option<TlsDoor>,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(https: &HttpsSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/", get(async || Json(json!({"answer": 42}))));
    let (stop, tls) = (CancellationToken::new(), https.door().unwrap());
    let (token, drain, door) = (stop.clone(), Duration::from_secs(1), tls.clone());
    tokio::spawn(crate::http::serve_secured(
        listener,
        router,
        (tls, ServingLimits::default()),
        token,
        drain,
    ));
    Server {
        address,
        door,
        _stop: stop.drop_guard(),
    }
}

#[tokio::test]
async fn who_believes_the_certificate_is_answered() {
    let certificates = Certificates::new();
    let identity = certificates.make("master");
    let server = serve(&daemon(identity.clone())).await;
    let answer: Value = caller(&trusting(&identity.certificate))
        .get(&server.address)
        .await
        .unwrap();
    assert_eq!(answer["answer"], 42);
    let other = certificates.make("other").certificate;
    for https in [trusting(&other), daemon(identity)] {
        let error = caller(&https)
            .get::<Value>(&server.address)
            .await
            .unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, CallError::Insecure { .. }), "{message}");
        assert!(message.contains("https_ca_file"), "{message}");
    }
}

/// Plain `openssl req -x509` makes such ones.
#[tokio::test]
async fn a_certificate_of_an_authority_is_no_hosts() {
    let certificates = Certificates::new();
    let identity = certificates.make_with("authority", "CA:TRUE");
    let server = serve(&daemon(identity.clone())).await;
    let trusting = caller(&trusting(&identity.certificate));
    let error = trusting.get::<Value>(&server.address).await.unwrap_err();
    assert!(error.to_string().contains("CA:FALSE"), "{error}");
}

#[tokio::test]
async fn the_other_protocol_is_told_apart() {
    let certificates = Certificates::new();
    let identity = certificates.make("master");
    let secure = serve(&daemon(identity.clone())).await;
    let plain = caller(&HttpsSettings::default());
    let error = plain.get::<Value>(&secure.address).await.unwrap_err();
    assert!(error.to_string().contains("use https://"), "{error}");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(400));

    let open = serve(&HttpsSettings::default()).await;
    let error = caller(&trusting(&identity.certificate))
        .get::<Value>(&open.address)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("plain HTTP"), "{error}");
}

#[tokio::test]
async fn a_caller_that_says_nothing_holds_nobody_up() {
    let certificates = Certificates::new();
    let identity = certificates.make("master");
    let server = serve(&daemon(identity.clone())).await;
    let mut silent = TcpStream::connect(&server.address).await.unwrap();
    let mut odd = TcpStream::connect(&server.address).await.unwrap();
    odd.write_all(&[0x16, 3, 1, 0, 1, 0]).await.unwrap();
    let caller = caller(&trusting(&identity.certificate));
    caller.get::<Value>(&server.address).await.unwrap();
    silent.shutdown().await.unwrap();
    odd.shutdown().await.unwrap();
}

#[test]
fn what_is_wrong_with_the_files_is_said_at_the_start() {
    let certificates = Certificates::new();
    let (a, b) = (certificates.make("a"), certificates.make("b"));
    let check = |identity: Identity, words: &[&str]| {
        let error = daemon(identity).door().err().unwrap().to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    };
    let missing = certificates.path("missing", "pem");
    let with = |certificate: &Path, key: &Path| Identity {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    check(
        with(&missing, &a.key),
        &["https_cert_file: could not read", "missing.pem"],
    );
    check(
        with(&a.certificate, &missing),
        &["https_key_file: could not read", "missing.pem"],
    );
    check(
        with(&a.key, &a.key),
        &["https_cert_file", "no certificate in PEM format"],
    );
    check(
        with(&a.certificate, &b.certificate),
        &["https_key_file", "no private key"],
    );
    check(
        with(&a.certificate, &b.key),
        &["a.pem", "b.key", "can not be used together"],
    );
    fs::set_permissions(&b.key, fs::Permissions::from_mode(0o644)).unwrap();
    check(b, &["has mode 644", "chmod 600"]);
    fs::set_permissions(&a.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(daemon(a.clone()).door().is_ok(), "a group may read keys");
    let no_identity = trusting(&a.certificate).door().err().unwrap();
    assert!(no_identity.to_string().contains("https_cert_file"));
    for wrong in [&missing, &a.key] {
        let error = Caller::with_https(None, Duration::from_secs(1), &trusting(wrong));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("https_ca_file: "), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_the_cure() {
    let signed = Signed::new();
    for (host, term, cure) in [
        ("localhost", days(-1, 1), "tls init --name"),
        ("127.0.0.1", days(-3, -1), "Renew the certificate"),
        ("127.0.0.1", days(1, 3), "Compare the clock"),
    ] {
        let server = serve(&daemon(signed.make("master", host, term))).await;
        let trusting = caller(&trusting(&signed.ca()));
        let error = trusting.get::<Value>(&server.address).await.unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, CallError::Insecure { .. }), "{message}");
        assert!(message.contains(cure), "no {cure:?} in: {message}");
    }
}

#[tokio::test]
async fn new_files_count_for_new_connections_if_they_make_sense() {
    let signed = Signed::new();
    let identity = signed.make("master", "127.0.0.1", days(-3, -1));
    let server = serve(&daemon(identity.clone())).await;
    let door = server.door.clone().unwrap();
    let stop = CancellationToken::new();
    let fresh = tokio::spawn({
        let (door, stop) = (door.clone(), stop.clone());
        async move { TlsDoor::keep_fresh(Some(&door), &stop).await }
    });
    // A caller keeps connections: each of these has another one.
    let calls = async || {
        caller(&trusting(&signed.ca()))
            .get::<Value>(&server.address)
            .await
    };
    assert!(calls().await.is_err());
    signed.make("master", "127.0.0.1", days(-1, 1));
    let taken = async {
        while calls().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, taken).await.unwrap();
    // What makes no sense changes nothing.
    fs::write(&identity.certificate, "nothing").unwrap();
    let error = daemon(identity).door().err().unwrap();
    assert!(matches!(error, TlsError::Content { .. }), "{error}");
    door.look(true).await;
    calls().await.unwrap();
    stop.cancel();
    fresh.await.unwrap();
}

#[tokio::test]
async fn callers_show_a_certificate_where_one_is_asked_for() {
    let signed = Signed::new();
    let identity = signed.make("master", "127.0.0.1", days(-1, 1));
    let guarded = HttpsSettings {
        client_authorities: Some(signed.ca()),
        ..daemon(identity.clone())
    };
    let server = serve(&guarded).await;
    let call = async |https: &HttpsSettings| caller(https).get::<Value>(&server.address).await;
    let with = |identity: &Identity| HttpsSettings {
        client_identity: Some(identity.clone()),
        ..trusting(&signed.ca())
    };
    call(&with(&signed.make("person", "alice", days(-1, 1))))
        .await
        .unwrap();
    // A daemon shows its own.
    let own = HttpsSettings {
        identity: Some(identity),
        ..trusting(&signed.ca())
    };
    call(&own).await.unwrap();
    let strangers = Certificates::new();
    let stranger = strangers.make("stranger");
    for (https, cure) in [
        (trusting(&signed.ca()), "https_client_cert_file"),
        (
            with(&signed.make("late", "alice", days(-3, -1))),
            "has ended",
        ),
        (with(&stranger), "client_ca_file"),
    ] {
        let error = call(&https).await.unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, CallError::Insecure { .. }), "{message}");
        assert!(message.contains(cure), "no {cure:?} in: {message}");
    }
    // Nobody is asked for a certificate in the clear.
    let unsafe_daemon = HttpsSettings {
        client_authorities: Some(signed.ca()),
        ..HttpsSettings::default()
    };
    let error = unsafe_daemon.door().err().unwrap();
    assert!(matches!(error, TlsError::NoIdentityForClients), "{error}");
}

#[tokio::test]
async fn a_caller_calls_with_what_its_files_hold_now() {
    let signed = Signed::new();
    let guarded = HttpsSettings {
        client_authorities: Some(signed.ca()),
        ..daemon(signed.make("master", "127.0.0.1", days(-1, 1)))
    };
    let server = serve(&guarded).await;
    let own = HttpsSettings {
        client_identity: Some(signed.make("person", "alice", days(-3, -1))),
        ..trusting(&signed.ca())
    };
    let caller = caller(&own);
    assert!(caller.get::<Value>(&server.address).await.is_err());
    signed.make("person", "alice", days(-1, 1));
    caller.get::<Value>(&server.address).await.unwrap();
}

/// Each request on a connection of its own.
fn connecting(https: &HttpsSettings) -> reqwest::Client {
    let builder = https.client_builder().unwrap();
    builder.pool_max_idle_per_host(0).build().unwrap()
}

/// A session that began under the authorities of before is no way around those of now.
#[tokio::test]
async fn who_is_believed_no_more_is_not_believed_by_an_old_session() {
    let signed = Signed::new();
    let server = serve(&daemon(signed.make("master", "127.0.0.1", days(-1, 1)))).await;
    let client = connecting(&trusting(&signed.ca()));
    let url = format!("https://{}/", server.address);
    for _ in 0..3 {
        client.get(&url).send().await.unwrap();
    }
    let strangers = Certificates::new();
    fs::copy(strangers.make("other").certificate, signed.ca()).unwrap();
    assert!(client.get(&url).send().await.is_err());
}

/// Nobody waits until a daemon looks at its files again.
#[tokio::test]
async fn callers_are_looked_at_by_the_authorities_of_now() {
    let signed = Signed::new();
    let people = signed.directory.path().join("people.pem");
    fs::copy(signed.ca(), &people).unwrap();
    let guarded = HttpsSettings {
        client_authorities: Some(people.clone()),
        ..daemon(signed.make("master", "127.0.0.1", days(-1, 1)))
    };
    let server = serve(&guarded).await;
    let client = connecting(&HttpsSettings {
        client_identity: Some(signed.make("person", "alice", days(-1, 1))),
        ..trusting(&signed.ca())
    });
    let url = format!("https://{}/", server.address);
    for _ in 0..3 {
        client.get(&url).send().await.unwrap();
    }
    let strangers = Certificates::new();
    fs::copy(strangers.make("other").certificate, &people).unwrap();
    assert!(client.get(&url).send().await.is_err());
}

/// No host can show what was made for somebody who only calls.
#[tokio::test]
async fn a_persons_certificate_is_no_hosts() {
    let signed = Signed::new();
    let mut identity = signed.make("person", "127.0.0.1", days(-1, 1));
    let key = fs::read_to_string(&identity.key).unwrap();
    let made = signed
        .authority
        .certify_caller(&key, "alice", [1; 16], days(-1, 1));
    identity.certificate = signed.directory.path().join("alice.pem");
    fs::write(&identity.certificate, made.unwrap()).unwrap();
    let guarded = HttpsSettings {
        client_authorities: Some(signed.ca()),
        ..daemon(signed.make("master", "127.0.0.1", days(-1, 1)))
    };
    let server = serve(&guarded).await;
    let alice = HttpsSettings {
        client_identity: Some(identity.clone()),
        ..trusting(&signed.ca())
    };
    caller(&alice).get::<Value>(&server.address).await.unwrap();
    let pretending = serve(&daemon(identity)).await;
    let error = caller(&trusting(&signed.ca()))
        .get::<Value>(&pretending.address)
        .await;
    assert!(
        matches!(error, Err(CallError::Insecure { .. })),
        "{error:?}"
    );
}
