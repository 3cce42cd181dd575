//! How a command tells its user that it could not do its work.

use crate::output::again::{command, daemon};
use crate::output::events::Event;
use crate::output::{self, BAD, NOTICE, styled};
use clusterrunner_client::ClientError;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results::ResultsError;
use clusterrunner_common::api::{ErrorCode, ORIGINALS_UNKNOWN_BUILD, ORIGINALS_UNKNOWN_SLAVE};
use clusterrunner_common::caller::CallError;
use clusterrunner_common::text::printable::plain_lines;

/// What is wrong, what helps, and how the process ends.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) code: ExitCode,
}

impl Trouble {
    /// Something outside the user's command line is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: ExitCode::Trouble,
        }
    }

    /// The command line, or what it names, is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: ExitCode::Usage,
            ..Self::new(message)
        }
    }

    /// The same with a hint.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Prints it for a human.
    pub(crate) fn show(&self) {
        output::emit(&Event::Error {
            message: &self.message,
            hint: self.hint.as_deref(),
        });
        output::complain(format!(
            "{} {}",
            styled(BAD, "error:"),
            plain_lines(&self.message)
        ));
        if let Some(hint) = &self.hint {
            output::complain(format!("{} {}", styled(NOTICE, "hint:"), plain_lines(hint)));
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        if let Some(known) = unknown(&error).or_else(|| no_archive(&error)) {
            return known;
        }
        let trouble = match &error {
            ClientError::Call(CallError::Tls(_)) => Self::usage(error.to_string()),
            _ => Self::new(error.to_string()),
        };
        match &error {
            ClientError::Call(call) => match hint_for(call) {
                Some(hint) => trouble.hint(hint),
                None => trouble,
            },
            ClientError::OriginalMaster { .. } => trouble.hint(
                "accept_legacy_peers = True in clusterrunner-rust.conf, beside clusterrunner.conf, lets this command \
                 send it; anybody who sees such a request can replay it. See docs/migration.md",
            ),
            ClientError::ArchiveNotReady { build } => trouble.hint(format!(
                "only a finished build has results; see `{}`",
                command(format_args!("status {build}"))
            )),
            ClientError::Download { .. } | ClientError::Store { .. } => trouble,
        }
    }
}

/// A call about templates or instances failed. What the master refuses because of the command line it says in words that
/// stand alone.
pub(crate) fn of_launching(error: ClientError) -> Trouble {
    match &error {
        // A master that knows no such call is an older one, or none.
        ClientError::Call(CallError::Refused {
            code: Some(ErrorCode::NoRoute),
            ..
        }) => error.into(),
        _ => of_accounts(error),
    }
}

/// A call about users or tokens failed. What the master refuses because of the command line it says in words that stand
/// alone.
pub(crate) fn of_accounts(error: ClientError) -> Trouble {
    let ClientError::Call(CallError::Refused {
        status,
        error: said,
        code,
        ..
    }) = &error
    else {
        return error.into();
    };
    match status.as_u16() {
        400 | 404 | 409 => match code.and_then(where_known) {
            Some(hint) => Trouble::usage(said.clone()).hint(hint),
            None => Trouble::usage(said.clone()),
        },
        403 | 429 => Trouble::new(said.clone()),
        _ => error.into(),
    }
}

/// Which command lists what there is, where the master does not know what the user named.
fn where_known(code: ErrorCode) -> Option<String> {
    match code {
        ErrorCode::UnknownTemplate => {
            Some(format!("`{}` lists the templates", command("templates")))
        }
        ErrorCode::UnknownInstance => {
            let list = command("instances --all");
            Some(format!("`{list}` lists the instances"))
        }
        ErrorCode::UnknownUser => {
            let (list, create) = (command("user list"), command("user create NAME"));
            Some(format!(
                "`{list}` lists the users, and `{create}` makes one"
            ))
        }
        ErrorCode::NoRoute
        | ErrorCode::UnknownBuild
        | ErrorCode::UnknownSlave
        | ErrorCode::NoArchive
        | ErrorCode::NoProof
        | ErrorCode::InvalidToken
        | ErrorCode::UnknownSlaveKey
        | ErrorCode::RevokedSlaveKey
        | ErrorCode::InvalidJoinToken
        | ErrorCode::AddressOfOtherKey
        | ErrorCode::OtherMaster
        | ErrorCode::Other => None,
    }
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        ClientError::from(error).into()
    }
}

