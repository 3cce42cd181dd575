//! Options of the commands that are about apps.

use super::MasterAddress;
use clap::{Args, Subcommand};

/// What one can do with an app.
pub(super) const APP_HELP: &str = "\
An app runs processes of a template or an image on the slaves, is reached at its own host name, and
changes by releases: each deploy, each change of its configuration and each rollback makes one. New
processes are up before the old ones end.

Without a token these commands ask with the farm's secret, and what they create belongs to the user
`clusterrunner`; with --token (or CLUSTERRUNNER_TOKEN) to the token's user.

Examples:
  clusterrunner app create shop
  clusterrunner app deploy shop my-template            a template of this farm, or an image
  clusterrunner app scale shop web=3 worker=1
  clusterrunner app config shop DEBUG=1 COLOUR=blue    set two variables
  clusterrunner app config shop --unset DEBUG --memory web=512M
  clusterrunner app info shop
  clusterrunner app run shop -- ./manage.py migrate
  clusterrunner app logs shop -f
  clusterrunner app rollback shop                      to the release before the newest
  clusterrunner app domains shop --add shop.example.org
  clusterrunner app destroy shop";

/// Options of `clusterrunner apps`.
#[derive(Args, Debug)]
pub(crate) struct AppsOptions {
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner app`.
#[derive(Args, Debug)]
pub(crate) struct AppOptions {
    #[command(subcommand)]
    pub(crate) task: AppTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do with an app.
#[derive(Subcommand, Debug)]
pub(crate) enum AppTask {
    /// Create an app, and print its id
    Create {
        /// Its id: a to z, 0 to 9 and hyphens [default: two words that the master chooses]
        #[arg(value_name = "APP", value_parser = app_id)]
        id: Option<String>,
    },
    /// Show an app: its processes, its newest release, its domains
    Info {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a release that runs a template of this farm or a container image
    Deploy {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// A template, with :TAG for a commit or the number of a build; or another app's release as
        /// APP:vN; or the reference of an image
        image: String,
    },
    /// Set how many processes of each type run, and wait until they do
    Scale {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// A process type and its number; the other types stay as they are
        #[arg(required = true, value_name = "TYPE=NUMBER", value_parser = number_of_type)]
        numbers: Vec<(String, u32)>,
    },
    /// Show the configuration of an app, or change it
    Config(Box<ConfigOptions>),
    /// List the releases of an app, the newest first
    Releases {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a release that is like an earlier one
    Rollback {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// The earlier release, such as v3 [default: the one before the newest]
        #[arg(value_parser = version)]
        release: Option<u64>,
    },
    /// Run a command in the newest release of an app; ends with the command's exit code
    Run {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// The command. One word is a text for a shell; several are taken as they are
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Show the log of an app
    Logs {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        #[command(flatten)]
        shown: AppLogOptions,
    },
    /// List the domains of an app, or add and remove some
    Domains {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// Lead a domain to the app; may be repeated
        #[arg(long, value_name = "DOMAIN", value_parser = domain)]
        add: Vec<String>,
        /// Lead a domain to the app no more; may be repeated
        #[arg(long, value_name = "DOMAIN", value_parser = domain)]
        remove: Vec<String>,
        /// Print them as JSON
        #[arg(long, conflicts_with_all = ["add", "remove"])]
        json: bool,
    },
    /// Delete an app with its processes, releases, configuration, domains and log
    Destroy {
        /// The app
        #[arg(value_parser = app_id)]
        app: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Options of `clusterrunner app config`.
#[derive(Args, Debug)]
pub(crate) struct ConfigOptions {
    /// The app
    #[arg(value_parser = app_id)]
    pub(crate) app: String,
    /// A variable to set
    #[arg(value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) set: Vec<(String, String)>,
    /// A variable to remove; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    /// The most memory of each process of a type, such as web=512M; web= for no limit; may be repeated
    #[arg(long, value_name = "TYPE=LIMIT", value_parser = pair)]
    pub(crate) memory: Vec<(String, String)>,
    /// The share of busy processors of each process of a type, up to 1024; web= for the usual one; may be repeated
    #[arg(long, value_name = "TYPE=SHARE", value_parser = pair)]
    pub(crate) cpu: Vec<(String, String)>,
    /// Run the processes only on slaves with this label; rack= for any; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// Print the configuration as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How much of a log is shown.
#[derive(Args, Debug)]
pub(crate) struct AppLogOptions {
    /// Show the last N lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on with the lines that come
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// The id of an app. It becomes a part of a path, so nothing else may stand in it.
pub(super) fn app_id(text: &str) -> Result<String, &'static str> {
    let is_in_id = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    match !text.is_empty() && text.bytes().all(is_in_id) {
        true => Ok(text.to_owned()),
        false => Err("the id of an app has only a to z, 0 to 9 and hyphens"),
    }
}

/// A domain. It becomes a part of a path, too; what else is right the master says.
fn domain(text: &str) -> Result<String, &'static str> {
    let is_in_domain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'*' | b'_');
    match text.contains('.') && !text.contains("..") && text.bytes().all(is_in_domain) {
        true => Ok(text.to_owned()),
        false => Err("expected a domain, such as shop.example.org"),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE"),
    }
}

/// A variable to set. The API takes more names; no shell can use one with a blank.
fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = pair(text)?;
    match name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("the name of a variable has no blanks and no control characters"),
        false => Ok((name, value)),
    }
}

fn number_of_type(text: &str) -> Result<(String, u32), &'static str> {
    const RIGHT: &str = "expected a process type and a number, such as web=3";
    let (process, number) = pair(text).map_err(|_| RIGHT)?;
    Ok((process, number.parse().map_err(|_| RIGHT)?))
}

/// The version of a release: `v3` or `3`.
fn version(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_prefix('v').unwrap_or(text);
    number
        .parse()
        .map_err(|_| "expected a release, such as v3; `clusterrunner app releases APP` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_a_path_is_checked() {
        for (text, is_right) in [
            ("a-shop-2", true),
            ("", false),
            ("..", false),
            ("Shop", false),
            ("a/b", false),
        ] {
            assert_eq!(app_id(text).is_ok(), is_right, "{text}");
        }
        for (text, is_right) in [
            ("shop.example.org", true),
            ("*.example.org", true),
            ("shop", false),
            ("..", false),
            ("a.b/c", false),
        ] {
            assert_eq!(domain(text).is_ok(), is_right, "{text}");
        }
    }

    #[test]
    fn numbers_and_versions_are_read() {
        assert_eq!(number_of_type("web=3"), Ok(("web".to_owned(), 3)));
        for wrong in ["web", "=3", "web=-1", "web=x"] {
            assert!(number_of_type(wrong).is_err(), "{wrong}");
        }
        assert_eq!((version("v3"), version("3")), (Ok(3), Ok(3)));
        assert!(version("vv3").is_err());
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A=b c"), Ok(("A".to_owned(), "b c".to_owned())));
        for wrong in ["A B=1", " A=1", "A\n=1", "=1", "A"] {
            assert!(variable(wrong).is_err(), "{wrong:?}");
        }
    }
}
