//! `clusterrunner validate`: what is wrong in a `clusterrunner.yaml`, or what it will do.

use super::request::{JOB_FILE, job_file};
use crate::options::ValidateOptions;
use crate::output::text::count;
use crate::output::{self, BAD, GOOD, STRONG, styled};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::job::config::{
    Job, JobConfig, Problem, ShellText, in_plain_words, shell_texts,
};
use clusterrunner_common::job::setup_cache::SetupCache;
use clusterrunner_common::job::warm::{bash, python};
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::work::{Worker, WorkerProgram};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Checks a file.
pub(crate) fn run(options: &ValidateOptions) -> Result<ExitCode, Trouble> {
    let path = file(&options.path);
    let shown = path.display().to_string();
    let bytes = job_file(&path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        Trouble {
            code: ExitCode::AtomsFailed,
            ..Trouble::usage(format!("{shown}:{line}: the file is not UTF-8 text"))
        }
    })?;
    let config = match JobConfig::parse(&text, &shown) {
        Ok(config) => config,
        Err(error) => {
            let problems: Vec<&Problem> = error.problems().iter().collect();
            return Ok(complain(&shown, &problems));
        }
    };
    let problems: Vec<&Problem> = config.problems().collect();
    if !problems.is_empty() {
        return Ok(complain(&shown, &problems));
    }
    let slips = slips(&text, &config);
    if !slips.is_empty() {
        return Ok(complain_of_shell(&shown, &slips));
    }
    let names: Vec<&str> = config.names().collect();
    let number = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let fine = format!("{shown} is fine: {}", count(number, "job"));
    output::say(styled(GOOD, fine));
    for warning in config.warnings() {
        show(&shown, "warning: ", warning);
    }
    for name in &names {
        if let Ok((name, job)) = config.job(Some(name)) {
            describe(name, job);
            for file in missing_key_files(job, &path) {
                output::say(styled(
                    BAD,
                    format!("  warning: no file {} is here", plain(file)),
                ));
                output::say("    it is a key of the cache: builds without it keep no set-up");
            }
        }
    }
    if let [_, second, ..] = names.as_slice() {
        output::note(format!(
            "say which job to run: `clusterrunner build --job-name '{}'`",
            plain(second)
        ));
    }
    Ok(ExitCode::Success)
}

/// The file that a path means.
fn file(path: &Path) -> PathBuf {
    let path = if path.is_dir() && !path.ends_with(JOB_FILE) {
        path.join(JOB_FILE)
    } else {
        path.to_owned()
    };
    path.strip_prefix("./").map(Path::to_owned).unwrap_or(path)
}

/// What bash says of the commands that it does not understand. Commands are looked at one by one: what is joined of them
/// on a slave is no longer in the lines of the file. Nothing where there is no bash.
fn slips(file: &str, config: &JobConfig) -> Vec<(ShellText, String)> {
    let wrong = |one: ShellText| {
        let error = slip(&one.text)?;
        let (_, job) = config.job(Some(&one.job)).ok()?;
        let joined = match one.section.as_str() {
            "commands" => Some(&job.commands),
            "batch_command" => job.batch_command.as_ref(),
            "setup_build" => job.setup_build.as_ref(),
            "teardown_build" => job.teardown_build.as_ref(),
            // Each runs by itself.
            _ => None,
        };
        // A command that begins in one element may end in the next one.
        let is_wrong = joined.is_none_or(|joined| slip(joined).is_some());
        is_wrong.then_some((one, error))
    };
    shell_texts(file).into_iter().filter_map(wrong).collect()
}

/// What bash says of a text that it does not understand.
fn slip(text: &str) -> Option<String> {
    let mut bash = Command::new("bash");
    // Nothing is run, so bash does not see that the text itself turns this on.
    if text.contains("extglob") {
        bash.args(["-O", "extglob"]);
    }
    bash.args(["-n", "-c", "--", text]).env("LC_ALL", "C");
    let said = bash.stdin(Stdio::null()).output().ok()?;
    let errors = String::from_utf8_lossy(&said.stderr);
    let error = errors.lines().next().filter(|_| !said.status.success())?;
    let error = error
        .trim_start_matches("bash: ")
        .trim_start_matches("-c: ");
    Some(error.to_owned())
}

fn complain_of_shell(file: &str, slips: &[(ShellText, String)]) -> ExitCode {
    for (one, error) in slips {
        let place = styled(STRONG, plain(&format!("{file}:{}", one.line)));
        let (job, section) = (plain(&one.job), plain(&one.section));
        output::say(format!(
            "{place}: bash does not understand a command in {section} of {job}: {}",
            plain(error)
        ));
        output::say(format!("    the command: {}", shortened(&one.text)));
    }
    let number = u64::try_from(slips.len()).unwrap_or(u64::MAX);
    output::say(styled(BAD, format!("{file}: {}", count(number, "problem"))));
    ExitCode::AtomsFailed
}

fn complain(file: &str, problems: &[&Problem]) -> ExitCode {
    for problem in problems {
        show(file, "", problem);
    }
    let number = u64::try_from(problems.len()).unwrap_or(u64::MAX);
    output::say(styled(BAD, format!("{file}: {}", count(number, "problem"))));
    ExitCode::AtomsFailed
}

/// Where something is, what, and what to write instead.
fn show(file: &str, kind: &str, problem: &Problem) {
    let place = match (problem.line(), problem.column()) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.to_owned(),
    };
    let place = styled(STRONG, plain(&place));
    output::say(format!(
        "{place}: {kind}{}",
        plain(&in_plain_words(&problem.message))
    ));
    output::say(format!("    instead: {}", plain(&problem.cure)));
}

