//! What an atom printed and left, where it runs once more.

use crate::data_directory::remove_all;
use crate::work::{AtomConsole, AtomEnd};
use clusterrunner_common::disk::regular_file;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// What was read of a console.
#[derive(Debug, Default)]
pub(super) struct Printed {
    pub(super) text: String,
    /// Whether that is all that the console has.
    pub(super) is_whole: bool,
}

/// A console; of one that is longer than so many bytes and in a file, the end.
pub(super) fn text_of(console: &AtomConsole, most: u64) -> Printed {
    let read = match console {
        AtomConsole::Memory(text) => Ok((text.clone(), true)),
        AtomConsole::File(path) => end_of(path, most),
    };
    let Ok((bytes, is_whole)) = read else {
        return Printed::default();
    };
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|odd| String::from_utf8_lossy(odd.as_bytes()).into_owned());
    Printed { text, is_whole }
}

/// The last bytes of a file, at most so many, and whether these are all.
fn end_of(path: &Path, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut file = regular_file::open_itself(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, length <= most))
}

/// Removes the files of a run that does not count.
pub(super) fn remove_what_is_left(end: &AtomEnd) {
    let console = match &end.console {
        AtomConsole::File(path) => Some(path),
        AtomConsole::Memory(_) => None,
    };
    for path in console.into_iter().chain(&end.artifacts) {
        if let Err(error) = remove_all(path) {
            // The build's clean-up tries again.
            tracing::debug!(path = %path.display(), %error, "could not remove what a run left that does not count");
        }
    }
}
