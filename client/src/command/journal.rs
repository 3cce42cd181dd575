//! `clusterrunner journal`: looks after the journal of a master that does not run.

use crate::options::{CommonOptions, JournalOptions, JournalTask};
use crate::output::text::count;
use crate::output::{self, BAD, GOOD, NOTICE, styled};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::daemon::{DataDirectoryLock, LockError};
use clusterrunner_master::journal::examine::{self, Findings};
use clusterrunner_master::journal::export::{self, ExportError, Exported};
use clusterrunner_master::journal::repair::Repair;
use clusterrunner_master::journal::{JournalError, Problem};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Does what is asked for, with the journal for itself.
pub(crate) fn run(options: &JournalOptions, common: &CommonOptions) -> Result<ExitCode, Trouble> {
    let directory = Settings::base_directory(common)?.join("master");
    let journal = directory.join("journal");
    let from = match &options.task {
        JournalTask::Repair { from, .. } => from.as_deref(),
        JournalTask::Verify | JournalTask::Export { .. } => None,
    };
    if !journal.is_dir() && from.is_none() {
        let trouble = format!("there is no journal in {}", journal.display());
        return Err(Trouble::usage(trouble)
            .hint("say where the master keeps its files: base_directory in the settings"));
    }
    let _lock = DataDirectoryLock::take(&directory, "journal").map_err(locked)?;
    // What the engine panics on is told by this command in words.
    std::panic::set_hook(Box::new(|_| {}));
    match &options.task {
        JournalTask::Verify => verify(&journal),
        JournalTask::Export { output } => export(&journal, output.as_deref()),
        JournalTask::Repair { from, yes } => repair(&journal, from.as_deref(), *yes),
    }
}

fn locked(error: LockError) -> Trouble {
    match error {
        LockError::InUse { directory, .. } => Trouble::new(format!(
            "the master that uses {} is running, and only it may touch its journal",
            directory.display()
        ))
        .hint("stop it first: `clusterrunner stop`"),
        error @ LockError::Directory { .. } => Trouble::new(error.to_string()),
    }
}

fn unreadable(error: JournalError) -> Trouble {
    Trouble::new(error.to_string())
}

fn verify(journal: &Path) -> Result<ExitCode, Trouble> {
    let findings = examine::examine(journal).map_err(unreadable)?;
    output::say(format!("{}:", journal.display()));
    describe(&findings);
    if findings.problems.is_empty() {
        output::say(styled(GOOD, "Nothing is damaged."));
        return Ok(ExitCode::Success);
    }
    complain(&findings.problems);
    output::note("`clusterrunner journal repair` says what can be saved");
    Ok(ExitCode::AtomsFailed)
}

fn describe(findings: &Findings) {
    let in_snapshot = match findings.in_snapshot {
        Some(events) => format!("a snapshot of the first {events}"),
        None => "no snapshot".to_owned(),
    };
    let events = count(findings.events, "event");
    output::say(format!(
        "  {events}: {in_snapshot}, {} after that",
        findings.read
    ));
    output::say(format!(
        "  {} in progress, {} archived, {}",
        count(findings.live_builds, "build"),
        findings.ended_builds,
        count(findings.slaves, "slave")
    ));
    if findings.is_torn {
        output::say(styled(
            NOTICE,
            "  The last event is incomplete and was never acknowledged: the master cuts it off.",
        ));
    }
}

fn complain(problems: &[Problem]) {
    for problem in problems {
        let Problem { place, what, lost } = problem;
        output::say(format!("{} {place}: {what}", styled(BAD, "damaged:")));
        output::say(format!("         lost without it: {lost}"));
    }
}

fn export(journal: &Path, file: Option<&Path>) -> Result<ExitCode, Trouble> {
    let exported = match file {
        Some(file) => export_to(journal, file)?,
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            export::export(journal, &mut out).map_err(|error| failed(&error))?
        }
    };
    for Problem { place, what, .. } in &exported.mended {
        output::note(format!(
            "{place} is damaged ({what}); the export is complete all the same"
        ));
    }
    if exported.damages.is_empty() {
        output::note(format!("{} exported", count(exported.lines, "line")));
        return Ok(ExitCode::Success);
    }
    for damage in &exported.damages {
        output::complain(format!("{} {damage}, left out", styled(BAD, "error:")));
    }
    Ok(ExitCode::AtomsFailed)
}

fn failed(error: &ExportError) -> Trouble {
    Trouble::new(error.to_string())
}

/// A file under this name is a whole export, also if this process dies.
fn export_to(journal: &Path, file: &Path) -> Result<Exported, Trouble> {
    let wrong = |error: io::Error| {
        let shown = file.display();
        Trouble::new(format!("could not write {shown}: {error}"))
    };
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let temporary = tempfile::NamedTempFile::new_in(&directory).map_err(wrong)?;
    let mut out = BufWriter::new(temporary);
    let exported = export::export(journal, &mut out).map_err(|error| failed(&error))?;
    out.flush().map_err(wrong)?;
    let temporary = out
        .into_inner()
        .map_err(|error| wrong(error.into_error()))?;
    temporary.as_file().sync_all().map_err(wrong)?;
    temporary
        .persist(file)
        .map_err(|error| wrong(error.error))?;
    let synced = File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(wrong)?;
    Ok(exported)
}

fn repair(journal: &Path, from: Option<&Path>, yes: bool) -> Result<ExitCode, Trouble> {
    let repair = match from {
        Some(export) => Repair::of_export(journal, export).map_err(|error| failed(&error))?,
        None => Repair::of_damaged(journal).map_err(unreadable)?,
    };
    let findings = &repair.findings;
    match from {
        Some(export) => {
            output::say(format!("{} holds:", export.display()));
            describe(findings);
            complain(&findings.problems);
            output::say(
                "The export replaces the present journal: everything since the export is lost.",
            );
        }
        None if findings.problems.is_empty() => {
            describe(findings);
            output::say(styled(GOOD, "Nothing is damaged, so nothing was changed."));
            return Ok(ExitCode::Success);
        }
        None => {
            complain(&findings.problems);
            output::say("What is left:");
            describe(findings);
        }
    }
    if from.is_some() && !findings.problems.is_empty() {
        return Err(Trouble::new(
            "the export is damaged, so nothing was changed",
        ));
    }
    if !yes {
        output::say("Nothing was changed. Pass --yes to repair and accept this loss.");
        return Ok(ExitCode::AtomsFailed);
    }
    let kept = repair.commit().map_err(|error| {
        Trouble::new(format!("could not put the new journal in place: {error}"))
    })?;
    output::say(styled(GOOD, "The journal is repaired."));
    if let Some(kept) = kept {
        output::say(format!("The old journal is saved as {}.", kept.display()));
    }
    Ok(ExitCode::Success)
}
