//! Exports of journals, which a journal is made of again.

use clusterrunner_master::trial::journal_of_export;
use std::fs;

/// An export is refused, or becomes a journal from which a master starts.
///
/// # Panics
/// It becomes something else.
pub fn journals(export: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("export");
    fs::write(&file, export).expect("a temporary file can be written");
    if let Err(wrong) = journal_of_export(directory.path(), &file) {
        panic!("it was taken, but is no journal: {wrong}");
    }
}
