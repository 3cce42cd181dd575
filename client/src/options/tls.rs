//! Options of `clusterrunner tls`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const TLS_HELP: &str = "\
`init` makes an authority of your own and, for each machine, a certificate that the authority signs:
that is all it takes for a farm that speaks HTTPS. It prints the lines of the settings, and what is to
be copied where. `deploy` copies by itself. Keep ca.key where it is: whoever has it can be any machine of
the farm.

Run again it adds certificates for further names, and renews those that end within 30 days, for the
same keys; all others stay as they are. Daemons take a new certificate as soon as its file is there.

Examples:
  clusterrunner tls init                              for this machine
  clusterrunner tls init --name farm-1 --name farm-2.example.org,10.0.0.2
                                                      two machines; the second has a name and an address
  clusterrunner tls init --person alice               somebody who calls; no machine can be her
  clusterrunner tls show                              what there is, and when it ends";

/// Options of `clusterrunner tls`.
#[derive(Args, Debug)]
pub(crate) struct TlsOptions {
    #[command(subcommand)]
    pub(crate) task: TlsTask,
}

/// What to do with certificates.
#[derive(Subcommand, Debug)]
pub(crate) enum TlsTask {
    /// Make an authority, and certificates for machines; or add and renew some
    #[command(after_help = TLS_HELP)]
    Init(TlsInitOptions),
    /// Show whom certificates name and when they end
    #[command(after_help = "\
Those of the settings and those that `tls init` has made. Ends with 1 where one has ended or ends within
30 days.

Example:
  clusterrunner tls show")]
    Show(TlsShowOptions),
}

/// Options of `clusterrunner tls init`.
#[derive(Args, Debug)]
pub(crate) struct TlsInitOptions {
    /// Where the files are kept [default: tls in the base directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// A machine as others call it, and its further names behind commas; may be repeated [default: this machine]
    #[arg(long = "name", value_name = "HOST[,NAME...]", num_args = 1.., action = clap::ArgAction::Append)]
    pub(crate) names: Vec<String>,
    /// Somebody who calls a farm that wants certificates of its callers (https_client_ca_file); may be repeated
    #[arg(long = "person", value_name = "NAME", num_args = 1.., action = clap::ArgAction::Append)]
    pub(crate) persons: Vec<String>,
    /// Renew the certificates of these machines and persons even if they are valid for long
    #[arg(long)]
    pub(crate) renew: bool,
}

/// Options of `clusterrunner tls show`.
#[derive(Args, Debug)]
pub(crate) struct TlsShowOptions {
    /// Where `tls init` keeps its files [default: tls in the base directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
