//! `clusterrunner retry`: a build again, or what failed in it.

use super::build::{Following, follow_to_its_end};
use super::failed_before::{failed_atoms, nothing_failed, say_what_runs};
use super::interrupt::Interrupt;
use super::{junit_file, unpacked, variables};
use crate::farm;
use crate::options::{CommonOptions, MasterAddress, RetryOptions};
use crate::output::{self, again};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::ids::BuildId;
use serde_json::{Map, Value, json};

/// A farm that has run a build, to run it again.
pub(super) struct Reached {
    pub(super) client: Client,
    /// Fails soon where there is no master.
    pub(super) first: Client,
    /// What a build has in place of the daemons' environment: on the user's own farm, this command's.
    pub(super) inherited: Option<Value>,
}

/// Reaches a farm.
pub(super) async fn reach(
    address: &MasterAddress,
    common: &CommonOptions,
) -> Result<Reached, Trouble> {
    let loaded = Settings::load(common)?.with_token(address.token.as_ref())?;
    let settings = match loaded.user_token {
        None => loaded.with_secret(common)?,
        Some(_) => loaded,
    };
    let master = match address.with_port(settings.port) {
        Some(master) => master,
        None => farm::find(&settings).await?,
    };
    again::remember(common.config_file.as_deref(), address.master_url.as_deref());
    farm::tell_whom(&master, &settings);
    let client = farm::client_of(&master, address.patience(), &settings)?;
    let is_own = address.master_url.is_none() && farm::is_private(&master, &settings).await?;
    Ok(Reached {
        first: farm::impatient(&client, address),
        client,
        inherited: is_own.then(|| json!(variables::brought(std::env::vars_os()))),
    })
}

/// Runs a build again.
pub(crate) async fn run(options: RetryOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    output::set_json_lines(options.shown.json);
    let interrupt = Interrupt::listen(false)?;
    if let Some(path) = &options.junit {
        junit_file::make_way(path)?;
    }
    let Reached {
        client,
        first,
        inherited,
    } = reach(&options.master, &common).await?;
    let build = options.build.own(&first).await?;
    let before = first.build(build).await?;
    if options.failed && before.status.is_over() {
        let is_parent = !before.children.is_empty();
        let failed = match is_parent {
            true => Vec::new(),
            false => failed_atoms(&client, before.id).await?,
        };
        // A parent counts those of its matrix.
        if failed.is_empty() && (!is_parent || before.num_atoms_failed == 0) {
            return Ok(nothing_failed(&before));
        }
        if !is_parent {
            say_what_runs(&failed, &before);
        }
    }
    let mut request = body(build, &options);
    if let Some(inherited) = inherited {
        request.insert("inherited_env".to_owned(), inherited);
    }
    let build = client.submit_params(&request).await?;
    let destination = unpacked::destination(options.results_dir.as_deref(), None);
    let following = Following {
        destination: (!options.no_results).then_some(&destination),
        is_detached: options.detach,
        is_compat: false,
        junit: options.junit.as_deref(),
        shown: options.shown,
    };
    Box::pin(follow_to_its_end(&client, &interrupt, build, following)).await
}

fn body(build: BuildId, options: &RetryOptions) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| body.insert(field.to_owned(), value);
    set("retry_of", json!(build));
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
