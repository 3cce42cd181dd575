//! Options of `clusterrunner audit`.

use super::MasterAddress;
use clap::Args;

pub(super) const HELP: &str = "\
The master notes who asked for what changes something, when and from which address: builds, users,
tokens, apps, releases, slaves that join or are drained. Each entry hangs on those before it by a
hash, so --verify finds entries that were changed or removed later. Note the hash that it prints
elsewhere: `--verify --expect HASH` then also finds that the newest ones are gone.

Examples:
  clusterrunner audit                       the newest 50 entries
  clusterrunner audit --by anna -n 1000     what one user has asked for
  clusterrunner audit --by 'the secret'     what holders of the farm's secret have asked for
  clusterrunner audit --verify              whether the log is whole: exit code 1 if it is not";

/// Options of `clusterrunner audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditOptions {
    /// Only what this user has asked for, or `the secret`, `the Binder key`, `a slave's own key`, `nobody`, or another name
    /// that the list shows
    #[arg(long, value_name = "NAME", conflicts_with = "verify")]
    pub(crate) by: Option<String>,
    /// List at most so many entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "verify")]
    pub(crate) limit: u64,
    /// Check that each entry follows from the one before
    #[arg(long)]
    pub(crate) verify: bool,
    /// A hash that an earlier --verify has printed: it must still be in the log
    #[arg(long, value_name = "HASH", requires = "verify", value_parser = hash)]
    pub(crate) expect: Option<String>,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

fn hash(text: &str) -> Result<String, &'static str> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("a hash has 64 hex digits"),
    }
}
