//! `clusterrunner notify test`: whether those who are told of builds take what the master sends.

use super::config::look_for;
use crate::daemons::try_receiver;
use crate::options::{CommonOptions, NotifyOptions, NotifyTask};
use crate::output::{self, BAD, GOOD, styled};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::settings::{NotifyTarget, Overrides, load_master};
use clusterrunner_common::text::printable::plain;

/// Tries receivers.
pub(crate) async fn run(
    options: NotifyOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let NotifyTask::Test(options) = options.task;
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
                let what = plain(&error).into_owned();
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
