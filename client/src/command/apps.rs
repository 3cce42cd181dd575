//! `clusterrunner apps` and `clusterrunner app`.

mod config;
mod confirm;
mod log;
mod run;
mod show;

pub(super) use log::print as print_log;

use crate::farm::{connect, connect_for_long, impatient};
use crate::options::{AppOptions, AppTask, AppsOptions, CommonOptions};
use crate::output;
use crate::output::again::command;
use crate::output::controllers_time::since;
use crate::output::table::{Cell, Table};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::ClientError;
use clusterrunner_client::client::{App, said_of_app};
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::ErrorCode;
use clusterrunner_common::auth::gate::UnknownToken;
use clusterrunner_common::caller::CallError;
use reqwest::StatusCode;
use serde_json::json;
use std::collections::BTreeMap;

/// Lists the apps.
pub(crate) async fn list(options: AppsOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let apps = client.apps().await.map_err(of_apps)?;
    if options.json {
        output::say_versioned(&json!({"apps": apps}));
        return Ok(ExitCode::Success);
    }
    if apps.is_empty() {
        let create = command("app create APP");
        output::note(format!("there are no apps; `{create}` makes one"));
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&["App", "Owner", "Processes", "URL", "Changed"]);
    for app in &apps {
        table.add([
            Cell::from(app.id.as_str()),
            app.owner.as_str().into(),
            numbers(app).into(),
            match app.url.as_deref() {
                Some(host) => client.url_of_host(host).into(),
                None => "-".into(),
            },
            since(&app.updated).into(),
        ]);
    }
    table.print();
    Ok(ExitCode::Success)
}

/// How many of each process type are wanted: `web=3 worker=1`.
fn numbers(app: &App) -> String {
    let each = app.structure.iter();
    let each: Vec<String> = each
        .map(|(process, number)| format!("{process}={number}"))
        .collect();
    match each.is_empty() {
        true => "-".to_owned(),
        false => each.join(" "),
    }
}

/// Does what is to be done with an app.
pub(crate) async fn run(options: AppOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    // What waits for processes, or for a command, waits as long as the master does.
    let patient = connect_for_long(&options.master, &common).await?;
    let client = impatient(&patient, &options.master);
    match options.task {
        AppTask::Create { id } => create(&client, id).await?,
        AppTask::Info { app, json } => show::info(&client, &app, json).await?,
        AppTask::Deploy { app, image } => {
            check_image(&client, &image).await?;
            client.deploy_app(&app, &image).await.map_err(of_apps)?;
            show::made(&client, &app).await?;
        }
        AppTask::Scale { app, numbers } => scale(&client, &app, numbers).await?,
        AppTask::Config(options) => config::run(&client, *options).await?,
        AppTask::Releases { app, json } => show::releases(&client, &app, json).await?,
        AppTask::Rollback { app, release } => {
            roll_back(&client, &app, release).await?;
        }
        AppTask::Run { app, command } => return run::run(&client, &app, &command).await,
        AppTask::Logs { app, shown } => print_log(&patient, &client, &app, &shown).await?,
        AppTask::Domains {
            app,
            add,
            remove,
            json,
        } => domains(&client, &app, (&add, &remove), json).await?,
        AppTask::Destroy { app, yes } => {
            if !yes {
                // Nobody is asked about an app that is not there.
                client.app(&app).await.map_err(of_apps)?;
                confirm::by_name(&app)?;
            }
            client.destroy_app(&app).await.map_err(of_apps)?;
            output::tell(format!("App {app} is destroyed."));
        }
    }
    Ok(ExitCode::Success)
}

async fn create(client: &Client, id: Option<String>) -> Result<(), Trouble> {
    let app = client.create_app(id.as_deref()).await.map_err(of_apps)?;
    output::say(&app.id);
    let deploy = command(format_args!("app deploy {} TEMPLATE", app.id));
    output::note(format!("`{deploy}` runs a template in it"));
    Ok(())
}

