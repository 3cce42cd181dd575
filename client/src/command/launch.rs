//! `clusterrunner launch`: build a template if need be, start an instance of it, and say where it is reached.

use super::instances::url;
use super::interrupt::Interrupt;
use super::report;
use super::variables;
use super::watch::Watch;
use crate::farm::{self, client_of, connect, tell_whom};
use crate::options::{CommonOptions, LaunchOptions, ShownOptions};
use crate::output;
use crate::output::again::{self, command};
use crate::settings::Settings;
use crate::trouble::{Trouble, of_launching};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::api::launching::{
    BuildTemplate, InstanceBody, InstanceStatus, InstanceView, LaunchInstance,
};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::templates::failure_in;
use clusterrunner_common::text::printable::plain;
use std::path::Path;
use std::time::Duration;

/// Pause before the second look at an instance; it grows from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many lines of the build's output are looked at for the reason why it failed.
const LAST_LINES: u64 = 1;

/// Launches what the command line names.
pub(crate) async fn run(
    options: LaunchOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen(false)?;
    let environment = variables::chosen(&options.env)?;
    let repository = repository(&options)?;
    let connecting = Box::pin(client(&options, &common));
    let Some(client) = interrupt.unless(connecting).await else {
        return Ok(ExitCode::Canceled);
    };
    let client = client?;
    let template = match repository {
        None => options.what.clone(),
        Some(request) => match build(&client, &request, &interrupt).await? {
            Ok(name) => name,
            Err(code) => return Ok(code),
        },
    };
    let environment = environment.iter();
    let launch = LaunchInstance {
        template,
        command: options.command.clone(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        max_memory_bytes: options.memory,
        cull_after: options.idle.map(|idle| idle.as_secs()),
    };
    let instance = client.launch(&launch).await.map_err(of_launching)?;
    let id = instance.id;
    if options.detach {
        match options.json {
            true => output::say_versioned(&InstanceBody { instance }),
            false => output::say(id),
        }
        return Ok(ExitCode::Success);
    }
    output::note(format!(
        "Instance {id} of {} is starting.",
        plain(&instance.template)
    ));
    let Some(instance) = interrupt.unless(until_up(&client, instance)).await else {
        let trouble = Trouble::new(format!("interrupted; instance {id} goes on"));
        return Err(trouble.hint(format!(
            "`{}` shows it, `{}` ends it",
            command("instances"),
            command(format!("instance stop {id}"))
        )));
    };
    say(&client, instance?, options.json)
}

/// What is to be built; nothing where a template is named.
fn repository(options: &LaunchOptions) -> Result<Option<BuildTemplate>, Trouble> {
    let what = options.what.trim();
    let is_here = what == "." || what == ".." || Path::new(what).is_absolute();
    let is_path = is_here || what.starts_with("./") || what.starts_with("../");
    if !is_path && !what.contains(['/', ':']) {
        if options.branch.is_some() || options.commit.is_some() || options.rebuild {
            let trouble = Trouble::usage(format!(
                "--branch, --commit and --rebuild are for repositories, and '{}' names a template",
                plain(what)
            ));
            return Err(trouble.hint("write the URL of the repository, or ./ before its directory"));
        }
        return Ok(None);
    }
    let repository = match is_path {
        true => {
            let path = std::fs::canonicalize(what).map_err(|error| {
                Trouble::usage(format!("the repository {}: {error}", plain(what)))
            })?;
            path.display().to_string()
        }
        false => what.to_owned(),
    };
    Ok(Some(BuildTemplate {
        repository,
        branch: options.branch.clone(),
        commit: options.commit.clone(),
        force: options.rebuild,
    }))
}

/// A client of the master that is named, or of the one of this machine, which is started if there is none.
async fn client(options: &LaunchOptions, common: &CommonOptions) -> Result<Client, Trouble> {
    if options.master.master_url.is_some() {
        return connect(&options.master, common).await;
    }
    again::remember(common.config_file.as_deref(), None);
    let settings = Settings::load(common)?.with_token(options.master.token.as_ref())?;
    let settings = settings.with_secret(common)?;
    let master = farm::find_or_start(&settings, common, None).await?;
    tell_whom(&master, &settings);
    client_of(&master, options.master.patience(), &settings)
}

/// Builds the template and gives its name, or the exit code where there is none.
async fn build(
    client: &Client,
    request: &BuildTemplate,
    interrupt: &Interrupt,
) -> Result<Result<String, ExitCode>, Trouble> {
    let accepted = client.build_template(request).await.map_err(of_launching)?;
    let build = accepted.build_id;
    output::note(format!(
        "Build {build} makes the template {}.",
        plain(&accepted.name)
    ));
    let mut watch = Watch::start(client, build, ShownOptions::default());
    let followed = interrupt.unless(Box::pin(watch.follow())).await;
    drop(watch);
    let Some(end) = followed else {
        let trouble = Trouble::new(format!("interrupted; build {build} goes on"));
        return Err(trouble.hint(format!(
            "`{}` follows it, `{}` cancels it",
            command(format!("attach {build}")),
            command(format!("cancel {build}"))
        )));
    };
    let end = end?;
    match ExitCode::of(&end).unwrap_or(ExitCode::Trouble) {
        // Where an earlier template is used again, nothing was to be run.
        ExitCode::Success | ExitCode::NoAtoms => Ok(Ok(accepted.name)),
        code => {
            report::say_verdict(&end, false);
            say_why(client, &end).await;
            Ok(Err(code))
        }
    }
}

/// Says why a template could not be built, in the words of the program that builds it.
async fn say_why(client: &Client, end: &BuildView) {
    let build: BuildId = end.id;
    let (subjob, atom) = (SubjobId(0), AtomId(0));
    let console = client.console(build, subjob, atom, LAST_LINES, None).await;
    if let Some(why) = console
        .ok()
        .and_then(|console| failure_in(&console.content))
    {
        output::complain(plain(&why));
    }
    // A repository that could not be fetched has no atom, and the verdict has said all there is.
    if client.atom(build, subjob, atom).await.is_ok() {
        output::note(format!(
            "`{}` shows what the build printed",
            command(format!("logs {build} 0_0"))
        ));
    }
}

/// Waits until an instance answers or is over.
async fn until_up(client: &Client, mut instance: InstanceView) -> Result<InstanceView, Trouble> {
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    loop {
        match instance.status {
            InstanceStatus::Up | InstanceStatus::Stopped | InstanceStatus::Failed => {
                return Ok(instance);
            }
            InstanceStatus::Waiting | InstanceStatus::Starting | InstanceStatus::Crashed => {}
        }
        if let Some(reason) = instance.reason.take().filter(|reason| *reason != told) {
            output::note(format!(
                "The instance is {}: {}",
                instance.status,
                plain(&reason)
            ));
            told = reason;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        instance = client.instance(instance.id).await.map_err(of_launching)?;
    }
}

/// Says where an instance is reached, or why it is not.
fn say(client: &Client, instance: InstanceView, json: bool) -> Result<ExitCode, Trouble> {
    let id = instance.id;
    if instance.status != InstanceStatus::Up {
        let reason = instance.reason.as_deref().unwrap_or("no reason given");
        let trouble = Trouble::new(format!("instance {id} has {}: {reason}", instance.status));
        return Err(trouble.hint(format!(
            "`{}` shows what it printed",
            command(format!("instance logs {id}"))
        )));
    }
    if json {
        output::say_versioned(&InstanceBody { instance });
        return Ok(ExitCode::Success);
    }
    output::say(url(client, &instance));
    output::note(format!(
        "`{}` shows what it prints, `{}` ends it",
        command(format!("instance logs {id} -f")),
        command(format!("instance stop {id}"))
    ));
    Ok(ExitCode::Success)
}
