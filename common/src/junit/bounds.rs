//! How much is read of reports. What is beyond is left out, and its users are told.

use crate::results::artifact::MAX_TESTS_FILE;

/// The largest report, in bytes. Surefire writes all that a test prints into it.
pub const MAX_REPORT: usize = 32 << 20;

/// How many reports of one atom are read. Maven writes one for each class.
pub const MAX_REPORTS: usize = 2_000;

/// How many bytes of reports of one atom are read.
pub const MAX_REPORT_BYTES: u64 = 128 << 20;

/// How many files and directories of an atom are looked at for reports.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// How deep below `$ARTIFACT_DIR` reports are looked for.
pub(super) const MAX_DIRECTORIES: usize = 16;

/// How many tests of one atom are kept.
pub const MAX_TESTS: usize = 100_000;

/// How many bytes the tests of one atom have in the form in which they are kept.
pub const MAX_FORM: usize = MAX_TESTS_FILE;

/// How many bytes of texts are held while the reports of one atom are read.
pub(super) const MAX_TEXTS: usize = 4 * MAX_FORM;

/// From so many bytes on, tests are kept without their messages.
pub(super) const FORM_WITH_MESSAGES: usize = 6 << 20;

/// How deep elements may stand in each other: suites in suites are a few levels.
pub(super) const MAX_DEPTH: usize = 64;

/// How many attributes of an element are looked at.
pub(super) const MAX_ATTRIBUTES: usize = 64;

/// How many characters of a name, a class or a file are kept.
pub(super) const MAX_NAME: usize = 1_000;

/// How many bytes of a message are kept, half of them from its beginning and half from its end.
pub(super) const MAX_MESSAGE: usize = 16 << 10;
