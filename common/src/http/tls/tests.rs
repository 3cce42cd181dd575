//! A daemon with certificates that the `openssl` program makes, and who calls it.

use super::*;
use crate::caller::{CallError, Caller};
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
        authorities: None,
    }
}

fn trusting(file: &Path) -> HttpsSettings {
    HttpsSettings {
        identity: None,
        authorities: Some(Authorities::File(file.to_owned())),
    }
}

fn caller(https: &HttpsSettings) -> Caller {
    Caller::with_https(None, Duration::from_secs(10), https).unwrap()
}

/// Answers until it is dropped.
struct Server {
    address: String,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(https: &HttpsSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/", get(async || Json(json!({"answer": 42}))));
    let (stop, tls) = (CancellationToken::new(), https.acceptor().unwrap());
    let (token, drain) = (stop.clone(), Duration::from_secs(1));
    tokio::spawn(crate::http::serve_secured(
        listener, router, tls, token, drain,
    ));
    Server {
        address,
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
        let error = daemon(identity).acceptor().err().unwrap().to_string();
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
    assert!(
        daemon(a.clone()).acceptor().is_ok(),
        "a group may read keys"
    );
    let no_identity = trusting(&a.certificate).acceptor().err().unwrap();
    assert!(no_identity.to_string().contains("https_cert_file"));
    for wrong in [&missing, &a.key] {
        let error = Caller::with_https(None, Duration::from_secs(1), &trusting(wrong));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("https_ca_file: "), "{error}");
    }
}
