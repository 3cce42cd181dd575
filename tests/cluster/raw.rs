//! Requests as anybody could make them: with the right signature, a wrong one, or none.

use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{
    BODY_DIGEST_HEADER, CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, Signed, body_digest,
    content_digest,
};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::http::install_crypto;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A request that has no signature yet.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) method: &'static str,
    /// `address:port`
    pub(crate) server: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null where the body is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The text of a refusal.
    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// The session of the daemon that listens there, as every answer names it.
pub(crate) fn session_of(server: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let ask = format!("GET /v1/version HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    let session = headers.find(|(name, _)| name.eq_ignore_ascii_case("session-id"));
    session.unwrap().1.to_owned()
}

/// Headers that prove, or claim, who sends a request.
pub(crate) type Proof = Vec<(&'static str, String)>;

impl Raw {
    /// A request with a JSON body.
    pub(crate) fn json(method: &'static str, server: &str, path: &str, body: &Value) -> Self {
        Self {
            method,
            server: server.to_owned(),
            path: path.to_owned(),
            content_type: None,
            body: body.to_string().into_bytes(),
        }
    }

    /// The documented digest of the body.
    pub(crate) fn body_digest(&self, secret: &Secret) -> Proof {
        vec![(BODY_DIGEST_HEADER, body_digest(secret, &self.body))]
    }

    /// A signature made at the present moment.
    pub(crate) fn signature(&self, secret: &Secret) -> Proof {
        self.signature_of(secret, Timestamp::now())
    }

    /// A signature made at another moment.
    pub(crate) fn signature_of(&self, secret: &Secret, time: Timestamp) -> Proof {
        self.signature_for(&session_of(&self.server), secret, time)
    }

    /// A signature made for the daemon with this session.
    pub(crate) fn signature_for(&self, receiver: &str, secret: &Secret, time: Timestamp) -> Proof {
        let signed = Signed {
            method: self.method,
            path_and_query: &self.path,
            receiver,
            content_digest: &content_digest(&self.body),
        };
        let signature = signed.sign(secret, time, random_bytes());
        vec![(SIGNATURE_HEADER, signature)]
    }

    /// A signature with a key in place of the secret.
    pub(crate) fn key_signature(&self, key: &OwnKey) -> Proof {
        let signed = Signed {
            method: self.method,
            path_and_query: &self.path,
            receiver: &session_of(&self.server),
            content_digest: &content_digest(&self.body),
        };
        let signature = signed.sign_with_key(key, Timestamp::now(), random_bytes());
        vec![(SIGNATURE_HEADER, signature)]
    }

    /// A signature as it stands before a body that is streamed.
    pub(crate) fn upload_signature(&self, key: &OwnKey) -> Proof {
        let mut proof = self.key_signature(key);
        proof.push((CONTENT_DIGEST_HEADER, content_digest(&self.body)));
        proof
    }

    /// Sends it with these headers.
    pub(crate) async fn send(&self, proof: &Proof) -> Answer {
        self.sent(proof).await.unwrap()
    }

    /// [`Raw::send`], where the other side may end the connection before all is sent.
    pub(crate) async fn sent(&self, proof: &Proof) -> reqwest::Result<Answer> {
        install_crypto();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let url = format!("http://{}{}", self.server, self.path);
        let mut request = http
            .request(self.method.parse().unwrap(), url)
            .body(self.body.clone());
        for (name, value) in proof {
            request = request.header(*name, value);
        }
        if let Some(content_type) = &self.content_type {
            request = request.header("content-type", content_type);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }
}
