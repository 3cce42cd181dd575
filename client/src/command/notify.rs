//! `clusterrunner notify`: whether those who are told of builds take what the master sends, and how it goes with them.

use super::config::look_for;
use crate::daemons::try_receiver;
use crate::farm::{connect, impatient};
use crate::options::{
    CommonOptions, ListReceiversOptions, NotifyOptions, NotifyTask, TestReceiverOptions,
};
use crate::output::table::{Cell, Table};
use crate::output::text::{ago, count, duration};
use crate::output::{self, BAD, FAINT, GOOD, NOTICE, styled};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::receivers::ReceiverView;
use clusterrunner_common::settings::{NotifyTarget, Overrides, load_master};
use clusterrunner_common::text::printable::plain;

/// Tries receivers, or lists them.
pub(crate) async fn run(
    options: NotifyOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    match options.task {
        NotifyTask::Test(options) => test(options, common).await,
        NotifyTask::List(options) => list(options, common).await,
    }
}

/// Shows how it goes with the receivers of a master.
async fn list(options: ListReceiversOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let body = client.receivers().await.map_err(|error| match error.status() {
        Some(status) if status == 404 => Trouble::new(format!(
            "the master {} does not list receivers: it is older than this command, or the original",
            client.master()
        )),
        _ => error.into(),
    })?;
    if options.json {
        output::say_versioned(&body);
        return Ok(ExitCode::Success);
    }
    if body.receivers.is_empty() {
        output::say("Nobody is told of builds.");
        output::note(
            "docs/notifications.md shows how a section [notify NAME] of the settings changes that",
        );
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&["Receiver", "Kind", "Sent", "Waiting", "Last sent"]);
    for receiver in &body.receivers {
        table.add([
            receiver.name.as_str().into(),
            receiver.kind.as_str().into(),
            receiver.sent.to_string().into(),
            waiting(receiver),
            last_sent(receiver),
        ]);
    }
    table.print();
    for receiver in &body.receivers {
        say_trouble(receiver);
    }
    Ok(ExitCode::Success)
}

fn waiting(receiver: &ReceiverView) -> Cell {
    match (receiver.waiting, receiver.next_attempt_in) {
        (0, _) => "0".into(),
        (number, Some(seconds)) if seconds >= 1.0 => {
            Cell::styled(NOTICE, format!("{number}, tried in {}", duration(seconds)))
        }
        (number, _) => Cell::styled(NOTICE, number.to_string()),
    }
}

fn last_sent(receiver: &ReceiverView) -> Cell {
    match &receiver.last_sent {
        Some(last) => {
            let (build, event) = (last.build_id, last.event);
            format!("build {build} {event}, {}", ago(last.at)).into()
        }
        None => Cell::styled(FAINT, "nothing since the master started"),
    }
}

/// What failed, and what was given up for good.
fn say_trouble(receiver: &ReceiverView) {
    let name = plain(&receiver.name);
    if let Some(last) = &receiver.last_failure {
        let is_over = receiver.waiting == 0;
        let style = if is_over { FAINT } else { BAD };
        let text = format!(
            "{name}: {} failed, the last {} (build {} {}, attempt {}): {}",
            count(receiver.failed, "attempt"),
            ago(last.at),
            last.build_id,
            last.event,
            last.attempt,
            plain(&last.message)
        );
        output::say(styled(style, text));
    }
    for (number, why) in [
        (receiver.refused, "it refuses them"),
        (receiver.given_up, "they were too old, or too many waited"),
    ] {
        if number > 0 {
            let text = format!("{name}: {} given up: {why}", count(number, "notification"));
            output::say(styled(BAD, text));
        }
    }
}

async fn test(options: TestReceiverOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    if let Some(file) = &common.config_file {
        look_for(file)?;
    }
    let environment = |name: &str| std::env::var(name).ok();
    let file = common.config_file.as_deref();
    let settings = load_master(file, environment, &Overrides::new());
    let settings = settings.map_err(|error| Trouble::usage(error.to_string()))?;
    let file = settings.general.config_file.display();
    let chosen = match &options.name {
        None if settings.notify.is_empty() => {
            let message = format!("{file} has no section [notify NAME]");
            return Err(Trouble::usage(message).hint("docs/notifications.md has examples"));
        }
        None => settings.notify,
        Some(name) => {
            let known = names(&settings.notify);
            let found = settings
                .notify
                .into_iter()
                .find(|target| target.name == *name);
            let found = found.ok_or_else(|| {
                let message = format!("{file} has no section [notify {name}]");
                Trouble::usage(message).hint(format!("it has these: {known}"))
            });
            vec![found?]
        }
    };
    let mut code = ExitCode::Success;
    for target in &chosen {
        let name = &target.name;
        match try_receiver(target).await {
            Ok(status) => output::say(format!("{name}: {} (status {status})", styled(GOOD, "ok"))),
            Err(error) => {
                let what = plain(&error.to_string()).into_owned();
                output::say(format!("{name}: {} {what}", styled(BAD, "error:")));
                code = ExitCode::Trouble;
            }
        }
    }
    Ok(code)
}

fn names(targets: &[NotifyTarget]) -> String {
    match targets {
        [] => "none".to_owned(),
        targets => {
            let names = targets.iter().map(|target| target.name.as_str());
            names.collect::<Vec<_>>().join(", ")
        }
    }
}
