//! Builds that use the same directory at the same time.

use crate::output;
use crate::output::again::command;
use crate::output::text::count;
use clusterrunner_client::Client;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use serde_json::Value;
use std::path::Path;

/// Says which builds are under way in the directory of one that was submitted. A directory is used as it is, so each of them finds
/// what the commands of the others make and remove there. A master that does not answer says so to those that follow.
pub(super) async fn tell_of_others(client: &Client, build: BuildId, request: &BuildRequest) {
    let ProjectSource::Directory { project_directory } = &request.project else {
        return;
    };
    let Ok(queue) = client.queue().await else {
        return;
    };
    let others = others(&queue, build, project_directory);
    let Some(first) = others.first() else {
        return;
    };
    let what = match others.len() {
        1 => format!("build {first} is"),
        number => format!(
            "{}, {first} the first of them, are",
            count(number as u64, "build")
        ),
    };
    let what = format!(
        "{what} under way in this directory, too: the commands of each find what those of the others change there"
    );
    if Path::new(project_directory).join(".git").exists() {
        let apart = command(format_args!("build git --url {project_directory}"));
        output::note(format!(
            "{what}; `{apart}` builds the newest commit in a directory of its own"
        ));
    } else {
        output::note(what);
    }
}

/// The builds before this one that use its directory, and are not over.
fn others(queue: &[BuildView], build: BuildId, directory: &str) -> Vec<BuildId> {
    let is_of_directory = |view: &&BuildView| {
        let of = view.request_params.get("project_directory");
        view.id < build && of.and_then(Value::as_str) == Some(directory)
    };
    queue
        .iter()
        .filter(is_of_directory)
        .map(|view| view.id)
        .collect()
}