/// The worker of a job, and whether it can do what the commands say.
fn by_worker(worker: &Worker, job: &Job) -> String {
    let name = match &worker.program {
        WorkerProgram::Command { command } => shortened(command).to_string(),
        other => other.name().to_owned(),
    };
    // Any value will do for one variable as for another, but for those that matter by being there.
    let value = |name: &str| {
        let is_usual = name != "CDPATH" && !python::MEASURING.contains(&name);
        is_usual.then(|| "x".to_owned())
    };
    let read = |module| python::read(&job.commands, module, &value);
    let why_not = match (&worker.program, &job.image) {
        (_, Some(_)) => Some("atoms run in containers".to_owned()),
        (WorkerProgram::Pytest | WorkerProgram::Unittest, None) => {
            read(worker.program.name()).err().map(|why| why.to_string())
        }
        (WorkerProgram::Bash, None) => (!bash::is_usual(&job.commands))
            .then(|| "the commands could tell its shell from a new one".to_owned()),
        (WorkerProgram::Command { .. }, None) => None,
    };
    match why_not {
        Some(why) => format!("{name}, but atoms run without it, since {why} (docs/workers.md)"),
        None if worker.confirm_failures => name,
        None => format!("{name}; what fails there counts at once"),
    }
}

fn describe(name: &str, job: &Job) {
    output::say(format!("\n{}", styled(STRONG, plain(name))));
    for atomizer in &job.atomizers {
        let what = match atomizer.multiplies {
            true => "  times each line of:         ",
            false => "  one atom for each line of:  ",
        };
        output::say(format!(
            "{what}{}  (as ${})",
            shortened(&atomizer.command),
            plain(&atomizer.name)
        ));
    }
    if !job.matrix.is_empty() {
        let number = u64::try_from(job.matrix.len()).unwrap_or(u64::MAX);
        output::say(format!("  matrix of {}:", count(number, "build")));
        for combination in &job.matrix {
            output::say(format!("    {}", shortened(&combination.to_string())));
        }
    }
    if let Some(setup) = &job.setup_build {
        output::say(format!(
            "  once per slave before:      {}",
            shortened(setup)
        ));
    }
    if let Some(cache) = &job.cache {
        describe_cache(cache, job.setup_once);
    }
    if let Some(batch) = &job.batch_command {
        output::say(format!(
            "  many atoms in one process:  {}",
            shortened(batch)
        ));
    }
    if let Some(worker) = &job.worker {
        output::say(format!(
            "  in a worker:                {}",
            by_worker(worker, job)
        ));
    }
    let what = match job.batch_command.is_some() {
        true => "an atom alone runs:         ",
        false => "each atom runs:             ",
    };
    output::say(format!("  {what}{}", shortened(&job.commands)));
    if let Some(junit) = &job.junit {
        let paths = Vec::from(junit.clone());
        output::say(format!(
            "  reports of tests:           {}",
            match paths.is_empty() {
                true => "none".to_owned(),
                false => shortened(&paths.join(", ")).to_string(),
            }
        ));
    }
    describe_secrets(&job.secrets);
    if let Some(teardown) = &job.teardown_build {
        output::say(format!(
            "  once per slave afterwards:  {}",
            shortened(teardown)
        ));
    }
    for (limit, what) in [
        (job.timeouts.atomizer, "atomizer"),
        (job.timeouts.setup, "setup_build"),
        (job.timeouts.atom, "atom"),
        (job.timeouts.teardown, "teardown_build"),
    ] {
        match limit.map(|limit| (limit, limit.seconds())) {
            Some((limit, Some(_))) => output::say(format!("  {what} is killed after {limit}")),
            Some((_, None)) => output::say(format!("  {what} has no time limit")),
            None => {}
        }
    }
    for (limit, what) in [
        (job.max_executors, "in all"),
        (job.max_executors_per_slave, "per slave"),
    ] {
        if let Some(limit) = limit {
            output::say(format!("  at most {limit} executors {what}"));
        }
    }
}

/// The key files of a job's cache that are not beside the job's file.
fn missing_key_files<'a>(job: &'a Job, job_file: &Path) -> Vec<&'a str> {
    let files = job.cache.iter().flat_map(|cache| cache.key_files());
    let is_missing = |file: &&str| !job_file.with_file_name(file).is_file();
    files.map(String::as_str).filter(is_missing).collect()
}

fn describe_secrets(names: &BTreeSet<String>) {
    if !names.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let names = names.join(", ");
        output::say(format!(
            "  secrets of the project:     {}",
            shortened(&names)
        ));
    }
}

fn describe_cache(cache: &SetupCache, once: bool) {
    let paths = shortened(&cache.paths().join(", "));
    let same = match cache.key_files() {
        [] => "the same commit".to_owned(),
        files => format!("the same {}", shortened(&files.join(", "))),
    };
    output::say(format!("  kept of that, by slave:     {paths}, for {same}"));
    if once {
        output::say("  where that is kept, nothing is run before");
    }
}

/// The first line of a command that says something, cut where it is long.
fn shortened(command: &str) -> String {
    const LONGEST: usize = 100;
    let mut lines = command.trim().lines();
    let first = lines.find(|line| *line != "{").unwrap_or_default();
    let cut: String = first.chars().take(LONGEST).collect();
    let shown = plain(&cut);
    if cut.len() < first.len() || lines.next().is_some() {
        format!("{shown} ...")
    } else {
        shown.into_owned()
    }
}
