//! Options of the commands that show a build while it runs.

use clap::{Args, ValueEnum};

/// How a build that runs is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ShownOptions {
    /// How much of the output of an atom that failed is shown
    #[arg(long, global = true, value_enum, default_value = "tail")]
    pub(crate) failure_output: FailureOutput,
    /// Mark an atom as slow once it has run for this long, and for twice as long as it usually takes
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60")]
    pub(crate) slow_after: u32,
    /// Print lines of JSON, one for each thing that happens, and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Default for ShownOptions {
    fn default() -> Self {
        Self {
            failure_output: FailureOutput::Tail,
            slow_after: 60,
            json: false,
        }
    }
}

/// How much of the output of an atom that failed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailureOutput {
    /// All of it
    Full,
    /// The last 20 lines, of the first 20 atoms that fail
    Tail,
    /// Only that the atom failed
    None,
}
