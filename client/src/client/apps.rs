//! Apps, through the API of the Deis controller.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::apps::AppLogBody;
use clusterrunner_common::caller::CallError;
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// An app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    /// Its id.
    pub id: String,
    /// The user who owns it.
    pub owner: String,
    /// Where it is reached.
    #[serde(default)]
    pub url: Option<String>,
    /// How many of each process type are wanted.
    #[serde(default)]
    pub structure: BTreeMap<String, u32>,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub updated: String,
}

/// A process of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// The release that it runs, such as `v2`.
    pub release: String,
    /// Its process type.
    #[serde(rename = "type")]
    pub process: String,
    /// Its number among those of the type.
    pub num: u32,
    /// Where it stands.
    pub state: String,
    /// When it was asked for.
    pub created: String,
}

/// A release of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Its version.
    pub version: u64,
    /// The user who made it.
    pub owner: String,
    /// What is another than before.
    #[serde(default)]
    pub summary: Option<String>,
    /// When it was made.
    pub created: String,
}

/// A domain of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// The domain.
    pub domain: String,
    /// The user who added it.
    pub owner: String,
    /// When it was added.
    pub created: String,
}

/// What an app's processes get to know, what they may use, and where they run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Variables.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// The most memory of each process type.
    #[serde(default)]
    pub memory: Map<String, Value>,
    /// The weight of each process type.
    #[serde(default)]
    pub cpu: Map<String, Value>,
    /// What the slaves are tagged with.
    #[serde(default)]
    pub tags: Map<String, Value>,
}

/// What is to be another in a config. A key with null is removed; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConfigChange {
    /// Variables.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// Memory limits.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub memory: Map<String, Value>,
    /// Weights.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub cpu: Map<String, Value>,
    /// Tags.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
}

impl ConfigChange {
    /// Whether nothing is to be another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
struct Page<T> {
    next: Option<String>,
    results: Vec<T>,
}

#[derive(Debug, Deserialize)]
struct RolledBack {
    version: u64,
}

impl Client {
    /// The apps that the caller may see, the oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn apps(&self) -> Result<Vec<App>, ClientError> {
        self.all("/v1/apps").await
    }

