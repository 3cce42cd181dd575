//! Readers of what strangers send, without a master: fuzzers drive them.

use crate::http::claims::owner_of_path;
use crate::http::clusterrunner::read_upload;
use crate::journal::Journal;
use crate::journal::repair::Repair;
use crate::push;
use std::path::Path;

/// The program of git and the app that a command line means which came through SSH; none where it means nothing here.
#[must_use]
pub fn ssh_command(line: &[u8]) -> Option<(&'static str, &str)> {
    let (service, app) = push::command(line)?;
    Some((service.name(), app))
}

/// The name of the API that owns a path.
#[must_use]
pub fn path_owner(path: &str) -> &'static str {
    owner_of_path(path)
}

/// Reads an upload of results as the master does: how long its report and its file are.
///
/// # Errors
/// Why it is refused.
pub async fn upload(boundary: &str, body: Vec<u8>) -> Result<(usize, usize), String> {
    read_upload(boundary, body).await
}

/// Makes a journal of an export below a directory, and recovers it. Whether it could be made. Blocks.
///
/// # Errors
/// It could be made, and is no journal.
pub fn journal_of_export(directory: &Path, export: &Path) -> Result<bool, String> {
    let journal = directory.join("journal");
    let Ok(repair) = Repair::of_export(&journal, export) else {
        return Ok(false);
    };
    if !repair.findings.problems.is_empty() {
        return Ok(false);
    }
    repair.commit().map_err(|error| error.to_string())?;
    let mut opened = Journal::open(&journal).map_err(|error| error.to_string())?;
    let recovered = opened.recover().map_err(|error| error.to_string())?;
    recovered.check().map_err(|error| error.to_string())?;
    Ok(true)
}
