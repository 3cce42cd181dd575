//! Shows what an app is and has.

use super::{numbers, of_apps};
use crate::output::again::command;
use crate::output::controllers_time::since;
use crate::output::table::{Cell, Table};
use crate::output::{self, BAD, GOOD, NOTICE};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::Client;
use clusterrunner_client::client::Container;
use serde_json::json;

/// An app with its processes, its newest release and its domains.
pub(super) async fn info(client: &Client, app: &str, json: bool) -> Result<(), Trouble> {
    let found = client.app(app).await.map_err(of_apps)?;
    let containers = client.containers(app).await.map_err(of_apps)?;
    let releases = client.releases(app).await.map_err(of_apps)?;
    let domains = client.domains(app).await.map_err(of_apps)?;
    let newest = releases.first();
    if json {
        output::say_versioned(&json!({
            "app": found,
            "containers": containers,
            "release": newest,
            "domains": domains,
        }));
        return Ok(());
    }
    let mut table = Table::new(&["App", &found.id]);
    table.add([Cell::from("Owner"), found.owner.as_str().into()]);
    table.add([Cell::from("Wanted"), numbers(&found).into()]);
    if let Some(host) = &found.url {
        table.add([Cell::from("URL"), client.url_of_host(host).into()]);
    }
    for domain in &domains {
        table.add([Cell::from("Domain"), domain.domain.as_str().into()]);
    }
    if let Some(newest) = newest {
        let summary = newest.summary.as_deref().unwrap_or_default();
        let made = since(&newest.created);
        let release = format!("v{}, {made}: {summary}", newest.version);
        table.add([Cell::from("Release"), release.into()]);
    }
    table.print();
    print_containers(&containers);
    Ok(())
}

/// The processes of an app after a change. An error if one of its newest release is not up.
async fn changed(client: &Client, app: &str, newest: u64) -> Result<(), Trouble> {
    let containers = client.containers(app).await.map_err(of_apps)?;
    print_containers(&containers);
    match not_up(&containers, newest) {
        None => Ok(()),
        Some(those) => {
            let log = command(format_args!("app logs {app}"));
            let trouble = Trouble::new(format!("release v{newest} is not up: {those}"));
            Err(trouble.hint(format!("`{log}` says why")))
        }
    }
}

/// How many processes a sentence names.
const NAMED: usize = 10;

/// Those of a release that are not up: `web.1 (error), web.2 (crashed)`, and how many more.
fn not_up(containers: &[Container], version: u64) -> Option<String> {
    let release = format!("v{version}");
    let of_release = containers.iter().filter(|one| one.release == release);
    let those = of_release.filter(|one| one.state != "up");
    let mut those: Vec<String> = those
        .map(|one| format!("{}.{} ({})", one.process, one.num, one.state))
        .collect();
    let num_more = those.len().saturating_sub(NAMED);
    those.truncate(NAMED);
    if num_more > 0 {
        those.push(format!("and {num_more} more"));
    }
    (!those.is_empty()).then(|| those.join(", "))
}

fn print_containers(containers: &[Container]) {
    if containers.is_empty() {
        return output::note("no processes run");
    }
    let mut table = Table::new(&["Process", "Release", "State", "Started"]);
    for one in containers {
        let style = match one.state.as_str() {
            "up" => GOOD,
            "crashed" => NOTICE,
            "error" => BAD,
            _ => Style::new(),
        };
        table.add([
            Cell::from(format!("{}.{}", one.process, one.num)),
            one.release.as_str().into(),
            Cell::styled(style, one.state.as_str()),
            since(&one.created).into(),
        ]);
    }
    table.print();
}

/// The newest release after it was made, and what runs of it.
pub(super) async fn made(client: &Client, app: &str) -> Result<(), Trouble> {
    let newest = newest(client, app).await?;
    output::tell(format!("Release v{newest} of {app} is made."));
    changed(client, app, newest).await
}

/// What runs of the newest release after the structure was changed.
pub(super) async fn scaled(client: &Client, app: &str) -> Result<(), Trouble> {
    let newest = newest(client, app).await?;
    changed(client, app, newest).await
}

async fn newest(client: &Client, app: &str) -> Result<u64, Trouble> {
    let releases = client.releases(app).await.map_err(of_apps)?;
    let newest = releases.first().map(|release| release.version);
    newest.ok_or_else(|| Trouble::new(format!("the master lists no release of {app}")))
}

/// The releases of an app.
pub(super) async fn releases(client: &Client, app: &str, json: bool) -> Result<(), Trouble> {
    let releases = client.releases(app).await.map_err(of_apps)?;
    if json {
        output::say_versioned(&json!({"releases": releases}));
        return Ok(());
    }
    let mut table = Table::new(&["Release", "Made", "What changed"]);
    for release in &releases {
        table.add([
            Cell::from(format!("v{}", release.version)),
            since(&release.created).into(),
            release.summary.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.print();
    Ok(())
}

/// The domains of an app.
pub(super) async fn domains(client: &Client, app: &str, json: bool) -> Result<(), Trouble> {
    let domains = client.domains(app).await.map_err(of_apps)?;
    if json {
        output::say_versioned(&json!({"domains": domains}));
        return Ok(());
    }
    if domains.is_empty() {
        output::note(format!("{app} has no domains of its own"));
        return Ok(());
    }
    let mut table = Table::new(&["Domain", "Owner", "Added"]);
    for domain in &domains {
        table.add([
            Cell::from(domain.domain.as_str()),
            domain.owner.as_str().into(),
            since(&domain.created).into(),
        ]);
    }
    table.print();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_up_of_the_newest_release_is_named() {
        let container = |num: u32, release: &str, state: &str| -> Container {
            serde_json::from_value(json!({
                "type": "web",
                "num": num,
                "release": release,
                "state": state,
                "created": "2014-01-01T00:00:00UTC",
            }))
            .unwrap()
        };
        let containers = [
            container(1, "v2", "crashed"),
            container(1, "v3", "error"),
            container(2, "v3", "up"),
        ];
        assert_eq!(not_up(&containers, 3).as_deref(), Some("web.1 (error)"));
        assert_eq!(not_up(&containers[2..], 3), None);
        let many: Vec<_> = (1..=12).map(|num| container(num, "v3", "error")).collect();
        let named = not_up(&many, 3).unwrap();
        assert!(named.ends_with("web.10 (error), and 2 more"), "{named}");
    }
}
