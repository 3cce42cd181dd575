//! `clusterrunner secret`: what builds are given and nobody is shown.

use crate::farm::{connect, impatient, is_this_machine};
use crate::options::{CommonOptions, SecretOptions, SecretTask, SetSecretOptions};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::ago;
use crate::output::{self, BAD};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::projects::{ProjectView, ProjectsBody};
use clusterrunner_common::api::secrets::{
    LONGEST_SECRET, ResealSecrets, ResealedBody, SecretView, SetSecret,
};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::process::variables::{check_secret_name, is_name};
use clusterrunner_common::text::shell::shell_word;
use clusterrunner_common::work::SecretValue;
use console::Term;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

/// More than any value: what is longer is read no further and is refused by the master.
const MOST_READ: u64 = 4 * LONGEST_SECRET as u64;

/// Does what is to be done about secrets.
pub(crate) async fn run(
    options: SecretOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    if let SecretTask::Set(options) = &options.task {
        check_name(&options.name)?;
    }
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    match options.task {
        SecretTask::Set(options) => set(&client, options).await?,
        SecretTask::Confirm { project, names } => confirm(&client, &project, names).await?,
        SecretTask::Rekey { from_file } => return rekey(&client, from_file.as_deref()).await,
        SecretTask::List { project, json } => list(&client, project.as_deref(), json).await?,
        SecretTask::Remove { project, names } => {
            for name in names {
                // Earlier versions took more names, which can go.
                if !is_name(&name) {
                    check_name(&name)?;
                }
                let removed = client.remove_secret(&project, &name).await;
                removed.map_err(of_accounts)?;
                output::tell(format!("Builds of {project} get {name} no more."));
            }
        }
    }
    Ok(ExitCode::Success)
}

fn check_name(name: &str) -> Result<(), Trouble> {
    check_secret_name(name).map_err(|right| {
        Trouble::usage(format!(
            "'{name}' can not be the name of a secret: it must be {right}"
        ))
    })
}

async fn set(client: &Client, options: SetSecretOptions) -> Result<(), Trouble> {
    check_way(client)?;
    let value = match &options.from_file {
        Some(file) => of_file(file)?,
        None => given(&format!("Value of {}: ", options.name), options.file)?,
    };
    let secret = SetSecret {
        project: options.project,
        name: options.name,
        value: Some(SecretValue::new(value)),
        as_file: options.file,
        allow_forks: options.allow_forks,
    };
    let set = client.set_secret(&secret).await.map_err(of_accounts)?;
    let SecretView { project, name, .. } = &set;
    let what = match set.as_file {
        true => format!("a file with it, and its path in ${name}"),
        false => format!("it in ${name}"),
    };
    output::tell(format!(
        "Builds of {project} whose job has `secrets: [{name}]` get {what}."
    ));
    if set.allow_forks {
        output::note(
            "builds of forks get it, too: whoever may start one can read it and send it anywhere",
        );
    }
    Ok(())
}

/// Lets builds of the repository that a project has now have what was set for another one.
async fn confirm(client: &Client, project: &str, names: Vec<String>) -> Result<(), Trouble> {
    for name in names {
        check_name(&name)?;
        let secret = SetSecret {
            project: project.to_owned(),
            name,
            value: None,
            as_file: false,
            allow_forks: false,
        };
        let set = client.set_secret(&secret).await.map_err(of_accounts)?;
        let place = set.url.as_deref().unwrap_or("its own repository");
        let (project, name) = (&set.project, &set.name);
        output::tell(format!("Builds of {project} from {place} get {name}."));
    }
    Ok(())
}

/// Has all values sealed under the secret that the farm has now.
async fn rekey(client: &Client, from_file: Option<&Path>) -> Result<ExitCode, Trouble> {
    check_way(client)?;
    let former = match from_file {
        Some(file) => of_file(file)?,
        None => given("Former secret of the farm: ", false)?,
    };
    let former = ResealSecrets {
        former_secret: SecretValue::new(former.trim().to_owned()),
    };
    let resealed = client.reseal_secrets(&former).await;
    let ResealedBody { resealed, closed } = resealed.map_err(of_accounts)?;
    output::tell(format!(
        "{resealed} values are sealed under the secret that the farm has now."
    ));
    for secret in &closed {
        let again = command(format_args!("secret set {secret}"));
        output::note(format!(
            "{secret}: neither secret opens its value; `{again}` sets it again"
        ));
    }
    Ok(match closed.is_empty() {
        true => ExitCode::Success,
        false => ExitCode::Trouble,
    })
}

/// A value goes to another machine only where nobody on the way can read it.
fn check_way(client: &Client) -> Result<(), Trouble> {
    let url = client.url_of("/");
    let host = url.strip_prefix("http://").unwrap_or_default();
    let host = host.trim_end_matches('/');
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    if url.starts_with("https://") || is_this_machine(host) {
        return Ok(());
    }
    let trouble = Trouble::usage(format!(
        "the value would go over the network to {host} unencrypted"
    ));
    Err(trouble.hint(
        "run this on the master's machine, or have the farm speak HTTPS (`clusterrunner tls init`)",
    ))
}

