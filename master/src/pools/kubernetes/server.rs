//! Requests to the API server over HTTPS. Token and authorities are read anew for each request, since the cluster changes
//! them; a client of HTTP lasts as long as its authorities.

use super::kinds::{Kind, Selector};
use crate::pools::api_error::ApiError;
use clusterrunner_common::caller::with_cause;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::http::install_crypto;
use clusterrunner_common::settings::{KubernetesAccess, KubernetesPool};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What Kubernetes gives to a pod of its service account.
const OWN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How many things one part of a list has.
const PART: usize = 200;

/// How many parts a list may have: more slaves than a master is made for.
const MOST_PARTS: usize = 100;

/// How often a list is begun anew that the server does not go on with.
const BEGUN_ANEW: usize = 2;

/// The most that is read of an answer.
const MOST_OUTPUT: usize = 16 << 20;

/// The longest token, and the longest file of authorities.
const LONGEST_FILE: u64 = 4 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The API server of a cluster.
#[derive(Debug)]
pub(super) struct ApiServer {
    place: Place,
    namespace: Option<String>,
    timeout: Duration,
    /// The client, and the authorities that it was made with.
    client: Mutex<Option<(Vec<u8>, Client)>>,
}

/// Where it is, and what opens it.
#[derive(Debug)]
enum Place {
    /// What Kubernetes gives to the master's own pod.
    OwnPod,
    Set {
        url: Url,
        token_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    },
}

/// How the server says what is wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
}

/// A part of a list.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    items: Option<Vec<Value>>,
    #[serde(default)]
    metadata: PartMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PartMetadata {
    #[serde(rename = "continue")]
    go_on: Option<String>,
}

impl ApiServer {
    pub(super) fn new(settings: &KubernetesPool) -> Self {
        install_crypto();
        let place = match &settings.access {
            KubernetesAccess::Server {
                url,
                token_file,
                ca_file,
            } => Place::Set {
                url: url.clone(),
                token_file: token_file.clone(),
                ca_file: ca_file.clone(),
            },
            KubernetesAccess::OwnPod | KubernetesAccess::Kubectl(_) => Place::OwnPod,
        };
        Self {
            place,
            namespace: settings.namespace.clone(),
            timeout: settings.timeout,
            client: Mutex::default(),
        }
    }

    pub(super) async fn list(
        &self,
        kind: Kind,
        selector: &Selector,
    ) -> Result<Vec<Value>, ApiError> {
        let mut begun_anew = 0;
        loop {
            match self.list_once(kind, selector).await {
                // What was read so far is too old to go on with.
                Err(ApiError::Refused { status: 410, .. }) if begun_anew < BEGUN_ANEW => {
                    begun_anew += 1;
                }
                done => return done,
            }
        }
    }

    async fn list_once(&self, kind: Kind, selector: &Selector) -> Result<Vec<Value>, ApiError> {
        let doing = kind.listing();
        let mut all = Vec::new();
        let mut go_on: Option<String> = None;
        for _ in 0..MOST_PARTS {
            let limit = PART.to_string();
            let mut query = vec![match selector {
                Selector::Label(label) => ("labelSelector", label.as_str()),
                Selector::Fields(fields) => ("fieldSelector", fields.as_str()),
            }];
            query.push(("limit", &limit));
            if let Some(token) = &go_on {
                query.push(("continue", token));
            }
            let mut url = self.url(kind, None)?;
            url.query_pairs_mut().extend_pairs(query);
            let answer = self.ask((Method::GET, url), &doing, None).await?;
            let part: Part = read(&answer, &doing)?;
            all.extend(part.items.unwrap_or_default());
            go_on = part.metadata.go_on.filter(|token| !token.is_empty());
            if go_on.is_none() {
                return Ok(all);
            }
        }
        Err(ApiError::Answer {
            doing,
            what: format!("it has more than {MOST_PARTS} parts"),
        })
    }

    pub(super) async fn create(&self, kind: Kind, body: &Value) -> Result<Value, ApiError> {
        let doing = kind.creating();
        let url = self.url(kind, None)?;
        let answer = self.ask((Method::POST, url), &doing, Some(body)).await?;
        read(&answer, &doing)
    }

