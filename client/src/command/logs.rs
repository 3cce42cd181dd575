//! `clusterrunner logs`: the atoms of a build, or what one of them printed.

use super::console_page::{is_not_there, is_servers, lines};
use super::progress::Progress;
use super::watch::Failures;
use super::{apps, follow_all, matrix, step_output};
use crate::farm::{connect, impatient};
use crate::options::{AppLogOptions, CommonOptions, FailureOutput, LogsOptions};
use crate::output::again::command;
use crate::output::events::Event;
use crate::output::relay::Relay;
use crate::output::table::{Cell, Table};
use crate::output::text::{
    duration, how_ended, how_it_ended, how_to_name_an_atom, name, parse_atom, setting,
};
use crate::output::utf8::Utf8Pieces;
use crate::output::{self, BAD, GOOD, NOTICE, styled};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{
    AtomState, AtomView, BuildStatus, ConsoleBody, StepKind, SubjobFilter,
};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::text::printable::ConsoleFilter;
use std::time::Duration;

/// Lines fetched at a time: more than fit into what is given at once, so that its size is what counts.
const PAGE: u64 = 1_000_000;

/// How often the master may break off what it sends before that is an error.
const BREAKS: u32 = 10;

/// Pause between two looks when following: a line is to be seen within 300 ms.
const FOLLOW_PAUSE: Duration = Duration::from_millis(150);

/// How many lines of an app's log are shown at first.
const LINES_OF_APP: usize = 100;

