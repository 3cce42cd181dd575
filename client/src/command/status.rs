//! `clusterrunner status` and `clusterrunner slaves`.

use super::progress::{done_in, waits_for};
use super::slave_keys;
use super::standing::{
    atoms, began, build_state, failed_atoms, flaky, job, not_run, present, project, stages, took,
    working_tree,
};
use super::{attach, matrix};
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, ListedBuilds, ListedState, SlavesOptions, StatusOptions};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{atom_of_command, count, duration, how_it_ended, name, setting};
use crate::output::{self, BAD, FAINT, GOOD, NOTICE, STRONG, styled};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::{
    BuildOnSlaveState, BuildResult, BuildStatus, BuildView, SlaveView,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::config::in_plain_words;
use clusterrunner_common::text::printable::{plain, plain_lines};
use serde_json::{Map, Value};

/// How many builds that are over are listed.
const LISTED_BUILDS: usize = 10;

/// How many failed atoms are listed.
const LISTED_ATOMS: usize = 200;

/// Shows the farm, or one build.
pub(crate) async fn run(
    options: StatusOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    if let (Some(build), true) = (options.build, options.watch) {
        output::set_json_lines(options.shown.json);
        let client = connect(&options.master, &common).await?;
        let build = build.of(&client).await?;
        return attach::follow(&client, build, options.shown).await;
    }
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = match options.build {
        Some(build) => Some(build.of(&client).await?),
        None => None,
    };
    match (build, options.shown.json) {
        (Some(build), true) => print_json(&client, &format!("/v1/build/{build}")).await?,
        (Some(build), false) => show_build(&client, build).await?,
        (None, true) => output::say_versioned(&whole_farm(&client, &options.listed).await?),
        (None, false) => show_farm(&client, &options.listed).await?,
    }
    Ok(ExitCode::Success)
}

/// What the master says of itself, of its slaves and of the builds that are listed.
async fn whole_farm(client: &Client, listed: &ListedBuilds) -> Result<Value, Trouble> {
    let mut everything = Map::new();
    for path in ["/v1/version", "/v1/slave", "/v1/build"] {
        if let Value::Object(body) = client.read(path).await? {
            let body = body.into_iter();
            everything.extend(body.filter(|(key, _)| key != "child_routes"));
        }
    }
    if let Some(Value::Array(builds)) = everything.get_mut("builds") {
        builds.retain(|build| {
            let view = serde_json::from_value::<BuildView>(build.clone());
            view.is_ok_and(|view| is_wanted(&view, listed))
        });
        if let Some(limit) = listed.limit {
            builds.drain(..builds.len().saturating_sub(limit));
        }
    }
    Ok(everything.into())
}

/// Whether a build is in one of the states and of the job that are asked for.
fn is_wanted(build: &BuildView, listed: &ListedBuilds) -> bool {
    let state = match (build.status, build.result) {
        (BuildStatus::Queued, _) => ListedState::Queued,
        (BuildStatus::Building, _) => ListedState::Building,
        (BuildStatus::Finished, Some(BuildResult::NoFailures)) if !build.lacks_atoms => {
            ListedState::Passed
        }
        (BuildStatus::Finished, _) => ListedState::Failed,
        (BuildStatus::Error, _) => ListedState::Error,
        (BuildStatus::Canceled, _) => ListedState::Canceled,
    };
    let is_of_job = |wanted: &String| job(build) == Some(wanted.as_str());
    (listed.state.is_empty() || listed.state.contains(&state))
        && listed.job.as_ref().is_none_or(is_of_job)
}

/// The builds to list, the newest first. Where nothing else is said these are all that are not over, and the newest.
fn chosen<'a>(builds: &'a [BuildView], listed: &ListedBuilds) -> Vec<&'a BuildView> {
    let newest_first = builds.iter().rev().filter(|build| is_wanted(build, listed));
    match (listed.all, listed.limit) {
        (true, _) => newest_first.collect(),
        (false, Some(limit)) => newest_first.take(limit).collect(),
        (false, None) => {
            let mut over = 0;
            let is_new = |build: &&BuildView| {
                over += usize::from(build.status.is_over());
                !build.status.is_over() || over <= LISTED_BUILDS
            };
            newest_first.filter(is_new).collect()
        }
    }
}