    pub(super) async fn delete(&self, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        });
        if let Some(uid) = uid {
            options["preconditions"] = json!({ "uid": uid });
        }
        let url = self.url(Kind::Job, Some(name))?;
        let doing = format!("delete the job {name}");
        match self
            .ask((Method::DELETE, url), &doing, Some(&options))
            .await
        {
            Ok(_) | Err(ApiError::Refused { status: 404, .. }) => Ok(()),
            // Another one has its name by now.
            Err(ApiError::Refused { status: 409, .. }) if uid.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn url(&self, kind: Kind, name: Option<&str>) -> Result<Url, ApiError> {
        let mut url = match &self.place {
            Place::Set { url, .. } => url.clone(),
            Place::OwnPod => own_url()?,
        };
        let namespace = match (&self.namespace, &self.place) {
            (Some(namespace), _) => namespace.clone(),
            (None, Place::OwnPod) => {
                let path = Path::new(OWN_DIRECTORY).join("namespace");
                file_text("the namespace in", &path)?
            }
            (None, Place::Set { .. }) => "default".to_owned(),
        };
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(kind.root().split('/'));
            parts.extend(["namespaces", &namespace, kind.plural()]);
            parts.extend(name);
        }
        Ok(url)
    }

    async fn ask(
        &self,
        (method, url): (Method, Url),
        doing: &str,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, ApiError> {
        let server = url.origin().ascii_serialization();
        let unreachable = |error: reqwest::Error| ApiError::Unreachable {
            doing: doing.to_owned(),
            server: server.clone(),
            what: with_cause(&error.without_url()),
        };
        let request = self.client()?.request(method, url);
        let request = request
            .timeout(self.timeout)
            .header(ACCEPT, "application/json");
        let mut request = self.opened(request)?;
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = whole(answer).await.map_err(|failure| match failure {
            Some(error) => unreachable(error),
            None => ApiError::Answer {
                doing: doing.to_owned(),
                what: format!("it has more than {MOST_OUTPUT} bytes"),
            },
        })?;
        match status.is_success() {
            true => Ok(text),
            false => Err(refusal(doing, status, &text)),
        }
    }

    /// With the token, as its file is now.
    fn opened(&self, request: RequestBuilder) -> Result<RequestBuilder, ApiError> {
        let path = match &self.place {
            Place::OwnPod => Path::new(OWN_DIRECTORY).join("token"),
            Place::Set {
                token_file: Some(path),
                ..
            } => path.clone(),
            Place::Set {
                token_file: None, ..
            } => return Ok(request),
        };
        let token = file_text("the token in", &path)?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| ApiError::File {
            what: "the token in",
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, "it is no token"),
        })?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    /// What calls the server, with the authorities as their file is now.
    fn client(&self) -> Result<Client, ApiError> {
        let own = Path::new(OWN_DIRECTORY).join("ca.crt");
        let path = match &self.place {
            Place::OwnPod => Some(&own),
            Place::Set { ca_file, .. } => ca_file.as_ref(),
        };
        let wrong = |path: &Path, source| ApiError::File {
            what: "the authorities in",
            path: path.to_owned(),
            source,
        };
        let pem = match path {
            Some(path) => {
                regular_file::read(path, LONGEST_FILE).map_err(|error| wrong(path, error))?
            }
            None => Vec::new(),
        };
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*kept
            && *known == pem
        {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("clusterrunner/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(path) = path {
            let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if found.is_empty() {
                let nothing = io::Error::new(io::ErrorKind::InvalidData, "no certificate in PEM");
                return Err(wrong(path, nothing));
            }
            builder = builder.tls_certs_only(found);
        }
        let client = builder.build().map_err(ApiError::Client)?;
        *kept = Some((pem, client.clone()));
        Ok(client)
    }
}

/// The address that Kubernetes gives to pods.
fn own_url() -> Result<Url, ApiError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or(ApiError::NoPod)?;
    let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    Url::parse(&format!("https://{host}:{port}")).map_err(|_| ApiError::NoPod)
}

fn file_text(what: &'static str, path: &Path) -> Result<String, ApiError> {
    let text = regular_file::read_to_string(path, LONGEST_FILE);
    let text = text.map_err(|source| ApiError::File {
        what,
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

/// All of an answer; no error if it is too long.
async fn whole(mut answer: Response) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(Some)? {
        text.extend_from_slice(&piece);
        if text.len() > MOST_OUTPUT {
            return Err(None);
        }
    }
    Ok(text)
}

fn read<T: for<'a> Deserialize<'a>>(text: &[u8], doing: &str) -> Result<T, ApiError> {
    serde_json::from_slice(text).map_err(|error| ApiError::Answer {
        doing: doing.to_owned(),
        what: error.to_string(),
    })
}

fn refusal(doing: &str, status: StatusCode, text: &[u8]) -> ApiError {
    // What is in between, a proxy for one, says it in other words.
    let said = serde_json::from_slice(text).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(text).into_owned(),
        reason: String::new(),
    });
    ApiError::Refused {
        doing: doing.to_owned(),
        status: status.as_u16(),
        reason: said.reason,
        message: said.message,
    }
}
