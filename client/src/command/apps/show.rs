//! Shows what an app is and has.

use super::{numbers, of_apps};
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
        output::say_body(&json!({
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
    if let Some(url) = &found.url {
        table.add([Cell::from("URL"), url.as_str().into()]);
    }
    for domain in &domains {
        table.add([Cell::from("Domain"), domain.domain.as_str().into()]);
    }
    if let Some(newest) = newest {
        let summary = newest.summary.as_deref().unwrap_or_default();
        let release = format!("v{}, {}: {summary}", newest.version, newest.created);
        table.add([Cell::from("Release"), release.into()]);
    }
    table.print();
    print_containers(&containers);
    Ok(())
}

/// The processes of an app.
pub(super) async fn containers(client: &Client, app: &str) -> Result<(), Trouble> {
    let containers = client.containers(app).await.map_err(of_apps)?;
    print_containers(&containers);
    Ok(())
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
            one.created.as_str().into(),
        ]);
    }
    table.print();
}

/// The newest release, and what runs of it.
pub(super) async fn newest(client: &Client, app: &str) -> Result<(), Trouble> {
    let releases = client.releases(app).await.map_err(of_apps)?;
    if let Some(newest) = releases.first() {
        output::tell(format!("Release v{} of {app} is made.", newest.version));
    }
    containers(client, app).await
}

/// The releases of an app.
pub(super) async fn releases(client: &Client, app: &str, json: bool) -> Result<(), Trouble> {
    let releases = client.releases(app).await.map_err(of_apps)?;
    if json {
        output::say_body(&releases);
        return Ok(());
    }
    let mut table = Table::new(&["Release", "Made", "What changed"]);
    for release in &releases {
        table.add([
            Cell::from(format!("v{}", release.version)),
            release.created.as_str().into(),
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
        output::say_body(&domains);
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
            domain.created.as_str().into(),
        ]);
    }
    table.print();
    Ok(())
}
