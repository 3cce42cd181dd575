//! Options of `clusterrunner tests`.

use super::{BuildChoice, MasterAddress};
use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Tests come from the JUnit reports that atoms leave in $ARTIFACT_DIR: junit*.xml and TEST-*.xml, or what
`junit:` of the job names. An atom that leaves none counts as one test. While the build
runs, the tests of the atoms that have ended are there.

Examples:
  clusterrunner tests 7                      failed, flaky and skipped tests, and the slowest
  clusterrunner tests 7 --failed             only those that failed, with all of their messages
  clusterrunner tests 7 --all --match parser every test with 'parser' in its name, class, file or atom
  clusterrunner tests 7 --junit junit.xml    one JUnit report of all tests, as CI systems read it";

/// Options of `clusterrunner tests`.
#[derive(Args, Debug)]
pub(crate) struct TestsOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// Only the tests that failed, with all of their messages
    #[arg(long, conflicts_with = "all")]
    pub(crate) failed: bool,
    /// All tests, also those that passed
    #[arg(long)]
    pub(crate) all: bool,
    /// Only tests that have this text in their name, class, file or atom
    #[arg(long = "match", value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Print the master's JSON answer, with all tests that are asked for
    #[arg(long)]
    pub(crate) json: bool,
    /// Write all tests into this file as one JUnit report, and print nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["failed", "all", "text", "json"])]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
