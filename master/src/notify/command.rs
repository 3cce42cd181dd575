//! Runs the command of the setting `on_finish`. What it is told stands in its environment alone, so nothing that a build
//! brings along comes into the line that the shell reads.

use super::queue::Notice;
use super::subject::Subject;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::command::{CommandError, Ended, ShellCommand, end_marked};
use clusterrunner_common::settings::OnFinish;
use clusterrunner_common::text::printable::plain_lines;
use std::ffi::OsString;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How much of its output is kept while it runs.
const MAX_OUTPUT: u64 = 1 << 20;

/// How much of the end of its output comes into the log.
const LOGGED: u64 = 4096;

/// The longest value of a variable: a system gives no program a longer one, and some take much less.
const LONGEST_VALUE: usize = 16 << 10;

/// Where and how commands run.
#[derive(Clone, Debug)]
pub(super) struct CommandSurroundings {
    /// The directory that they run in.
    pub(super) directory: PathBuf,
    /// Begins the mark of its processes.
    pub(super) mark: String,
    /// How long it has to end by itself when it is ended.
    pub(super) grace: Duration,
}

/// Why a command could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum OnFinishError {
    #[error("could not make a file for its output: {0}")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Run(#[from] CommandError),
}

/// Runs it for a build. Returns how it ended, and the end of what it printed.
pub(super) async fn run(
    on_finish: &OnFinish,
    surroundings: &CommandSurroundings,
    (notice, subject, page): (&Notice, &Subject, &str),
    stop: &CancellationToken,
) -> Result<(Ended, String), OnFinishError> {
    let mut output =
        tempfile::tempfile_in(&surroundings.directory).map_err(OnFinishError::Output)?;
    let to_write = output.try_clone().map_err(OnFinishError::Output)?;
    let variables = variables(notice, subject, page).into_iter();
    let shell = ShellCommand {
        command_line: on_finish.command.clone(),
        working_directory: surroundings.directory.clone(),
        variables: Arc::default(),
        environment: variables
            .map(|(name, value)| (name.to_owned(), OsString::from(value)))
            .collect(),
        mark: format!("{}on_finish:{}:", surroundings.mark, notice.build),
        max_output: Some(MAX_OUTPUT),
        confinement: None,
    };
    let ended = shell.run(to_write, stop, Some(on_finish.timeout), surroundings.grace);
    let ended = ended.await;
    // What it has left in the background is not looked after by anybody.
    end_marked(&shell.mark, surroundings.grace).await;
    let ended = ended?;
    Ok((ended, end_of(&mut output).map_err(OnFinishError::Output)?))
}

/// What the command finds in its environment.
fn variables(notice: &Notice, subject: &Subject, page: &str) -> Vec<(&'static str, String)> {
    let view = &subject.view;
    let result = view
        .result
        .and_then(|result| serde_json::to_value(result).ok());
    let result = result.and_then(|result| result.as_str().map(str::to_owned));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let variables = [
        ("BUILD_ID", notice.build.to_string()),
        ("STATUS", notice.event.name().to_uppercase()),
        ("RESULT", result.unwrap_or_default()),
        ("URL", page.to_owned()),
        ("PROJECT", subject.place.name()),
        ("COMMIT", text(&subject.commit)),
        ("BRANCH", text(&subject.branch)),
        ("JOB", text(&subject.job)),
        (
            "NUM_ATOMS",
            view.num_atoms.unwrap_or(view.num_subjobs).to_string(),
        ),
        ("NUM_ATOMS_FAILED", view.num_atoms_failed.to_string()),
        ("LACKS_ATOMS", u8::from(view.lacks_atoms).to_string()),
        ("ERROR", text(&view.error_message)),
    ];
    let clean = |(name, value): (&'static str, String)| {
        let mut value = value.replace('\0', "");
        let end = value.floor_char_boundary(LONGEST_VALUE);
        value.truncate(end);
        (name, value)
    };
    variables.into_iter().map(clean).collect()
}

/// The end of a file, as it can be logged.
fn end_of(file: &mut std::fs::File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LOGGED)))?;
    let mut bytes = Vec::new();
    file.take(LOGGED).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(plain_lines(text.trim_end()).into_owned())
}

/// A directory for the commands; it is made if need be.
pub(super) fn directory(above: &Path) -> io::Result<PathBuf> {
    let directory = above.join("on_finish");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Tells the log how a command ended.
pub(super) fn log(build: BuildId, (ended, output): (Ended, String)) {
    let (build, printed) = (build.0, printed(&output));
    let ended = match ended {
        Ended::Exited(0) => {
            tracing::info!(build.id = build, "on_finish was run{printed}");
            return;
        }
        Ended::Exited(code) => format!("with exit code {code}"),
        Ended::Signaled(signal) => format!("by signal {signal}"),
        Ended::TimedOut => "by the master, after on_finish_timeout".to_owned(),
        Ended::Canceled => "by the master".to_owned(),
    };
    tracing::warn!(build.id = build, "on_finish ended {ended}{printed}");
}

fn printed(output: &str) -> String {
    match output {
        "" => String::new(),
        output => format!(", and printed: {output}"),
    }
}