fn of_file(file: &Path) -> Result<String, Trouble> {
    let read = regular_file::read_to_string(file, MOST_READ);
    read.map_err(|error| Trouble::usage(format!("could not read {}: {error}", file.display())))
}

/// From the terminal, where it is not shown, or from standard input. A line feed at its end is not part of it, but of a value
/// that becomes a file.
fn given(question: &str, as_file: bool) -> Result<String, Trouble> {
    let terminal = Term::stderr();
    if terminal.is_term() && std::io::stdin().is_terminal() {
        let failed = |error| Trouble::new(format!("could not ask for the value: {error}"));
        terminal.write_str(question).map_err(failed)?;
        return terminal.read_secure_line().map_err(failed);
    }
    let mut value = String::new();
    let read = std::io::stdin()
        .lock()
        .take(MOST_READ)
        .read_to_string(&mut value);
    read.map_err(|error| {
        Trouble::usage(format!(
            "could not read the value from standard input: {error}"
        ))
    })?;
    if value.is_empty() {
        return Err(Trouble::usage("standard input has no value"));
    }
    if !as_file {
        let length = value.strip_suffix('\n').map_or(value.len(), |line| {
            line.strip_suffix('\r').unwrap_or(line).len()
        });
        value.truncate(length);
    }
    Ok(value)
}

async fn list(client: &Client, project: Option<&str>, json: bool) -> Result<(), Trouble> {
    let mut body = client.secrets().await.map_err(of_accounts)?;
    if let Some(project) = project {
        body.secrets.retain(|secret| is_of(secret, project));
        if body.secrets.is_empty() {
            check_project(client, project).await?;
        }
    }
    if json {
        output::say_versioned(&body);
        return Ok(());
    }
    if body.secrets.is_empty() {
        let project = shell_word(project.unwrap_or("PROJECT"));
        let set = command(format_args!("secret set {project} NAME"));
        output::say(format!("There are no secrets. `{set}` sets one."));
        return Ok(());
    }
    let mut table = Table::new(&["Project", "Name", "Set", "By", "Given as", "Forks"]);
    for secret in &body.secrets {
        table.add([
            Cell::from(secret.project.as_str()),
            Cell::from(secret.name.as_str()),
            Cell::from(ago(secret.set_at)),
            Cell::from(secret.set_by.as_str()),
            Cell::from(if secret.as_file { "file" } else { "variable" }),
            match secret.allow_forks {
                true => Cell::styled(BAD, "yes"),
                false => Cell::from("no"),
            },
        ]);
    }
    table.print();
    for secret in &body.secrets {
        if let Some(trouble) = &secret.trouble {
            let again = command(format_args!(
                "secret set {} {}",
                secret.project, secret.name
            ));
            let what = format!("{} of {}: {trouble}", secret.name, secret.project);
            output::note(format!("{what}; `{again}` sets it again"));
        }
    }
    Ok(())
}

/// One that has no secret is there all the same; of one that is not it is said as the master says it where one is set.
async fn check_project(client: &Client, named: &str) -> Result<(), Trouble> {
    const PAGE: usize = 200;
    let mut seen = 0;
    loop {
        let path = format!("/v2/projects?limit={PAGE}&offset={seen}");
        let page: ProjectsBody = client.read(&path).await.map_err(of_accounts)?;
        let is_it = |project: &ProjectView| {
            let full = format!("{}/{}", project.owner, project.name);
            is_named(named, &full, project.id, project.url.as_deref())
        };
        if page.projects.iter().any(is_it) {
            return Ok(());
        }
        seen += page.projects.len();
        if page.projects.is_empty() || seen >= page.total {
            return Err(Trouble::usage(format!(
                "There is no project {named} that you may see. Name it NAME, OWNER/NAME, by its number, or by the URL of \
                 its repository."
            )));
        }
    }
}

fn is_of(secret: &SecretView, named: &str) -> bool {
    let url = secret.url.as_deref();
    is_named(named, &secret.project, secret.project_id, url)
}

/// Whether a user means this project, which is `full` with its owner.
fn is_named(named: &str, full: &str, id: ProjectId, url: Option<&str>) -> bool {
    let name = full.rsplit('/').next();
    full == named || name == Some(named) || id.to_string() == named || url == Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_in_several_ways() {
        let secret = SecretView {
            project: "ann/hill".to_owned(),
            project_id: ProjectId(7),
            url: Some("https://host/hill.git".to_owned()),
            name: "TOKEN".to_owned(),
            as_file: false,
            allow_forks: false,
            set_at: 0.0,
            set_by: "ann".to_owned(),
            trouble: None,
        };
        for named in ["ann/hill", "hill", "7", "https://host/hill.git"] {
            assert!(is_of(&secret, named), "{named}");
        }
        for other in ["ann", "hil", "8", "https://host/hill"] {
            assert!(!is_of(&secret, other), "{other}");
        }
    }
}
