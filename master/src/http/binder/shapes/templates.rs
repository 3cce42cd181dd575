//! Templates as this API shows them.

use crate::http::binder::times;
use clusterrunner_core::templates::template::{Name, Template};
use serde::Serialize;

/// The port that a program is taken to want where nothing says another one.
const USUAL_PORT: u16 = 8888;

/// A template, under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::http::binder) struct TemplateView {
    name: String,
    image_name: String,
    image_source: String,
    port: u16,
    command: Vec<String>,
    /// The originals had a place for these and never used it.
    services: [String; 0],
    time_created: String,
    time_modified: String,
}

impl TemplateView {
    /// The template that a name points at, on a farm of this name.
    pub(in crate::http::binder) fn of(
        farm: &str,
        name: &str,
        known: &Name,
        template: &Template,
    ) -> Self {
        let description = &template.content.description;
        // A Procfile's process goes before what a Dockerfile says: that is the default start.
        let has_process = description.processes.contains_key("web");
        let command = match has_process {
            true => Vec::new(),
            false => description.command.clone(),
        };
        Self {
            name: name.to_owned(),
            image_name: name.to_owned(),
            image_source: format!("{farm}/{name}"),
            port: description.port.unwrap_or(USUAL_PORT),
            command,
            services: [],
            time_created: times::shown(known.created),
            time_modified: times::shown(known.modified.unwrap_or(known.created)),
        }
    }
}
