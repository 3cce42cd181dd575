//! Settings files.

use clusterrunner_common::settings::{Overrides, load_client, load_master, load_slave};
use std::io::Write as _;
use tempfile::NamedTempFile;

/// A settings file is read or refused with a message, for each program.
///
/// # Panics
/// Reading it panics, or the temporary file can not be written.
pub fn settings(text: &[u8]) {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text)
        .expect("a temporary file can be written");
    let (path, none) = (Some(file.path()), Overrides::default());
    let messages = [
        load_master(path, |_| None, &none).err(),
        load_slave(path, |_| None, &none).err(),
        load_client(path, |_| None, &none).err(),
    ];
    for message in messages.into_iter().flatten() {
        assert!(!message.to_string().is_empty());
    }
}
