//! Options of the commands that are about users and their tokens.

use super::MasterAddress;
use clap::{Args, Subcommand, ValueEnum};
use clusterrunner_common::api::accounts::TokenRole;
use clusterrunner_common::ids::TokenId;
use std::time::Duration;

/// What users are, for those who make the first one.
pub(super) const USER_HELP: &str = "\
A user has a name, a password and tokens, and owns projects and their builds. On the machine of the
master, or wherever the settings have the farm's secret, these commands work as they are; elsewhere
--token (or CLUSTERRUNNER_TOKEN) says who asks: a superuser, or a user about itself.

Examples:
  clusterrunner user create ann                        asks for the password, twice
  clusterrunner user create bob --superuser --email bob@example.org
  clusterrunner user create ci --password-stdin < password
  clusterrunner user list
  clusterrunner user passwd ann
  clusterrunner user change ann --no-superuser --deactivate
  clusterrunner user delete ann                        with its tokens, projects and builds";

/// What tokens are.
pub(super) const TOKEN_HELP: &str = "\
A token stands for its user in requests, as far as its role lets it:
  read      see what the user sees
  submit    also start builds and cancel them
  admin     all that the user may do
  slave     of no user: slaves join with it, and it opens nothing else
It is shown once, when it is created; the master keeps only a digest of it.

Examples:
  clusterrunner token create --user ann --name laptop --role submit --expires 30d
  clusterrunner token list
  clusterrunner token revoke 7
  clusterrunner token renew --user ann                 another API token, which log-ins show

With the token, elsewhere:
  export CLUSTERRUNNER_TOKEN=...
  clusterrunner build --master-url farm:43000 git --url https://example.org/a.git
  curl -H \"Authorization: Bearer $CLUSTERRUNNER_TOKEN\" http://farm:43000/v1/build";

/// Options of `clusterrunner user`.
#[derive(Args, Debug)]
pub(crate) struct UserOptions {
    #[command(subcommand)]
    pub(crate) task: UserTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do about users.
#[derive(Subcommand, Debug)]
pub(crate) enum UserTask {
    /// Create a user
    Create(CreateUserOptions),
    /// List the users
    List {
        /// Print the master's JSON answer
        #[arg(long)]
        json: bool,
    },
    /// Change what is known of a user, its rights, or whether it can log in
    Change(ChangeUserOptions),
    /// Give a user another password
    Passwd {
        /// The user
        name: String,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Delete a user with its tokens, bookmarks, projects and their builds
    Delete {
        /// The user
        name: String,
    },
}

/// How a command gets a password.
#[derive(Args, Debug)]
pub(crate) struct PasswordOptions {
    /// Read the password from standard input, up to the end of the first line, instead of asking for it; with --token,
    /// users who change their own password have the present one in the line before
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// Options of `clusterrunner user create`.
#[derive(Args, Debug)]
pub(crate) struct CreateUserOptions {
    /// The name: letters, digits, -, _, ., + and @
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// The user may do everything with everybody's projects, and manages users
    #[arg(long)]
    pub(crate) superuser: bool,
    /// The user's e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// The user's first name
    #[arg(long, value_name = "NAME")]
    pub(crate) first_name: Option<String>,
    /// The user's last name
    #[arg(long, value_name = "NAME")]
    pub(crate) last_name: Option<String>,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `clusterrunner user change`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("changed").required(true).multiple(true).args([
    "email", "first_name", "last_name", "superuser", "no_superuser", "activate", "deactivate",
])))]
pub(crate) struct ChangeUserOptions {
    /// The user
    pub(crate) name: String,
    /// Another e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// Another first name
    #[arg(long, value_name = "NAME")]
    pub(crate) first_name: Option<String>,
    /// Another last name
    #[arg(long, value_name = "NAME")]
    pub(crate) last_name: Option<String>,
    /// Let the user do everything
    #[arg(long)]
    pub(crate) superuser: bool,
    /// Let the user do only what other users may
    #[arg(long, conflicts_with = "superuser")]
    pub(crate) no_superuser: bool,
    /// Let the user log in again
    #[arg(long)]
    pub(crate) activate: bool,
    /// Let the user not log in, and its tokens open nothing
    #[arg(long, conflicts_with = "activate")]
    pub(crate) deactivate: bool,
}

/// Options of `clusterrunner token`.
#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    #[command(subcommand)]
    pub(crate) task: TokenTask,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What to do about tokens.
#[derive(Subcommand, Debug)]
pub(crate) enum TokenTask {
    /// Create a token and print it
    Create(CreateTokenOptions),
    /// List the named tokens, without the tokens themselves
    List {
        /// Only those of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Print the master's JSON answer
        #[arg(long)]
        json: bool,
    },
    /// End tokens
    Revoke {
        /// A token by its number in `clusterrunner token list`
        #[arg(required = true, value_name = "ID", value_parser = super::number::<TokenId>)]
        tokens: Vec<TokenId>,
    },
    /// Give a user another API token, the one that log-ins show; the one before ends
    Renew {
        /// The user
        #[arg(long, value_name = "NAME")]
        user: String,
    },
}

/// Options of `clusterrunner token create`.
#[derive(Args, Debug)]
pub(crate) struct CreateTokenOptions {
    /// The user that the token stands for [default: the user of --token]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// What the token is for, such as the machine that has it; of a token for slaves it may be left out
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What the token lets its user do
    #[arg(long, value_enum, default_value_t = GivenRole::Submit)]
    pub(crate) role: GivenRole,
    /// When the token ends: a number with s, m, h, d or w, such as 12h or 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) expires: Option<Duration>,
    /// Of a token for slaves: where those that join with it must be, HOST or HOST:PORT, with * for any characters
    /// [default: anywhere]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) address: Option<String>,
    /// Of a token for slaves: how many may join with it [default: 1000]
    #[arg(long, value_name = "N")]
    pub(crate) uses: Option<u32>,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
}

/// A role on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GivenRole {
    /// See what the user sees
    Read,
    /// Start builds, too, and cancel them
    Submit,
    /// All that the user may do
    Admin,
    /// Of no user: slaves join with it (`clusterrunner slave --join-token-file`), and it opens nothing else
    Slave,
}

impl GivenRole {
    /// The role of a user's token; none where it is of no user.
    pub(crate) fn of_user(self) -> Option<TokenRole> {
        match self {
            Self::Read => Some(TokenRole::Read),
            Self::Submit => Some(TokenRole::Submit),
            Self::Admin => Some(TokenRole::Admin),
            Self::Slave => None,
        }
    }
}

/// A time such as `30d`.
pub(super) fn time(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str =
        "expected a whole number of 1 or more with s, m, h, d or w, such as 12h or 30d";
    let unit = text.chars().last().ok_or(EXPECTED)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(EXPECTED),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| EXPECTED)?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "d",
            "30",
            "0d",
            "-1d",
            "1.5h",
            "30 d",
            "3ü",
            "99999999999999999999d",
            "9999999999999999999w",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
