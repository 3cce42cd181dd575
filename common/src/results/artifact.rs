//! How the files of an atom are called, in a slave's artifact directory and in every archive.
//! The layout is the original's.

use crate::ids::{AtomId, Attempt, SubjobId};

/// Standard output and standard error, in the order in which they were written.
pub const CONSOLE_FILE: &str = "clusterrunner_console_output";
/// The command as it was run, and a newline.
pub(crate) const COMMAND_FILE: &str = "clusterrunner_command";
/// The exit code in decimal, `-N` for an end by signal N, and a newline.
pub(crate) const EXIT_CODE_FILE: &str = "clusterrunner_exit_code";
/// The wall-clock time in seconds with two decimals, and a newline.
pub(crate) const TIME_FILE: &str = "clusterrunner_time";
/// What the reports of tests say that the atom left: lines of JSON, each a test. Only where it left some.
pub const TESTS_FILE: &str = "clusterrunner_tests";
/// How many bytes of that are kept.
pub const MAX_TESTS_FILE: usize = 8 << 20;
/// All tests of a build as one JUnit report, in an archive of a build of which some atoms left such reports.
pub const JUNIT_FILE: &str = "junit.xml";
/// Lists the directories of failed atoms in an archive, if there are any.
pub(crate) const FAILURES_FILE: &str = "failures.txt";

/// The directory of an atom: `artifact_<subjob>_<atom>`.
#[must_use]
pub fn directory_name(subjob: SubjobId, atom: AtomId) -> String {
    format!("artifact_{subjob}_{atom}")
}

/// What is added to the name of the directory of an atom that failed and was run again: `.attempt_<attempt>`. The plain
/// name is that of the last attempt.
#[must_use]
pub fn attempt_suffix(attempt: Attempt) -> String {
    format!(".attempt_{attempt}")
}

/// Reads a name made by [`directory_name`]; `None` for any other text.
#[must_use]
pub fn parse_directory_name(name: &str) -> Option<(SubjobId, AtomId)> {
    let (subjob, atom) = name.strip_prefix("artifact_")?.split_once('_')?;
    let parsed = (subjob.parse().ok()?, atom.parse().ok()?);
    (directory_name(parsed.0, parsed.1) == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_name_says_whose_it_is() {
        let name = directory_name(SubjobId(12), AtomId(0));
        assert_eq!(name, "artifact_12_0");
        assert_eq!(parse_directory_name(&name), Some((SubjobId(12), AtomId(0))));
        for other in [
            "artifact_1",
            "artifact_01_0",
            "artifact_1_+2",
            "x_1_2",
            "artifact_1_2_3",
        ] {
            assert_eq!(parse_directory_name(other), None, "{other}");
        }
    }
}
