//! Labels: what slaves have and jobs ask for.

/// What a label looks like, for messages.
pub const LABEL_FORM: &str =
    "labels of letters, digits, \".\", \"_\", \"-\" and \"=\", at most 64 characters each";

/// The most labels that a slave has or a job asks for.
pub const MAX_LABELS: usize = 64;

const LONGEST: usize = 64;

/// Whether a text can be a label. The tags of apps are labels such as `rack=1`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=');
    (1..=LONGEST).contains(&text.len()) && text.chars().all(is_fit)
}
