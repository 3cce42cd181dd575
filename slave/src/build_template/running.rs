//! Running the programs that prepare a workspace. They print to the build's console and end with the build.

use super::error::BuildError;
use super::print;
use clusterrunner_common::text::printable::plain;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// How much of a command a message shows.
const SHOWN_CHARACTERS: usize = 200;

/// How much of a line is looked at.
const LONGEST_SEEN: usize = 4096;

/// Runs a program in a directory of the template, whose workspace is `project`, to its end; its exit code, or 128 and
/// the number of the signal that ended it.
pub(super) fn run(
    command: &mut Command,
    directory: &Path,
    project: &Path,
) -> Result<i32, BuildError> {
    command
        .current_dir(directory)
        .env("PROJECT_DIR", project)
        .stdin(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    let status = status.map_err(|error| BuildError::Start(plain(&name).into_owned(), error))?;
    Ok(code(status))
}

/// The same, with all that it prints shown to `seen`, line by line. Only the beginning of a long line is seen.
pub(super) fn run_seen(
    command: &mut Command,
    directory: &Path,
    mut seen: impl FnMut(&str),
) -> Result<i32, BuildError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = |error| BuildError::Start(plain(&name).into_owned(), error);
    let (mut reader, writer) = std::io::pipe().map_err(start)?;
    let errors = writer.try_clone().map_err(start)?;
    command.current_dir(directory).stdin(Stdio::null());
    let mut child = command
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .map_err(start)?;
    // The command holds the other ends of the pipe; with them open here it would have no end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut line = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let length = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(start(error)),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(&piece[..length])
            .and_then(|()| out.flush())
            .ok();
        for byte in &piece[..length] {
            match byte {
                b'\n' => {
                    seen(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                byte if line.len() < LONGEST_SEEN => line.push(*byte),
                _ => {}
            }
        }
    }
    seen(&String::from_utf8_lossy(&line));
    Ok(code(child.wait().map_err(start)?))
}

/// Shows a command as it is run.
pub(super) fn announce(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    print(&format!("$ {}", shown(&words.join(" "))));
}

fn code(status: ExitStatus) -> i32 {
    let by_signal = || 128 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(by_signal)
}

/// A command as one line of bounded length.
pub(super) fn shown(command: &str) -> String {
    let mut words = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(SHOWN_CHARACTERS) {
        words.truncate(end);
        words.push('…');
    }
    words.retain(|c| !c.is_control());
    plain(&words).into_owned()
}
