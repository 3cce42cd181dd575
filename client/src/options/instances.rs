//! Options of the commands that are about templates and instances.

use super::accounts::time;
use super::{MasterAddress, number};
use clap::{Args, Subcommand};
use clusterrunner_common::ids::InstanceId;
use std::time::Duration;

/// What launching is.
pub(super) const LAUNCH_HELP: &str = "\
A repository is first built into a template: its Dockerfile, requirements.txt or environment.yml says what it
needs. A template that was built of the same commit is used again. An instance is one process of the
template on one slave, in a copy of the repository. Its URL is printed when its port answers.

What it runs: the command after --, or the `web` of the Procfile, or the Dockerfile's command, or a Jupyter
notebook, or else a browser of its files.

Without --master-url the master is found or started as `clusterrunner build` does.

Examples:
  clusterrunner launch https://github.com/binder-examples/requirements
  clusterrunner launch https://github.com/binder-examples/requirements --branch main
  clusterrunner launch .                           the repository in this directory, as it was committed
  clusterrunner launch binder-examples-requirements
                                                   another instance of a template
  clusterrunner launch NAME -- python3 -m http.server --bind 0.0.0.0 '$PORT'";

/// What one can do with instances.
pub(super) const INSTANCE_HELP: &str = "\
Examples:
  clusterrunner instance logs 7 -f      follow what instance 7 prints
  clusterrunner instance stop 7 8       stop two instances";

/// Options of `clusterrunner launch`.
#[derive(Args, Debug)]
pub(crate) struct LaunchOptions {
    /// The URL of a repository, the path of one, or the name of a template
    #[arg(value_name = "REPOSITORY|TEMPLATE")]
    pub(crate) what: String,
    /// Branch, tag or full ref of the repository [default: the repository's own]
    #[arg(long)]
    pub(crate) branch: Option<String>,
    /// Commit of the repository, full or abbreviated
    #[arg(long, value_name = "COMMIT")]
    pub(crate) commit: Option<String>,
    /// Build the template again, even if nothing has changed; a build of it that is under way is canceled
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// A variable for the instance, with this value or the one it has here; may be repeated
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// The most memory that the instance may have, such as 512M or 2G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// Stop the instance when nobody has used it for this long, such as 30m or 8h; 0 for never [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = idle)]
    pub(crate) idle: Option<Duration>,
    /// Do not wait until the instance answers: print its number and end
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print the master's JSON answer in place of the URL
    #[arg(long)]
    pub(crate) json: bool,
    /// The command to run in place of the template's own
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner templates`.
#[derive(Args, Debug)]
pub(crate) struct TemplatesOptions {
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner template`.
#[derive(Args, Debug)]
pub(crate) struct TemplateOptions {
    #[command(subcommand)]
    pub(crate) task: TemplateTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do with templates.
#[derive(Subcommand, Debug)]
pub(crate) enum TemplateTask {
    /// Delete templates by their names, with all that were built under these names
    #[command(
        after_help = "A template that an instance, an app or a build uses stays, and so does one that another name points at."
    )]
    Delete {
        /// The names
        #[arg(required = true, value_name = "TEMPLATE")]
        templates: Vec<String>,
    },
}

/// Options of `clusterrunner instances`.
#[derive(Args, Debug)]
pub(crate) struct InstancesOptions {
    /// List those that are over, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner instance`.
#[derive(Args, Debug)]
pub(crate) struct InstanceOptions {
    #[command(subcommand)]
    pub(crate) task: InstanceTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do with instances.
#[derive(Subcommand, Debug)]
pub(crate) enum InstanceTask {
    /// Stop instances; their processes get SIGTERM first
    Stop {
        /// The instances, by their numbers
        #[arg(required = true, value_name = "INSTANCE", value_parser = number::<InstanceId>)]
        instances: Vec<InstanceId>,
    },
    /// Show what an instance printed
    Logs {
        /// The instance, by its number
        #[arg(value_parser = number::<InstanceId>)]
        instance: InstanceId,
        /// Follow the output until the instance is over
        #[arg(short, long)]
        follow: bool,
        /// Print the output unfiltered, for pipes and files; by default escape sequences other than
        /// colours are removed
        #[arg(long)]
        raw: bool,
    },
}

/// An amount of bytes: a number, and K, M, G or T.
fn bytes(text: &str) -> Result<u64, &'static str> {
    const RIGHT: &str = "expected a number of bytes, such as 268435456, 256M or 2G";
    let (number, factor) = match text.char_indices().next_back() {
        Some((end, unit)) if unit.is_ascii_alphabetic() => {
            let shift = match unit.to_ascii_uppercase() {
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                _ => return Err(RIGHT),
            };
            (&text[..end], 1_u64 << shift)
        }
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| RIGHT)?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or(RIGHT)
}

/// A time such as `30m`, or 0 for none.
fn idle(text: &str) -> Result<Duration, &'static str> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => time(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_have_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("4k", Some(4096)),
            ("256M", Some(256 << 20)),
            ("2G", Some(2 << 30)),
            ("0", None),
            ("M", None),
            ("1X", None),
            ("99999999999T", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("0", Some(0)),
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("2d", Some(172_800)),
            ("h", None),
            ("00", None),
        ] {
            assert_eq!(
                idle(text).ok().map(|time| time.as_secs()),
                expected,
                "{text}"
            );
        }
    }
}