/// A release of a template that is not there would be made all the same, and never be up.
async fn check_image(client: &Client, image: &str) -> Result<(), Trouble> {
    // Tags, releases of apps and addresses of registries have one of these; the master knows those.
    if image.contains(['/', ':', '@']) {
        return Ok(());
    }
    let templates = client.templates().await.map_err(of_bad_token)?;
    if templates.iter().any(|template| template.name == image) {
        return Ok(());
    }
    let trouble = Trouble::usage(format!("there is no template {image} that you may see"));
    Err(trouble.hint(format!(
        "`{}` lists them; an image of a registry is named with its tag: {image}:latest",
        command("templates")
    )))
}

async fn scale(client: &Client, app: &str, numbers: Vec<(String, u32)>) -> Result<(), Trouble> {
    let numbers: BTreeMap<String, u32> = numbers.into_iter().collect();
    client.scale_app(app, &numbers).await.map_err(of_apps)?;
    show::scaled(client, app).await
}

async fn roll_back(client: &Client, app: &str, release: Option<u64>) -> Result<(), Trouble> {
    if let Err(error) = client.roll_app_back(app, release).await {
        return Err(match release {
            Some(version) if is_part_missing(client, app, &error).await => {
                Trouble::usage(format!("{app} has no release v{version}")).hint(format!(
                    "`{}` lists its releases",
                    command(format_args!("app releases {app}"))
                ))
            }
            _ => of_apps(error),
        });
    }
    show::made(client, app).await
}

async fn remove_domain(client: &Client, app: &str, domain: &str) -> Result<(), Trouble> {
    let Err(error) = client.remove_domain(app, domain).await else {
        output::tell(format!("{domain} does not lead to {app} any more."));
        return Ok(());
    };
    Err(match is_part_missing(client, app, &error).await {
        true => Trouble::usage(format!("{app} has no domain {domain}")).hint(format!(
            "`{}` lists its domains",
            command(format_args!("app domains {app}"))
        )),
        false => of_apps(error),
    })
}

/// Whether the master says "not found" of a part of an app that is there.
async fn is_part_missing(client: &Client, app: &str, error: &ClientError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND) && client.app(app).await.is_ok()
}

async fn domains(
    client: &Client,
    app: &str,
    (add, remove): (&[String], &[String]),
    json: bool,
) -> Result<(), Trouble> {
    for domain in remove {
        remove_domain(client, app, domain).await?;
    }
    for domain in add {
        client.add_domain(app, domain).await.map_err(of_apps)?;
        output::tell(format!("{domain} leads to {app}."));
    }
    if add.is_empty() && remove.is_empty() {
        show::domains(client, app, json).await?;
    }
    Ok(())
}

/// A call about apps failed. What the master refuses because of the command line it says in words that stand alone.
fn of_apps(error: ClientError) -> Trouble {
    let error = of_bad_token(error);
    let Some(said) = said_of_app(&error) else {
        return error.into();
    };
    match error.status() {
        Some(StatusCode::NOT_FOUND) if said == "Not found" => {
            Trouble::usage("there is no such app that you may see")
                .hint(format!("`{}` lists the apps", command("apps")))
        }
        Some(StatusCode::BAD_REQUEST) if said.starts_with("No build associated") => {
            Trouble::usage(said).hint(format!(
                "the app has no code yet: bring it some with `{}`, or with a `git push`",
                command("app deploy APP TEMPLATE")
            ))
        }
        Some(StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::NOT_FOUND) => {
            Trouble::usage(said)
        }
        Some(StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE) => Trouble::new(said),
        _ => error.into(),
    }
}

/// The controller's API says less of a token that opens nothing than the farm's own does: its words are for other clients.
fn of_bad_token(error: ClientError) -> ClientError {
    match error {
        ClientError::Call(CallError::Refused {
            url,
            status: StatusCode::UNAUTHORIZED,
            error,
            is_explained: false,
            ..
        }) if error.contains("Invalid token") => ClientError::Call(CallError::Refused {
            url,
            status: StatusCode::UNAUTHORIZED,
            error: UnknownToken::Nobodys.to_string(),
            code: Some(ErrorCode::InvalidToken),
            is_explained: true,
        }),
        other => other,
    }
}