/// Lists the slaves.
pub(crate) async fn slaves(
    options: SlavesOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    if let Some(task) = options.task {
        return slave_keys::run(&client, task, options.json).await;
    }
    if options.json {
        print_json(&client, "/v1/slave").await?;
        return Ok(ExitCode::Success);
    }
    let slaves = client.slaves_in_full().await?;
    if slaves.is_empty() {
        output::note(format!(
            "the master has no slaves; start one with `clusterrunner slave --master-url {}`",
            client.master()
        ));
        return Ok(ExitCode::Success);
    }
    let mut headings = vec!["Slave", "Address", "State", "Executors", "Build"];
    // Farms of an earlier version tell of neither.
    let tell_of_containers = slaves.iter().any(|slave| slave.runs_containers.is_some());
    let have_keys = slaves.iter().any(|slave| slave.key.is_some());
    headings.extend(tell_of_containers.then_some("Containers"));
    headings.extend(have_keys.then_some("Key"));
    let mut table = Table::new(&headings);
    for slave in &slaves {
        let (style, state) = slave_state(slave);
        let mut cells: Vec<Cell> = vec![
            slave.id.to_string().into(),
            slave.url.as_str().into(),
            Cell::styled(style, state),
            format!(
                "{} of {} in use",
                slave.num_executors_in_use, slave.num_executors
            )
            .into(),
            match slave.current_build_id {
                Some(build) => build.to_string().into(),
                None => "-".into(),
            },
        ];
        let containers = match slave.runs_containers {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        if tell_of_containers {
            cells.push(containers.into());
        }
        if have_keys {
            cells.push(slave.key.as_deref().unwrap_or("-").into());
        }
        table.add(cells);
    }
    table.print();
    tell_of_the_sick(&slaves);
    Ok(ExitCode::Success)
}

/// Says of each slave that is quarantined why it is, and when it is tried again.
fn tell_of_the_sick(slaves: &[SlaveView]) {
    for slave in slaves {
        let Some(reason) = &slave.quarantine_reason else {
            continue;
        };
        let next = slave.next_probe_at.filter(|_| slave.is_alive);
        let next = match next.map(|at| at - Timestamp::now().as_unix_seconds()) {
            None => String::new(),
            Some(left) if left < 1.0 => "; it is tried again now".to_owned(),
            Some(left) => format!("; it is tried again in {}", duration(left)),
        };
        let (id, url) = (slave.id, &slave.url);
        let what = format!("slave {id} ({url}) is quarantined: {reason}{next}");
        output::say(styled(BAD, plain(&what)));
        output::note(format!(
            "`{}` lets it work again at once",
            command(format!("undrain {id}"))
        ));
    }
}

fn slave_state(slave: &SlaveView) -> (Style, &'static str) {
    match (slave.is_alive, slave.is_in_shutdown_mode) {
        (false, _) if slave.is_stopped => (FAINT, "stopped"),
        (false, _) => (BAD, "lost"),
        (true, true) => (NOTICE, "shutting down"),
        (true, false) if slave.is_quarantined => (BAD, "quarantined"),
        (true, false) if slave.is_drained && is_busy(slave) => (NOTICE, "draining"),
        (true, false) if slave.is_drained => (NOTICE, "drained"),
        (true, false) if slave.current_build_state == Some(BuildOnSlaveState::SettingUp) => {
            (NOTICE, "setting up")
        }
        (true, false) if slave.is_in_doubt => (NOTICE, "in doubt"),
        (true, false) => (GOOD, "alive"),
    }
}

/// Whether a slave still has something to finish or to clear away.
pub(super) fn is_busy(slave: &SlaveView) -> bool {
    slave.is_alive && (slave.num_executors_in_use > 0 || slave.current_build_id.is_some())
}

async fn print_json(client: &Client, path: &str) -> Result<(), Trouble> {
    let body: Value = client.read(path).await?;
    output::say_versioned(&body);
    Ok(())
}

async fn show_farm(client: &Client, listed: &ListedBuilds) -> Result<(), Trouble> {
    let version = client.version().await?;
    let slaves = client.slaves().await?;
    let builds = client.builds().await?;
    let alive = slaves.iter().filter(|slave| slave.is_alive);
    let (mut machines, mut executors, mut in_use) = (0, 0, 0);
    for slave in alive {
        machines += 1;
        executors += u64::from(slave.num_executors);
        in_use += u64::from(slave.num_executors_in_use);
    }
    output::say(format!(
        "Master {} (version {}): {} with {}, {in_use} in use",
        styled(STRONG, client.master()),
        plain(&version.version),
        count(machines, "slave"),
        count(executors, "executor"),
    ));
    tell_of_the_sick(&slaves);
    let chosen = chosen(&builds, listed);
    if chosen.is_empty() {
        output::say(match builds.is_empty() {
            true => "No builds yet.",
            false => "No such builds.",
        });
        return Ok(());
    }
    let mut table = Table::new(&[
        "Build", "State", "Atoms", "Failed", "Time", "Began", "Project",
    ])
    .cutting(6);
    for build in &chosen {
        let (style, state) = build_state(build);
        let (failed_style, failed) = match failed_atoms(build) {
            0 => (Style::new(), "0".to_owned()),
            failed => (BAD, failed.to_string()),
        };
        table.add([
            build.id.to_string().into(),
            Cell::styled(style, state),
            atoms(build).into(),
            Cell::styled(failed_style, failed),
            took(build).map_or_else(|| "-".to_owned(), duration).into(),
            began(build).into(),
            match &build.matrix {
                Some(combination) => format!("{} [{combination}]", project(build)).into(),
                None => project(build).into(),
            },
        ]);
    }
    output::say("");
    table.print();
    let wanted = builds.iter().filter(|build| is_wanted(build, listed));
    let more = wanted.count() - chosen.len();
    if more > 0 {
        let more = count(u64::try_from(more).unwrap_or(u64::MAX), "older build");
        output::note(format!("{more} not listed; --all lists all"));
    }
    Ok(())
}

async fn show_build(client: &Client, id: BuildId) -> Result<(), Trouble> {
    let build = client.build_in_full(id).await?;
    let (style, state) = build_state(&build);
    output::say(format!("Build {id}: {}", styled(style, state)));
    let line = |title: &str, text: &str| output::say(format!("  {title:<10}{}", plain(text)));
    line("project", &project(&build));
    if let Some(user) = &build.started_by {
        line("user", user);
    }
    if let Some(by) = working_tree(&build).and_then(|tree| tree.by) {
        line("sent by", &by);
    }
    if let Some(commit) = &build.commit {
        line("commit", commit);
    }
    if let Some(before) = build.retry_of {
        line("retry of", &format!("build {before}"));
    }
    match (&build.matrix, build.parent) {
        (Some(combination), Some(parent)) => {
            line("matrix", &format!("{combination}, of build {parent}"));
        }
        (Some(combination), None) => line("matrix", &combination.to_string()),
        (None, _) => {}
    }
    line(
        "atoms",
        &format!(
            "{}, {} failed{}{}",
            atoms(&build),
            failed_atoms(&build),
            flaky(&build),
            not_run(&build)
        ),
    );
    // How much is done stands above, in atoms.
    match (&build.details, waits_for(&build)) {
        (_, Some(why)) => line("waits", why),
        (Some(details), None) if !details.contains("subjobs are complete") => {
            line("details", details);
        }
        (_, None) => {}
    }
    for slave in &build.slaves_setting_up {
        let since = slave.since.map_or_else(String::new, |since| {
            let since = Timestamp::now().as_unix_seconds() - since;
            format!(" for {}", duration(since.max(0.0)))
        });
        let (id, url) = (slave.slave_id, &slave.url);
        line("set-up", &format!("runs on slave {id} ({url}){since}"));
    }
    if let Some(finish) = build.finish.flatten() {
        line("ends", done_in(finish).trim_start_matches("done "));
    }
    for warning in &build.warnings {
        let mut lines = warning.lines();
        line("warning", lines.next().unwrap_or_default());
        lines.for_each(|more| line("", more));
    }
    line("began", &began(&build));
    if let Some(seconds) = took(&build) {
        line("time", &duration(seconds));
    }
    for (state, seconds) in stages(&build).into_iter().chain(present(&build)) {
        line("", &format!("{state} for {}", duration(seconds)));
    }
    if let Some(error) = &build.error_message {
        let error = in_plain_words(error);
        let error = plain_lines(&error);
        output::say(styled(BAD, format!("Build aborted due to error: {error}")));
    }
    matrix::list(&build);
    let failed = build.failed_atoms.as_deref().unwrap_or_default();
    if !failed.is_empty() {
        output::say("\nFailed atoms:");
        let mut table = Table::new(&["Atom", "Ended", "Time", "Setting"]).cutting(3);
        for atom in failed.iter().take(LISTED_ATOMS) {
            table.add([
                name(atom).into(),
                Cell::styled(BAD, how_it_ended(atom)),
                atom.actual_time
                    .map_or_else(|| "-".to_owned(), duration)
                    .into(),
                setting(atom).into(),
            ]);
        }
        table.print();
        if failed.len() > LISTED_ATOMS {
            let all = command(format!("logs {id} --failed"));
            let more = failed.len() - LISTED_ATOMS;
            output::say(format!("... and {more} more: {all}"));
        }
        output::note(format!(
            "`{}` shows what the first of them printed",
            command(format!("logs {id} {}", atom_of_command(&failed[0])))
        ));
    }
    Ok(())
}
