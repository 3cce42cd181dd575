//! What is written into an atom's artifact directory beside what the atom leaves there. The atom may
//! have done anything to the directory meanwhile.

use crate::data_directory::{make_private, remove_all};
use crate::work::AtomEnd;
use clusterrunner_common::artifact::{CONSOLE_FILE, EXIT_CODE_FILE};
use clusterrunner_common::console::Capped;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that the slave could not handle.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} {}: {source}", .path.display())]
pub(crate) struct AtomFileError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn files<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> AtomFileError + 'a {
    move |source| AtomFileError {
        step,
        path: path.to_owned(),
        source,
    }
}

/// An empty artifact directory with an empty console file in it.
pub(crate) fn fresh_console(directory: &Path) -> Result<File, AtomFileError> {
    remove_all(directory).map_err(files("empty", directory))?;
    make_private(directory).map_err(files("make", directory))?;
    let console = directory.join(CONSOLE_FILE);
    // Appending: a command may empty the file behind our back and must not leave a hole.
    File::options()
        .append(true)
        .create_new(true)
        .open(&console)
        .map_err(files("make", &console))
}

/// Brings the console into the form in which it is kept, and writes the exit code, over whatever the
/// atom put in its place. Where the exit code is, the atom has ended.
pub(crate) fn write_result(
    directory: &Path,
    end: &AtomEnd,
    max_console_size: Option<u64>,
) -> Result<(), AtomFileError> {
    if !directory.is_dir() {
        remove_all(directory).map_err(files("replace", directory))?;
        make_private(directory).map_err(files("make", directory))?;
    }
    let console = directory.join(CONSOLE_FILE);
    match console.symlink_metadata() {
        Ok(found) if found.is_file() => {
            if max_console_size.is_some_and(|max| found.len() > max) {
                match cut(&console, max_console_size) {
                    Err(error) if is_the_atoms_doing(&error) => replace(&console, b"")?,
                    done => done.map_err(files("shorten", &console))?,
                }
            }
        }
        Ok(_) | Err(_) => replace(&console, b"")?,
    }
    if let Some(limit) = end.timed_out {
        let notice = format!("clusterrunner: timed out after {} s\n", limit.as_secs());
        match add_line(&console, &notice) {
            Err(error) if is_the_atoms_doing(&error) => replace(&console, notice.as_bytes())?,
            done => done.map_err(files("write", &console))?,
        }
    }
    replace(
        &directory.join(EXIT_CODE_FILE),
        format!("{}\n", end.exit_code).as_bytes(),
    )
}

/// An atom may lock its console, and what it left running may remove it.
fn is_the_atoms_doing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
    )
}

/// Opens what is a file; a background child of the atom may still put anything in its place.
fn open_again(console: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(console)
}

/// Makes a console that is too large what is kept of it.
fn cut(console: &Path, max: Option<u64>) -> io::Result<()> {
    let mut shown = Capped::new(open_again(console, &mut File::options())?, max)?;
    // Unlinked, not emptied: what still writes to it must not make a hole in the new one.
    remove_all(console)?;
    let mut kept = File::create_new(console)?;
    io::copy(&mut shown, &mut kept)?;
    Ok(())
}

/// Adds a line to the end of a console, whose last line may have no end.
fn add_line(console: &Path, line: &str) -> io::Result<()> {
    let mut file = open_again(console, File::options().append(true))?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let gap = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{gap}{line}").as_bytes())
}

fn replace(path: &Path, content: &[u8]) -> Result<(), AtomFileError> {
    let write = || {
        let mut file = match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_all(path)?;
                File::create_new(path)?
            }
            other => other?,
        };
        file.write_all(content)
    };
    write().map_err(files("write", path))
}
