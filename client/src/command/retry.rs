//! `clusterrunner retry`: a build again, or what failed in it.

use super::build::{Following, follow_to_its_end};
use super::failed_before::{failed_atoms, nothing_failed, say_what_runs};
use super::interrupt::Interrupt;
use super::{unpacked, variables};
use crate::farm;
use crate::options::{CommonOptions, RetryOptions};
use crate::output::again;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use serde_json::{Map, Value, json};

/// Runs a build again.
pub(crate) async fn run(options: RetryOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen(false)?;
    let loaded = Settings::load(&common)?.with_token(options.master.token.as_ref())?;
    let settings = match loaded.user_token {
        None => loaded.with_secret(&common)?,
        Some(_) => loaded,
    };
    let master = match options.master.with_port(settings.port) {
        Some(master) => master,
        None => farm::find(&settings).await?,
    };
    again::remember(
        common.config_file.as_deref(),
        options.master.master_url.as_deref(),
    );
    farm::tell_whom(&master, &settings);
    let client = farm::client_of(&master, options.master.patience(), &settings)?;
    let first = farm::impatient(&client, &options.master);
    let before = first.build(options.build).await?;
    if options.failed && before.status.is_over() {
        let failed = failed_atoms(&client, before.id).await?;
        if failed.is_empty() {
            return Ok(nothing_failed(before.id));
        }
        say_what_runs(&failed, before.id);
    }
    let mut request = body(&options);
    if options.master.master_url.is_none() && farm::is_private(&master, &settings).await? {
        let brought = variables::brought(std::env::vars_os());
        request.insert("inherited_env".to_owned(), json!(brought));
    }
    let build = client.submit_params(&request).await?;
    let destination = unpacked::destination(options.results_dir.as_deref(), None);
    let following = Following {
        destination: (!options.no_results).then_some(&destination),
        is_detached: options.detach,
        is_compat: false,
        junit: None,
    };
    Box::pin(follow_to_its_end(&client, &interrupt, build, following)).await
}

fn body(options: &RetryOptions) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| body.insert(field.to_owned(), value);
    set("retry_of", json!(options.build));
    set("only_failed", json!(options.failed));
    set("newest", json!(options.newest));
    if let Some(retries) = options.retries {
        set("retries", json!(retries));
    }
    if let Some(most) = options.fail_fast {
        set("max_fail", json!(most));
    }
    body
}
