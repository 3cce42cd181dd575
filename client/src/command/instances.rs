//! `clusterrunner templates`, `clusterrunner instances` and `clusterrunner instance`.

use crate::farm::{connect, impatient};
use crate::options::{
    CommonOptions, InstanceOptions, InstanceTask, InstancesOptions, TemplateOptions, TemplateTask,
    TemplatesOptions,
};
use crate::output::again::command;
use crate::output::relay::Relay;
use crate::output::table::{Cell, Table};
use crate::output::text::{ago, size};
use crate::output::{self, BAD, GOOD, NOTICE};
use crate::trouble::{Trouble, of_launching};
use anstyle::Style;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::api::launching::{
    InstanceStatus, InstanceView, InstancesBody, TemplateView, TemplatesBody,
};
use clusterrunner_common::ids::InstanceId;
use clusterrunner_common::text::printable::{ConsoleFilter, plain};

/// For how many seconds the master waits for output when following.
const WAIT_S: u64 = 20;

/// Lists the templates.
pub(crate) async fn templates(
    options: TemplatesOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let templates = client.templates().await?;
    if options.json {
        output::say_versioned(&TemplatesBody { templates });
        return Ok(ExitCode::Success);
    }
    if templates.is_empty() {
        let launch = command("launch REPOSITORY");
        output::note(format!("there are no templates; `{launch}` makes one"));
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&["Template", "State", "Size", "Recipe", "Built", "Build"]);
    for template in &templates {
        let (style, state) = state_of(template);
        let details = template.template.as_ref();
        let recipe = details.and_then(|details| details.recipe.clone());
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add([
            Cell::from(template.name.as_str()),
            Cell::styled(style, state),
            or_dash(details.map(|details| size(details.bytes))).into(),
            or_dash(recipe).into(),
            or_dash(details.map(|details| ago(details.created))).into(),
            template.build_id.to_string().into(),
        ]);
    }
    table.print();
    Ok(ExitCode::Success)
}

/// Does what is to be done with templates.
pub(crate) async fn template(
    options: TemplateOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let TemplateTask::Delete { templates } = options.task;
    for name in templates {
        let path_of_one = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !path_of_one || name.chars().all(|c| c == '.') {
            return Err(
                Trouble::usage(format!("{} names no template", plain(&name)))
                    .hint(format!("`{}` lists them", command("templates"))),
            );
        }
        client.delete_template(&name).await.map_err(of_launching)?;
        output::tell(format!("Template {name} is deleted."));
    }
    Ok(ExitCode::Success)
}

/// Whether a template can be launched, and what its newest build does.
fn state_of(template: &TemplateView) -> (Style, &'static str) {
    let is_there = template.template.is_some();
    let details = template.template.as_ref();
    if details.is_some_and(|details| details.is_damaged) {
        return (BAD, "damaged: build it again");
    }
    match (template.build_status, is_there) {
        (Some(BuildStatus::Queued | BuildStatus::Building), false) => (Style::new(), "building"),
        (Some(BuildStatus::Queued | BuildStatus::Building), true) => (GOOD, "ready, building"),
        (Some(BuildStatus::Error | BuildStatus::Canceled), true) => {
            (NOTICE, "ready, last build failed")
        }
        (_, true) => (GOOD, "ready"),
        (_, false) => (BAD, "failed"),
    }
}

/// Lists the instances.
pub(crate) async fn list(
    options: InstancesOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let mut instances = client.instances().await?;
    instances.retain(|instance| options.all || !instance.status.is_over());
    if options.json {
        output::say_versioned(&InstancesBody { instances });
        return Ok(ExitCode::Success);
    }
    if instances.is_empty() {
        output::note(match options.all {
            true => format!("there are no instances; `{}` starts one", command("launch")),
            false => format!(
                "no instances run; `{}` lists those that are over",
                command("instances --all")
            ),
        });
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&["Instance", "Template", "State", "Slave", "Started", "URL"]);
    for instance in &instances {
        table.add([
            Cell::from(instance.id.to_string()),
            instance.template.as_str().into(),
            state_of_instance(instance),
            match instance.slave_id {
                Some(slave) => slave.to_string().into(),
                None => "-".into(),
            },
            ago(instance.created).into(),
            match instance.status.is_over() {
                true => "-".into(),
                false => url(&client, instance).into(),
            },
        ]);
    }
    table.print();
    Ok(ExitCode::Success)
}

fn state_of_instance(instance: &InstanceView) -> Cell {
    let style = match instance.status {
        InstanceStatus::Up => GOOD,
        InstanceStatus::Crashed => NOTICE,
        InstanceStatus::Failed => BAD,
        InstanceStatus::Waiting | InstanceStatus::Starting | InstanceStatus::Stopped => {
            Style::new()
        }
    };
    match (&instance.reason, instance.status) {
        (Some(reason), status) if status != InstanceStatus::Up => {
            Cell::styled(style, format!("{status}: {reason}"))
        }
        (_, status) => Cell::styled(style, status.to_string()),
    }
}

/// Where an instance is reached: below an address of the master that its clients reach.
pub(super) fn url(client: &Client, instance: &InstanceView) -> String {
    client.url_of(&format!("{}/", plain(&instance.path)))
}

/// Does what is to be done with instances.
pub(crate) async fn run(
    options: InstanceOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = connect(&options.master, &common).await?;
    let first = impatient(&client, &options.master);
    match options.task {
        InstanceTask::Stop { instances } => {
            for instance in instances {
                let stopped = first.stop_instance(instance).await.map_err(of_launching)?;
                output::tell(match stopped.status.is_over() {
                    true => format!("Instance {instance} is over ({}).", stopped.status),
                    false => format!("Instance {instance} is told to stop."),
                });
            }
        }
        InstanceTask::Logs {
            instance,
            follow,
            raw,
        } => {
            if raw && output::is_on_terminal() {
                return Err(Trouble::usage(
                    "--raw is for pipes and files, and standard output is a terminal",
                )
                .hint("raw output can reconfigure a terminal, or make it type"));
            }
            // The first look fails soon where there is no master; the others ride through its restart.
            first.instance(instance).await.map_err(of_launching)?;
            print_log(&client, instance, follow, raw).await?;
        }
    }
    Ok(ExitCode::Success)
}

/// Prints what an instance printed; on and on until it is over if `follow`.
async fn print_log(
    client: &Client,
    instance: InstanceId,
    follow: bool,
    raw: bool,
) -> Result<(), Trouble> {
    let mut filter = (!raw).then(ConsoleFilter::new);
    let mut relay = Relay::new(raw);
    let mut offset = 0;
    let wait_s = if follow { WAIT_S } else { 0 };
    while !output::is_closed() {
        let part = client.instance_log(instance, offset, wait_s).await;
        let part = part.map_err(of_launching)?;
        if part.offset > offset {
            output::note(format!(
                "-- {} of older output are not kept --",
                size(part.offset - offset)
            ));
        }
        match &mut filter {
            Some(filter) => relay.print(filter.pass(&part.content).as_bytes()),
            None => relay.print(part.content.as_bytes()),
        }
        let is_all = part.next_offset == offset;
        offset = part.next_offset;
        if part.is_complete || (is_all && !follow) {
            break;
        }
    }
    if let Some(filter) = filter {
        relay.print(filter.end().as_bytes());
    }
    if !follow && offset == 0 {
        output::note(format!(
            "the instance has printed nothing yet; `{}` waits for it",
            command(format!("instance logs {instance} --follow"))
        ));
    }
    Ok(())
}
