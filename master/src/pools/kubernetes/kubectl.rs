//! Requests by `kubectl`, which knows clusters and credentials that the master does not. What is made comes on its standard
//! input, so no token is in a command line.

use super::kinds::{Kind, Selector};
use crate::pools::api_error::ApiError;
use crate::pools::running::Run;
use clusterrunner_common::settings::KubernetesPool;
use serde::Deserialize;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program, and how it is told where.
#[derive(Debug)]
pub(super) struct Kubectl {
    program: PathBuf,
    namespace: Option<String>,
    timeout: Duration,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

impl Kubectl {
    pub(super) fn new(program: &Path, settings: &KubernetesPool) -> Self {
        Self {
            program: program.to_owned(),
            namespace: settings.namespace.clone(),
            timeout: settings.timeout,
        }
    }

    pub(super) async fn list(
        &self,
        kind: Kind,
        selector: &Selector,
    ) -> Result<Vec<Value>, ApiError> {
        let selected = match selector {
            Selector::Label(label) => format!("--selector={label}"),
            Selector::Fields(fields) => format!("--field-selector={fields}"),
        };
        let printed = self
            .run(&["get", kind.plural(), "--output=json", &selected], "")
            .await?;
        let list: List = read(&kind.listing(), &printed)?;
        Ok(list.items)
    }

    pub(super) async fn create(&self, body: &Value) -> Result<Value, ApiError> {
        // The server checks what it gets.
        let arguments = [
            "create",
            "--filename=-",
            "--output=json",
            "--validate=false",
        ];
        let printed = self.run(&arguments, &body.to_string()).await?;
        read("create", &printed)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        let how = ["--ignore-not-found", "--wait=false", "--cascade=background"];
        let arguments = [&["delete", "job", name][..], &how].concat();
        self.run(&arguments, "").await.map(drop)
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<String, ApiError> {
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map(|namespace| format!("--namespace={namespace}"));
        let mut all = vec![self.program.as_os_str()];
        all.extend(namespace.iter().map(OsStr::new));
        all.extend(arguments.iter().map(OsStr::new));
        let run = Run {
            program: &format!("kubectl {}", arguments.first().copied().unwrap_or_default()),
            arguments: &all,
            directory: Path::new("/"),
            limit: self.timeout,
        };
        Ok(run.with_input(input.as_bytes()).await?)
    }
}

fn read<T: for<'a> Deserialize<'a>>(doing: &str, printed: &str) -> Result<T, ApiError> {
    serde_json::from_str(printed).map_err(|error| ApiError::Answer {
        doing: format!("{doing} by kubectl"),
        what: error.to_string(),
    })
}