    /// One app.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn app(&self, app: &str) -> Result<App, ClientError> {
        self.read(&format!("/v1/apps/{app}")).await
    }

    /// Creates an app; the master makes an id up where none is given.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_app(&self, id: Option<&str>) -> Result<App, ClientError> {
        let body = match id {
            Some(id) => json!({ "id": id }),
            None => json!({}),
        };
        self.change(Method::POST, "/v1/apps", &body).await
    }

    /// Deletes an app with all that it has.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn destroy_app(&self, app: &str) -> Result<(), ClientError> {
        self.order_app(Method::DELETE, &format!("/v1/apps/{app}"), &json!({}))
            .await
    }

    /// The processes of an app, without its runs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn containers(&self, app: &str) -> Result<Vec<Container>, ClientError> {
        self.all(&format!("/v1/apps/{app}/containers")).await
    }

    /// Has other numbers of some process types run; returns when they do, or have settled otherwise.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scale_app(
        &self,
        app: &str,
        numbers: &BTreeMap<String, u32>,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/apps/{app}/scale");
        self.order_app(Method::POST, &path, numbers).await
    }

    /// The config of the newest release.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn app_config(&self, app: &str) -> Result<Config, ClientError> {
        self.read(&format!("/v1/apps/{app}/config")).await
    }

    /// Makes a release with another config.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn configure_app(
        &self,
        app: &str,
        change: &ConfigChange,
    ) -> Result<Config, ClientError> {
        let path = format!("/v1/apps/{app}/config");
        self.change(Method::POST, &path, change).await
    }

    /// Makes a release that runs this image or template.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn deploy_app(&self, app: &str, image: &str) -> Result<(), ClientError> {
        let path = format!("/v1/apps/{app}/builds");
        self.order_app(Method::POST, &path, &json!({ "image": image }))
            .await
    }

    /// The releases of an app, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn releases(&self, app: &str) -> Result<Vec<Release>, ClientError> {
        self.all(&format!("/v1/apps/{app}/releases")).await
    }

    /// Makes a release that is like an earlier one: the one before the newest where none is named. Returns its version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn roll_app_back(&self, app: &str, version: Option<u64>) -> Result<u64, ClientError> {
        let body = match version {
            Some(version) => json!({ "version": version }),
            None => json!({}),
        };
        let path = format!("/v1/apps/{app}/releases/rollback");
        let made: RolledBack = self.change(Method::POST, &path, &body).await?;
        Ok(made.version)
    }

    /// Runs a command in the newest release of an app. The answer begins when a slave has it, and goes on as the command
    /// does: each line is a [`RunLine`](clusterrunner_common::api::apps::RunLine). Who drops the answer before its end stops
    /// the command.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn run_in_app(&self, app: &str, command: &str) -> Result<Response, ClientError> {
        let url = self.url(&format!("/v1/apps/{app}/run"));
        let body = json!({ "command": command, "stream": true });
        self.repeat(ClientError::never_arrived, async || {
            let sent = self.caller.send_for_stream(Method::POST, &url, &body, None);
            Ok(sent.await?)
        })
        .await
    }

    /// The domains of an app.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn domains(&self, app: &str) -> Result<Vec<Domain>, ClientError> {
        self.all(&format!("/v1/apps/{app}/domains")).await
    }

    /// Leads a domain to an app.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_domain(&self, app: &str, domain: &str) -> Result<(), ClientError> {
        let path = format!("/v1/apps/{app}/domains");
        self.order_app(Method::POST, &path, &json!({ "domain": domain }))
            .await
    }

    /// Leads a domain to an app no more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_domain(&self, app: &str, domain: &str) -> Result<(), ClientError> {
        let path = format!("/v1/apps/{app}/domains/{domain}");
        self.order_app(Method::DELETE, &path, &json!({})).await
    }

    /// The last lines of an app's log.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn last_of_app_log(
        &self,
        app: &str,
        lines: usize,
    ) -> Result<AppLogBody, ClientError> {
        self.read(&format!("/v2/app_logs/{app}?last={lines}")).await
    }

    /// The lines of an app's log from this one on. The master waits for so many seconds where none is there yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn app_log(
        &self,
        app: &str,
        first: u64,
        wait_s: u64,
    ) -> Result<AppLogBody, ClientError> {
        let path = format!("/v2/app_logs/{app}?first={first}&wait_s={wait_s}");
        self.read(&path).await
    }

    /// All of a list, page by page.
    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut found = Vec::new();
        for number in 1.. {
            let page: Page<T> = self.read(&format!("{path}?page={number}")).await?;
            found.extend(page.results);
            if page.next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Changes something. Repeated only while the connection itself is refused.
    async fn change<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let url = self.url(path);
        self.repeat(ClientError::never_arrived, async || {
            Ok(self.caller.send(method.clone(), &url, body).await?)
        })
        .await
    }

    /// The same where the answer says nothing.
    async fn order_app<B: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<(), ClientError> {
        let url = self.url(path);
        self.repeat(ClientError::never_arrived, async || {
            Ok(self.caller.order(method.clone(), &url, body).await?)
        })
        .await
    }
}

/// What the controller's API says in a refusal: a sentence, an object with `detail`, or sentences by field.
#[must_use]
pub fn said_of_app(error: &ClientError) -> Option<String> {
    let ClientError::Call(CallError::Refused { error, .. }) = error else {
        return None;
    };
    Some(match serde_json::from_str::<Value>(error) {
        Ok(Value::String(sentence)) => sentence,
        Ok(Value::Object(fields)) => {
            let said = fields.iter().map(|(field, said)| {
                let sentences = match said {
                    Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                    Value::String(one) => vec![one.as_str()],
                    _ => Vec::new(),
                };
                let sentences = sentences.join(" ");
                match field.as_str() {
                    "detail" | "non_field_errors" => sentences,
                    field => format!("{field}: {sentences}"),
                }
            });
            said.collect::<Vec<_>>().join(" ")
        }
        _ => error.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    #[test]
    fn refusals_are_read_in_all_their_forms() {
        for (body, expected) in [
            (
                "\"No build associated with this release\"",
                "No build associated with this release",
            ),
            ("{\"detail\": \"Not found\"}", "Not found"),
            (
                "{\"id\": [\"App with this Id already exists.\"]}",
                "id: App with this Id already exists.",
            ),
            ("{\"non_field_errors\": [\"One.\", \"Two.\"]}", "One. Two."),
            ("<html>", "<html>"),
        ] {
            let error = ClientError::Call(CallError::Refused {
                url: "here".to_owned(),
                status: StatusCode::BAD_REQUEST,
                error: body.to_owned(),
                code: None,
                is_explained: false,
            });
            assert_eq!(said_of_app(&error).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_change_names_what_is_another() {
        let mut change = ConfigChange::default();
        assert!(change.is_empty());
        change.values.insert("A".to_owned(), Value::Null);
        change.tags.insert("rack".to_owned(), "1".into());
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(text, r#"{"values":{"A":null},"tags":{"rack":"1"}}"#);
    }
}