impl From<ResultsError> for Trouble {
    fn from(error: ResultsError) -> Self {
        match error {
            ResultsError::Fetch(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

/// The user named a build or a slave that the master does not know.
fn unknown(error: &ClientError) -> Option<Trouble> {
    let ClientError::Call(CallError::Refused {
        url, error, code, ..
    }) = error
    else {
        return None;
    };
    // What is shown is the id, and what the master says behind it.
    let named = |before: &str, after: &str| {
        let named = error.strip_prefix(before).unwrap_or(error);
        named.strip_suffix(after).unwrap_or(named).to_owned()
    };
    let (what, named, list) = match code {
        Some(ErrorCode::UnknownBuild) => {
            let named = named(ORIGINALS_UNKNOWN_BUILD, ".");
            ("build", named, command("status"))
        }
        Some(ErrorCode::UnknownSlave) => {
            let named = named(ORIGINALS_UNKNOWN_SLAVE, ") does not exist.");
            ("slave", named, command("slaves"))
        }
        _ => return None,
    };
    let trouble = Trouble::usage(format!("the master {url} has no {what} {named}"));
    Some(trouble.hint(format!("`{list}` lists the {what}s that it knows")))
}

/// A build whose results are asked for never had an archive, or has none any more: the master says why.
fn no_archive(error: &ClientError) -> Option<Trouble> {
    match error {
        ClientError::Call(CallError::Refused {
            error: said,
            code: Some(ErrorCode::NoArchive),
            ..
        }) => Some(Trouble::new(said.trim_end_matches('.'))),
        _ => None,
    }
}

fn hint_for(error: &CallError) -> Option<String> {
    let hint = match error {
        CallError::Unreachable { .. } => {
            return Some(format!(
                "is the master running there? Start one with `{}`, or name another with --master-url HOST:PORT",
                daemon("master")
            ));
        }
        // It was sent what it asks for, so only the secret can be another one.
        error if error.is_from_original() => {
            Some("master and client must have the same `secret` in their clusterrunner.conf")
        }
        CallError::Refused {
            code: Some(ErrorCode::InvalidToken),
            ..
        } => {
            return Some(format!(
                "`{}` makes a token; one is given with --token or in CLUSTERRUNNER_TOKEN",
                command("token create")
            ));
        }
        // Said without a token, and by some calls where the token is nobody's.
        CallError::Refused {
            code: Some(ErrorCode::NoProof),
            ..
        } => {
            return Some(format!(
                "`{}` makes a token; one that is valid is given with --token or in CLUSTERRUNNER_TOKEN, the `secret` in \
                 clusterrunner.conf",
                command("token create")
            ));
        }
        CallError::Refused { status, .. } if status.as_u16() == 401 => Some(
            "master and client must have the same `secret` in their clusterrunner.conf, and clocks that agree",
        ),
        CallError::Address { .. } => {
            Some("write the master's address as HOST:PORT, such as farm.example.org:43000")
        }
        // What this master explains, it knows.
        CallError::Refused {
            status,
            code,
            is_explained,
            ..
        } if status.as_u16() == 404 && (!is_explained || *code == Some(ErrorCode::NoRoute)) => {
            Some("is this really the address of a ClusterRunner master?")
        }
        CallError::Malformed { .. } | CallError::NoSession { .. } => {
            Some("is this really the address of a ClusterRunner master?")
        }
        CallError::Insecure { .. }
        | CallError::NotCarried { .. }
        | CallError::Tls(_)
        | CallError::Client(_)
        | CallError::Body(_)
        | CallError::Refused { .. }
        | CallError::NoSecret => None,
    };
    hint.map(str::to_owned)
}
