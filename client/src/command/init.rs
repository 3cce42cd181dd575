//! `clusterrunner init`: a `clusterrunner.yaml` for a project that has none.

mod find;
mod jobs;
mod project;

use super::request::JOB_FILE;
use crate::options::InitOptions;
use crate::output::text::count;
use crate::output::{self, GOOD, styled};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::text::printable::plain;
use jobs::{Job, jobs};
use project::Project;
use std::io::{self, Write as _};
use std::path::Path;

/// Looks at a project and writes its job file.
pub(crate) fn run(options: &InitOptions) -> Result<ExitCode, Trouble> {
    let shown = options.path.display();
    let project = Project::read(&options.path)
        .map_err(|error| Trouble::usage(format!("could not look at '{shown}': {error}")))?;
    if let Some(error) = project.broken_package() {
        output::note(format!("package.json is not read: {error}"));
    }
    let jobs = jobs(&project);
    if jobs.is_empty() {
        let trouble = Trouble::usage(format!(
            "no tests that `init` knows were found in '{shown}'"
        ));
        return Err(trouble.hint(
            "it knows test files of pytest and unittest, Cargo.toml, the script `test` of package.json, go.mod, and \
             the targets `test` and `check` of a Makefile; for others write the file as docs and README show it, and \
             check it with `clusterrunner validate`",
        ));
    }
    let yaml = text(&jobs);
    if options.print {
        output::say(yaml.trim_end());
        return Ok(ExitCode::Success);
    }
    let file = options.path.join(JOB_FILE);
    write(&file, &yaml, options.force)?;
    let number = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
    let file = file.strip_prefix("./").unwrap_or(&file).display();
    let wrote = format!("wrote {file}: {}", count(number, "job"));
    output::say(styled(GOOD, wrote));
    for job in &jobs {
        output::say(format!("  {}", plain(&job.because)));
    }
    output::note("Look at the file, then run it on this machine: `clusterrunner build`");
    Ok(ExitCode::Success)
}

fn text(jobs: &[Job]) -> String {
    let jobs: Vec<&str> = jobs.iter().map(|job| job.yaml.as_str()).collect();
    jobs.join("\n")
}

/// Puts the file there whole or not at all. One that is there stays, unless `force` says otherwise.
fn write(file: &Path, text: &str, force: bool) -> Result<(), Trouble> {
    let shown = file.display();
    let failed = |error: io::Error| Trouble::new(format!("could not write {shown}: {error}"));
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    if force {
        new.persist(file).map_err(|error| failed(error.error))?;
        return Ok(());
    }
    match new.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let trouble = Trouble::usage(format!("{shown} is there already"));
            Err(trouble.hint("--force writes over it, --print only shows what would be written"))
        }
        Err(error) => Err(failed(error.error)),
    }
}