/// Shows the atoms of a build, or the output of one.
pub(crate) async fn run(options: LogsOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    output::set_json_lines(options.json);
    if options.raw && output::is_on_terminal() {
        return Err(Trouble::usage(
            "--raw is for pipes and files, and standard output is a terminal",
        )
        .hint("raw output can reconfigure a terminal, or make it type"));
    }
    let client = connect(&options.master, &common).await?;
    let first = impatient(&client, &options.master);
    let build = match (&options.app, options.build) {
        (None, Some(build)) => build.of(&first).await?,
        (Some(app), _) => {
            let shown = AppLogOptions {
                lines: LINES_OF_APP,
                follow: options.follow,
            };
            apps::print_log(&client, &first, app, &shown).await?;
            return Ok(ExitCode::Success);
        }
        (None, None) => return Err(Trouble::usage("name a build, or an app with --app")),
    };
    let is_list = options.atom.is_none() && !options.follow && step_kind(&options).is_none();
    if is_list {
        for part in matrix::parts(&first, build).await? {
            part.say();
            match options.failure_output {
                FailureOutput::None => list(&first, part.id, options.failed).await?,
                how => show_failed(&first, part.id, how).await?,
            }
        }
        return Ok(ExitCode::Success);
    }
    if options.atom.is_none() && step_kind(&options).is_none() {
        return follow_all::print((&client, &first), build).await;
    }
    matrix::refuse_parent(&first, build, "output").await?;
    if let Some(kind) = step_kind(&options) {
        let step = (kind, slave(&options)?);
        let (follow, raw) = (options.follow, options.raw);
        return step_output::print((&client, &first), build, step, follow, raw).await;
    }
    let text = options.atom.as_deref().unwrap_or_default();
    let (subjob, atom) = parse_atom(text).ok_or_else(|| {
        Trouble::usage(format!("'{text}' names no atom"))
            .hint(how_to_name_an_atom(format_args!("logs {build}")))
    })?;
    // The first look fails soon where there is no master; the others ride through its restart.
    first.build(build).await?;
    let mut console = Console {
        client: &client,
        build,
        subjob,
        atom,
        attempt: options.attempt,
        line: 0,
        byte: 0,
        text: Utf8Pieces::default(),
        filter: (!options.raw).then(ConsoleFilter::new),
        relay: Relay::new(options.raw),
    };
    let printed = match options.follow {
        true => match atoms_are_known(&client, build, (subjob, atom)).await {
            Ok(()) => console.follow().await,
            Err(error) => Err(error),
        },
        false => console.print_all().await,
    };
    console.end();
    drop(console);
    match printed {
        Ok(()) => Ok(ExitCode::Success),
        // The build is there, so it is the atom that is not.
        Err(error) if error.status().is_some_and(|status| status == 404) => {
            Err(no_such_atom(&first, build, text, options.attempt).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits as long as the atomizer may still find an atom.
async fn atoms_are_known(
    client: &Client,
    build: BuildId,
    (subjob, atom): (SubjobId, AtomId),
) -> Result<(), ClientError> {
    let mut is_said = false;
    while client.build(build).await?.status == BuildStatus::Queued {
        match client.atom(build, subjob, atom).await {
            Err(error) if error.status().is_some_and(|status| status == 404) => {}
            known => return known.map(drop),
        }
        if !is_said {
            output::note(format!(
                "build {build} has no atoms yet: this waits for them"
            ));
            is_said = true;
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
    Ok(())
}

/// Shows the atoms that failed with what they printed.
async fn show_failed(client: &Client, build: BuildId, how: FailureOutput) -> Result<(), Trouble> {
    let subjobs = client.filtered_subjobs(build, SubjobFilter::Failed).await?;
    let failed = subjobs.iter().flat_map(|subjob| &subjob.atoms);
    let failed: Vec<&AtomView> = failed.filter(|atom| atom.has_failed()).collect();
    if failed.is_empty() {
        output::note(format!("no atom of build {build} has failed"));
    }
    let progress = Progress::none();
    let mut failures = Failures::new(client, build, how);
    for atom in failed {
        failures.show(&progress, atom).await?;
    }
    Ok(())
}

/// The kind of step whose output is asked for.
fn step_kind(options: &LogsOptions) -> Option<StepKind> {
    let kinds = [
        (options.setup, StepKind::Setup),
        (options.teardown, StepKind::Teardown),
        (options.atomizer, StepKind::Atomizer),
    ];
    let mut asked = kinds.into_iter().filter(|(is_asked, _)| *is_asked);
    asked.next().map(|(_, kind)| kind)
}

/// The slave whose step is asked for: by its option, or in the place of the atom.
fn slave(options: &LogsOptions) -> Result<Option<SlaveId>, Trouble> {
    let Some(text) = &options.atom else {
        return Ok(options.slave);
    };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        Trouble::usage(format!("'{text}' is no slave's number")).hint(format!(
            "`{}` lists the slaves with their numbers",
            command("slaves")
        ))
    })
}

async fn no_such_atom(
    client: &Client,
    build: BuildId,
    atom: &str,
    attempt: Option<Attempt>,
) -> Trouble {
    if let Some(attempt) = attempt {
        return Trouble::usage(format!(
            "atom {atom} of build {build} has no attempt {attempt}, or its output is removed by now"
        ))
        .hint(format!(
            "`{}` lists the atoms and how often they ran",
            command(format_args!("logs {build}"))
        ));
    }
    let is_there = parse_atom(atom).map(|(subjob, atom)| client.atom(build, subjob, atom));
    let is_there = match is_there {
        Some(asked) => asked.await.is_ok(),
        None => false,
    };
    let is_over = match client.build(build).await {
        Ok(build) => build.status.is_over(),
        Err(_) => false,
    };
    if is_there && is_over {
        return Trouble::new(format!(
            "there is no output of atom {atom} of build {build}"
        ))
        .hint("the build ended before this atom ran, or its results are removed by now");
    }
    if is_there {
        return Trouble::new(format!("atom {atom} of build {build} has no output yet"))
            .hint("it has not begun to run; --follow waits for it");
    }
    Trouble::usage(format!("build {build} has no atom {atom}")).hint(format!(
        "`{}` lists the atoms that it has",
        command(format_args!("logs {build}"))
    ))
}

async fn list(client: &Client, build: BuildId, only_failed: bool) -> Result<(), Trouble> {
    let subjobs = match only_failed {
        true => client.filtered_subjobs(build, SubjobFilter::Failed).await?,
        false => client.subjobs(build).await?,
    };
    let is_listed = |atom: &&AtomView| !only_failed || atom.has_failed();
    if only_failed && subjobs.is_empty() {
        output::note(format!("no atom of build {build} has failed"));
        return Ok(());
    }
    if subjobs.iter().all(|subjob| subjob.atoms.is_empty()) {
        output::note(format!(
            "build {build} has no atoms, or none yet; see `{}`",
            command(format_args!("status {build}"))
        ));
        return Ok(());
    }
    let is_over = client.build(build).await?.status.is_over();
    let mut table = Table::new(&["Atom", "State", "Time", "Setting"]).cutting(3);
    let atoms = subjobs.iter().flat_map(|subjob| &subjob.atoms);
    for atom in atoms.filter(is_listed) {
        output::emit(&Event::Atom {
            build_id: build,
            atom,
        });
        let (style, state) = state(atom, is_over);
        table.add([
            name(atom).into(),
            Cell::styled(style, state),
            atom.actual_time
                .map_or_else(|| "-".to_owned(), duration)
                .into(),
            setting(atom).into(),
        ]);
    }
    table.print();
    Ok(())
}

/// How far an atom is, of a build that may be over.
fn state(atom: &AtomView, is_over: bool) -> (Style, String) {
    match (atom.state, how_ended(atom)) {
        (_, Some(_)) if atom.fails_as_flaky => (BAD, how_it_ended(atom)),
        (_, Some(_)) if atom.is_flaky => (NOTICE, how_it_ended(atom)),
        (_, Some(_)) if atom.exit_code == Some(0) => match atom.worker {
            Some(_) => (GOOD, "passed in a worker".to_owned()),
            None => (GOOD, "passed".to_owned()),
        },
        (_, Some(how)) => (BAD, how),
        (AtomState::NotStarted, None) if is_over => (NOTICE, "not run".to_owned()),
        (AtomState::NotStarted, None) => (Style::new(), "waiting".to_owned()),
        (AtomState::InProgress, None) => (Style::new(), "running".to_owned()),
        (AtomState::Completed, None) => (BAD, "no exit code".to_owned()),
        (AtomState::Canceled, None) => (NOTICE, "canceled".to_owned()),
        (AtomState::NotRun, None) => (NOTICE, "not run".to_owned()),
    }
}

/// The output of one atom, printed up to a line or a byte.
struct Console<'a> {
    client: &'a Client,
    build: BuildId,
    subjob: SubjobId,
    atom: AtomId,
    /// The attempt that is wanted; the last one where none is.
    attempt: Option<Attempt>,
    line: u64,
    byte: u64,
    text: Utf8Pieces,
    /// `None` prints the console as it is.
    filter: Option<ConsoleFilter>,
    relay: Relay,
}

impl Console<'_> {
    /// Prints all there is: of an atom that has ended in one stream, of one that runs page by page.
    async fn print_all(&mut self) -> Result<(), ClientError> {
        if output::is_json_lines() {
            return self.print_what_is_there().await;
        }
        let mut breaks = 0;
        loop {
            let asked = self.client.console_text(
                self.build,
                self.subjob,
                self.atom,
                self.attempt,
                self.byte,
            );
            let Some(mut response) = asked.await? else {
                return self.print_what_is_there().await;
            };
            loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => self.print_bytes(&bytes),
                    Ok(None) => return Ok(()),
                    Err(_) if breaks < BREAKS => break,
                    Err(source) => {
                        let (build, source) = (self.build, source.without_url());
                        return Err(ClientError::Download { build, source });
                    }
                }
                if output::is_closed() {
                    return Ok(());
                }
            }
            breaks += 1;
        }
    }

    fn print_bytes(&mut self, bytes: &[u8]) {
        self.byte += bytes.len() as u64;
        match &mut self.filter {
            Some(filter) => {
                let shown = filter.pass(&self.text.next(bytes));
                self.relay.print(shown.as_bytes());
            }
            None => self.relay.print(bytes),
        }
    }

    /// Prints all there is after the last printed line.
    async fn print_what_is_there(&mut self) -> Result<(), ClientError> {
        while !output::is_closed() {
            let page = self.page().await?;
            if page.num_lines == 0 {
                break;
            }
            match (&mut self.filter, output::is_json_lines()) {
                (_, true) => self.emit(&page),
                (Some(filter), false) => self.relay.print(filter.pass(&page.content).as_bytes()),
                (None, false) => self.relay.print(page.content.as_bytes()),
            }
            self.line = page.offset_line + page.num_lines;
            if page.num_bytes_cut > 0 && !output::is_json_lines() {
                self.relay.print(b"\n");
                output::complain(format!(
                    "{} line {} is longer than the master sends while the atom runs: {} bytes of it are left out; \
                     `{}` shows all of it when the atom has ended",
                    styled(NOTICE, "warning:"),
                    self.line,
                    page.num_bytes_cut,
                    command(format_args!(
                        "logs {} {}_{}",
                        self.build, self.subjob, self.atom
                    ))
                ));
            }
        }
        Ok(())
    }

    /// Tells programs of lines.
    fn emit(&self, page: &ConsoleBody) {
        for (line, text, num_bytes_cut) in lines(page) {
            output::emit(&Event::Output {
                build_id: self.build,
                subjob_id: self.subjob,
                atom_id: self.atom,
                attempt: self.attempt,
                line,
                text,
                num_bytes_cut,
            });
        }
    }

    /// Ends what the printed text began.
    fn end(&mut self) {
        if output::is_json_lines() {
            return;
        }
        if let Some(filter) = &mut self.filter {
            self.relay.print(filter.pass(&self.text.end()).as_bytes());
            self.relay.print(std::mem::take(filter).end().as_bytes());
        }
    }

    async fn page(&self) -> Result<ConsoleBody, ClientError> {
        self.client
            .console_of(
                (self.build, self.subjob, self.atom),
                self.attempt,
                PAGE,
                Some(self.line),
            )
            .await
    }

    /// Prints until the atom has ended.
    async fn follow(&mut self) -> Result<(), ClientError> {
        while !output::is_closed() {
            // Asked before the output is read, so that nothing written before the end is missed.
            let over = self.is_over().await?;
            if over && self.line == 0 {
                return self.print_all().await;
            }
            match self.print_what_is_there().await {
                Ok(()) => {}
                Err(error) if over => return Err(error),
                Err(error) if is_shorter_than_before(&error) => {
                    self.end();
                    output::note("-- the atom was started again; its output begins anew --");
                    self.line = 0;
                }
                // There is no output before the atom has started, and none while its slave can not be asked.
                Err(error) if is_not_there(&error) || is_servers(&error) => {}
                Err(error) => return Err(error),
            }
            if over {
                break;
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
        Ok(())
    }

    async fn is_over(&self) -> Result<bool, ClientError> {
        let atom = self.client.atom(self.build, self.subjob, self.atom).await?;
        if atom.state == AtomState::Completed || atom.exit_code.is_some() {
            return Ok(true);
        }
        // The atoms of a canceled build stay as they were.
        Ok(self.client.build(self.build).await?.status.is_over())
    }
}

fn is_shorter_than_before(error: &ClientError) -> bool {
    error.status().is_some()
        && error
            .to_string()
            .contains("is higher than the total number of lines")
}
