//! Values in double quotes for the shell.

use std::borrow::Cow;

/// What the shell reads otherwise in double quotes.
pub(super) const SPECIAL: [char; 4] = ['"', '\\', '`', '$'];

/// The text in values that stays a variable.
pub(super) const PROJECT: &str = "$PROJECT_DIR";

/// A value that the shell reads, in double quotes, as this one.
pub(super) fn quoted(value: &str) -> Cow<'_, str> {
    let mut quoted = String::new();
    let mut rest = value;
    while let Some(next) = rest.find(SPECIAL) {
        let (plain, special) = rest.split_at(next);
        quoted.push_str(plain);
        // A longer name would be that of another variable.
        let project = special.strip_prefix(PROJECT);
        rest = match project.filter(|after| !continues_a_name(after)) {
            Some(after) => {
                quoted.push_str(PROJECT);
                after
            }
            None => {
                quoted.push('\\');
                quoted.push_str(&special[..1]);
                &special[1..]
            }
        };
    }
    match quoted.is_empty() {
        true => Cow::Borrowed(value),
        false => Cow::Owned(quoted + rest),
    }
}

/// Whether a name that stands before this text would be longer.
pub(super) fn continues_a_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}
