//! Lines of settings files, as far as it must be known what they say to send them elsewhere. Pure.

/// The section that a line begins, however it is written.
pub(super) fn section(line: &str) -> Option<&str> {
    let line = line.trim_start_matches('\u{feff}').trim();
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let is_end = rest.trim_start().is_empty() || rest.trim_start().starts_with(['#', ';']);
    is_end.then(|| name.trim().trim_matches(['"', '\'']))
}

/// Whether a line begins this section.
pub(super) fn begins(line: &str, name: &str) -> bool {
    section(line) == Some(name)
}

/// Whether a line sets a key.
pub(super) fn sets(line: &str, key: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    let set = line.split_once(['=', ':']);
    set.is_some_and(|(name, _)| name.trim().trim_matches(['"', '\'']) == key)
}

/// A file of the deployment, as the settings of a machine name it whose files lie below `directory`.
pub(super) fn place(directory: &str, file: &str) -> String {
    let home = if directory.starts_with('/') { "" } else { "~/" };
    format!("{home}{}/{file}", directory.trim_end_matches('/'))
}
