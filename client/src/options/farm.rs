//! Options of the commands that change a whole farm or list its slaves.

use super::MasterAddress;
use clap::{Args, Subcommand};
use clusterrunner_common::ids::SlaveId;
use std::path::PathBuf;

/// What `deploy` does, for those who use it for the first time.
pub(super) const DEPLOY_HELP: &str = "\
Copies this program and your settings file (mode 0600) into the remote directory of each machine,
stops the daemons there, starts the master and then the slaves, and waits until all have registered.
An earlier deployment is replaced; the new farm goes on with its builds.

Only the master's machine gets the farm's secret. Machines of slaves get the sections [general] and
[slave] without it, and a join token each, which is good for one slave at that address and ends soon;
a secret that an earlier deployment brought there is gone then. With --secret-to-slaves they get all.

Machines are written [USER@]HOST[:SSH-PORT] and must accept your login without a prompt: by key, and
listed in your known_hosts. Slaves and master find each other by these names. `localhost` is this
machine, without ssh. Where `https_ca_file` of your settings is the ca.pem of `clusterrunner tls init`,
each machine gets a certificate of its own, and the farm speaks HTTPS. To stop the farm, run this on each machine, in the remote directory:
  CLUSTERRUNNER_BASE_DIRECTORY=$(pwd -P) bin/clusterrunner stop

Examples:
  clusterrunner deploy --master farm-1 --slaves farm-1 farm-2 farm-3 --num-executors 8
  clusterrunner deploy -m ci@farm-1:2222 -s ci@farm-2 -o IdentityFile=~/.ssh/farm
  clusterrunner deploy            the machines of `master_hostname` and `slaves` in the settings, if they
                                  name others than this one";

/// What `drain` means.
pub(super) const DRAIN_HELP: &str = "\
A drained slave finishes its running atoms, tears its builds down, takes no new work and stays
connected, also across restarts of the master and of the slave at the same address, until
`clusterrunner undrain`. Drain a slave before you work on its machine. `clusterrunner slaves` shows
which slaves are drained.

Examples:
  clusterrunner drain 3 4                 by the numbers in `clusterrunner slaves`
  clusterrunner drain farm-3:43001        by the address
  clusterrunner drain --wait farm-3       all slaves of a host; returns when they are idle";

/// Options of `clusterrunner drain`.
#[derive(Args, Debug)]
pub(crate) struct DrainOptions {
    /// A slave's number, its HOST:PORT, or the host of several
    #[arg(required = true, value_name = "SLAVE")]
    pub(crate) slaves: Vec<String>,
    /// Wait until the slaves are idle
    #[arg(short, long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner undrain`.
#[derive(Args, Debug)]
pub(crate) struct UndrainOptions {
    /// A slave's number, its HOST:PORT, or the host of several
    #[arg(required = true, value_name = "SLAVE")]
    pub(crate) slaves: Vec<String>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner shutdown`.
#[derive(Args, Debug)]
pub(crate) struct ShutdownOptions {
    /// All slaves of the master
    #[arg(short, long)]
    pub(crate) all_slaves: bool,
    /// A slave by its number in `clusterrunner slaves`; may be repeated
    #[arg(short, long = "slave-id", value_name = "ID", num_args = 1.., value_parser = super::number::<SlaveId>, action = clap::ArgAction::Append)]
    pub(crate) slave_ids: Vec<SlaveId>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner deploy`.
#[derive(Args, Debug)]
pub(crate) struct DeployOptions {
    /// The machine of the master [default: `master_hostname` of the settings]
    #[arg(short, long, value_name = "HOST")]
    pub(crate) master: Option<String>,
    /// The master's port [default: `port` of the settings, 43000]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) master_port: Option<u16>,
    /// The machines of the slaves [default: `slaves` of the settings]
    #[arg(short, long, value_name = "HOST", num_args = 1..)]
    pub(crate) slaves: Option<Vec<String>>,
    /// The slaves' port [default: `port` of the settings, 43001]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) slave_port: Option<u16>,
    /// How many atoms each slave runs at the same time [default: as the settings say]
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) num_executors: Option<u32>,
    /// Directory for all files on each machine; relative to the home directory unless absolute
    #[arg(long, value_name = "DIR", default_value = ".clusterrunner")]
    pub(crate) remote_directory: String,
    /// Give slaves the farm's secret instead of a join token each, so that they share what set-ups make
    #[arg(long)]
    pub(crate) secret_to_slaves: bool,
    /// An option for ssh, as in ssh_config; may be repeated
    #[arg(short = 'o', long = "ssh-option", value_name = "KEY=VALUE")]
    pub(crate) ssh_options: Vec<String>,
    /// How long the master may take to answer, and then the slaves to register
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) deadline: u64,
}

pub(crate) const JOURNAL_HELP: &str = "\
The journal is the master's state, in `master/journal` of the base directory. The master must be
stopped. The command reads a copy, which temporarily needs as much space as the journal.

Examples:
  clusterrunner journal verify                     lists damage; exit code 1 if there is any
  clusterrunner journal export -o backup.jsonl     all of it as JSON lines
  clusterrunner journal repair                     what a repair would lose; changes nothing
  clusterrunner journal repair --yes               repairs, and saves the damaged journal beside it
  clusterrunner journal repair --from backup.jsonl --yes
                                                   goes back to an export";

/// Options of `clusterrunner journal`.
#[derive(Args, Debug)]
pub(crate) struct JournalOptions {
    #[command(subcommand)]
    pub(crate) task: JournalTask,
}

/// What to do with a journal.
#[derive(Subcommand, Debug)]
pub(crate) enum JournalTask {
    /// List the contents of the journal and any damage
    Verify,
    /// Write everything in the journal as JSON lines
    Export {
        /// Into this file instead of the standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make a journal from the undamaged parts, or from an export; the old one is saved
    Repair {
        /// From this export, whatever the journal holds
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Repair; without this, only list what would be lost
        #[arg(long)]
        yes: bool,
    },
}

/// What to do about the keys of slaves.
#[derive(Subcommand, Debug)]
pub(crate) enum SlavesTask {
    /// List the keys with which slaves have joined
    Keys {
        /// Print the master's JSON answer
        #[arg(long)]
        json: bool,
    },
    /// Let the keys of slaves open nothing any more: what the slaves run goes back to the queue, and they end
    Revoke {
        /// A slave by its number, HOST:PORT or host, or by the beginning of its key
        #[arg(required = true, value_name = "SLAVE")]
        slaves: Vec<String>,
        /// Take that back
        #[arg(long)]
        undo: bool,
    },
    /// Drop the keys of slaves that are gone, so that others can join at their addresses
    Forget {
        /// A slave by its HOST:PORT or host, or by the beginning of its key
        #[arg(required = true, value_name = "SLAVE")]
        slaves: Vec<String>,
    },
}

/// Options of `clusterrunner slaves`.
#[derive(Args, Debug)]
pub(crate) struct SlavesOptions {
    #[command(subcommand)]
    pub(crate) task: Option<SlavesTask>,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
