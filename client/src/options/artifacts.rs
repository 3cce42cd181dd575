//! Options of `clusterrunner artifacts`.

use super::{BuildChoice, MasterAddress};
use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
In a pattern * stands for any characters of a name, ? for one of them, and ** between slashes for any
directories. A pattern without a slash is about the names of files; another one is about their paths in
$ARTIFACT_DIR, also with the directory of the atom before them; one that begins with artifact_ is always about
these directories. Quote it, or the shell looks for files here.

Only files are listed, and while the build runs those of the atoms that have ended. `clusterrunner results`
fetches all that a finished build left, with links and outputs. Of a matrix the files of all its builds are
listed, each build's in a folder.

Examples:
  clusterrunner artifacts 7                        list all files
  clusterrunner artifacts 7 '*.png'                those with such names
  clusterrunner artifacts 7 'artifact_3_0/**'      those of one atom
  clusterrunner artifacts 7 '*.xml' -o reports     fetch them as reports/artifact_3_0/junit.xml and so on";

/// Options of `clusterrunner artifacts`.
#[derive(Args, Debug)]
pub(crate) struct ArtifactsOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// Which files, such as '*.xml' [default: all]
    pub(crate) pattern: Option<String>,
    /// Fetch the files into this directory, each into the directory of its atom there
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that are there [default: fetch nothing where one is]
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Print the list as JSON
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
