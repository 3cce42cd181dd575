//! Options of `clusterrunner secret`.

use super::MasterAddress;
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const HELP: &str = "\
A job names the secrets that it needs (`secrets: [API_TOKEN]` in clusterrunner.yaml), and its
commands find each in a variable of that name, or in a file whose path the variable has. The master
keeps values sealed under a key of the farm's secret and shows them to nobody; what commands print
of them becomes ***. Builds of forks get none unless --allow-forks says so.
docs/secrets.md tells the rest.

PROJECT is NAME or OWNER/NAME as on the page, a number, or the URL of the repository.

Examples:
  clusterrunner secret set my-project API_TOKEN               asks for the value
  clusterrunner secret set my-project API_TOKEN < token       takes it from standard input
  clusterrunner secret set my-project DEPLOY_KEY --file --from-file ~/.ssh/deploy
  clusterrunner secret list my-project                        names, when they were set and by whom
  clusterrunner secret remove my-project API_TOKEN";

/// Options of `clusterrunner secret`.
#[derive(Args, Debug)]
pub(crate) struct SecretOptions {
    #[command(subcommand)]
    pub(crate) task: SecretTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do about secrets.
#[derive(Subcommand, Debug)]
pub(crate) enum SecretTask {
    /// Give a secret a value; builds get it from now on
    Set(SetSecretOptions),
    /// List secrets: never their values
    List {
        /// Only those of this project
        project: Option<String>,
        /// Print the master's JSON answer
        #[arg(long)]
        json: bool,
    },
    /// Let builds of the repository that a project has now have secrets that were set for another one
    Confirm {
        /// The project
        project: String,
        /// The names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Seal all values anew after the farm's secret was changed; the former one is read from standard input
    Rekey {
        /// Take the farm's former secret from a file
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Remove secrets
    Remove {
        /// The project
        project: String,
        /// The names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Options of `clusterrunner secret set`.
#[derive(Args, Debug)]
pub(crate) struct SetSecretOptions {
    /// The project
    pub(crate) project: String,
    /// The name, which is that of the variable
    pub(crate) name: String,
    /// Take the value from a file, as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
    /// Builds get a file with the value, and its path in the variable
    #[arg(long)]
    pub(crate) file: bool,
    /// Builds of forks get it, too, and those with code that somebody brings along
    #[arg(long)]
    pub(crate) allow_forks: bool,
}
