//! Directories that are entered one after the other, as by the files of an archive.

use super::Beneath;
use std::io;
use std::path::{Path, PathBuf};

/// The directories of files beneath one that come one after the other. Most follow others of their directory, so the last
/// one stays open.
#[derive(Debug)]
pub struct Parents {
    top: Beneath,
    last: Option<(PathBuf, Beneath)>,
}

impl Parents {
    /// Those beneath this one.
    #[must_use]
    pub fn of(top: Beneath) -> Self {
        Self { top, last: None }
    }

    /// The one that all are beneath.
    #[must_use]
    pub fn top(&self) -> &Beneath {
        &self.top
    }

    /// Opens a directory, and makes it and those on the way where they are missing.
    ///
    /// # Errors
    /// As [`Beneath::make`].
    pub fn enter(&mut self, relative: &Path) -> io::Result<&Beneath> {
        let opened = match self.last.take() {
            Some((at, opened)) if at == relative => opened,
            Some(_) | None => self.top.make(relative)?,
        };
        let (_, opened) = self.last.insert((relative.to_owned(), opened));
        Ok(opened)
    }
}
