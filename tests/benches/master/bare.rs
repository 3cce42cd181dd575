//! The bare server: the same HTTP library, one route that serves fixed bytes, and one that checks the
//! signature of a build request and does nothing else. What ours takes longer is ours.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{
    ClaimedSignature, SIGNATURE_HEADER, Signed, content_digest,
};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// What makes this program be the bare server.
const BARE: &str = "--bare";

/// Where it finds the secret of those who sign.
const SECRET: &str = "CLUSTERRUNNER_BENCH_SECRET";

/// What the bare server is to serve, if this program is to be it.
pub(crate) fn body(arguments: &[String]) -> Option<String> {
    match arguments {
        [bare, body] if bare == BARE => Some(body.clone()),
        _ => None,
    }
}

/// Serves `body`, and takes signed builds, until its standard input ends; says where.
pub(crate) fn serve(body: String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let secret = Secret::new(std::env::var(SECRET).expect("a secret")).expect("a secret");
    runtime.block_on(async {
        let json = [("content-type", "application/json")];
        let read = axum::routing::get(move || {
            let body = body.clone();
            async move { (json, body) }
        });
        let secret = Arc::new(secret);
        let submit = axum::routing::post(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let is_signed = is_signed(&secret, &uri, &headers, &body);
            async move {
                match is_signed {
                    true => (StatusCode::ACCEPTED, json, r#"{"build_id":1}"#),
                    false => (StatusCode::UNAUTHORIZED, json, "{}"),
                }
            }
        });
        let router = axum::Router::new()
            .route("/v1/build/{id}", read)
            .route("/v1/build", submit);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let wait = || std::io::stdin().lock().read_line(&mut String::new());
        tokio::task::spawn_blocking(wait).await.unwrap().ok();
        std::process::exit(0);
    });
}

fn is_signed(secret: &Secret, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let given = headers.get(SIGNATURE_HEADER);
    let given = given.and_then(|given| given.to_str().ok());
    let claimed = given.and_then(|given| ClaimedSignature::parse(given).ok());
    claimed.is_some_and(|claimed| {
        let signed = Signed {
            method: "POST",
            path_and_query: uri.path(),
            receiver: claimed.receiver(),
            content_digest: &content_digest(body),
        };
        claimed.verify(secret, signed).is_ok()
    })
}

/// The bare server; it ends with this.
pub(crate) struct Bare {
    process: Child,
    pub(crate) address: String,
}

impl Bare {
    pub(crate) fn start(body: &str, secret: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([BARE, body])
            .env(SECRET, secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server");
        let mut address = String::new();
        let output = process.stdout.as_mut().expect("its output");
        BufReader::new(output)
            .read_line(&mut address)
            .expect("its address");
        let address = address.trim().to_owned();
        Self { process, address }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}
