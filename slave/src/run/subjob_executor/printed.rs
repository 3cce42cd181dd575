//! What an atom printed and left, where it runs once more.

use crate::data_directory::remove_all;
use crate::work::{AtomConsole, AtomEnd};
use clusterrunner_common::disk::regular_file;
use std::io::{Read as _, Seek as _, SeekFrom};

/// A console; of one that is longer than so many bytes and in a file, the end.
pub(super) fn text_of(console: &AtomConsole, most: u64) -> String {
    let bytes = match console {
        AtomConsole::Memory(text) => text.clone(),
        AtomConsole::File(path) => {
            let read = || {
                let mut file = regular_file::open_itself(path)?;
                let length = file.metadata()?.len();
                file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
                let mut bytes = Vec::new();
                file.take(most).read_to_end(&mut bytes)?;
                std::io::Result::Ok(bytes)
            };
            read().unwrap_or_default()
        }
    };
    String::from_utf8_lossy(&bytes).into_owned()
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
