//! How a command tells its user that it could not do its work.

use crate::output::again::command;
use crate::output::events::Event;
use crate::output::{self, BAD, NOTICE, styled};
use clusterrunner_client::ClientError;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results::ResultsError;
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
        ClientError::Call(CallError::Refused { error: said, .. }) if is_no_route(said) => {
            error.into()
        }
        _ => of_accounts(error),
    }
}

/// Whether a master knows no such call: it is an older one, or none.
fn is_no_route(said: &str) -> bool {
    said.starts_with("There is no such route")
}

/// A call about users or tokens failed. What the master refuses because of the command line it says in words that stand
/// alone.
pub(crate) fn of_accounts(error: ClientError) -> Trouble {
    let ClientError::Call(CallError::Refused {
        status,
        error: said,
        ..
    }) = &error
    else {
        return error.into();
    };
    match status.as_u16() {
        400 | 404 | 409 => match where_known(said) {
            Some(hint) => Trouble::usage(said.clone()).hint(hint),
            None => Trouble::usage(said.clone()),
        },
        403 | 429 => Trouble::new(said.clone()),
        _ => error.into(),
    }
}

/// Which command lists what there is, where the master does not know what the user named.
fn where_known(said: &str) -> Option<String> {
    let said = said.to_ascii_lowercase();
    let is_unknown = |what: &str| said.starts_with(what);
    if is_unknown("there is no template ") {
        return Some(format!("`{}` lists the templates", command("templates")));
    }
    if is_unknown("instance ") && said.contains(" is unknown") {
        let list = command("instances --all");
        return Some(format!("`{list}` lists the instances"));
    }
    is_unknown("there is no user ").then(|| {
        let (list, create) = (command("user list"), command("user create NAME"));
        format!("`{list}` lists the users, and `{create}` makes one")
    })
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

/// The user named something that the master does not know, which it says in the original's words.
fn unknown(error: &ClientError) -> Option<Trouble> {
    let ClientError::Call(CallError::Refused {
        url, status, error, ..
    }) = error
    else {
        return None;
    };
    if status.as_u16() != 404 {
        return None;
    }
    let number = |before: &str, after: &str| error.strip_prefix(before)?.strip_suffix(after);
    if let Some(build) = number("Invalid build id: ", ".") {
        let trouble = Trouble::usage(format!("the master {url} has no build {build}"));
        let list = command("status");
        return Some(trouble.hint(format!("`{list}` lists the builds that it knows")));
    }
    let slave = number("Requested slave (slave_id=", ") does not exist.")?;
    let trouble = Trouble::usage(format!("the master {url} has no slave {slave}"));
    let list = command("slaves");
    Some(trouble.hint(format!("`{list}` lists the slaves that it knows")))
}

/// A build whose results are asked for never had an archive, or has none any more: the master says why.
fn no_archive(error: &ClientError) -> Option<Trouble> {
    let ClientError::Call(CallError::Refused {
        status,
        error: said,
        is_explained: true,
        ..
    }) = error
    else {
        return None;
    };
    let is_without =
        said.contains(" has no archive: ") || said.starts_with("The results of build ");
    (status.as_u16() == 404 && is_without).then(|| Trouble::new(said.trim_end_matches('.')))
}

fn hint_for(error: &CallError) -> Option<String> {
    let hint = match error {
        CallError::Unreachable { .. } => Some(
            "is the master running there? Start one with `clusterrunner master`, or name another with --master-url HOST:PORT",
        ),
        // It was sent what it asks for, so only the secret can be another one.
        error if error.is_from_original() => {
            Some("master and client must have the same `secret` in their clusterrunner.conf")
        }
        CallError::Refused { status, error, .. }
            if status.as_u16() == 401 && error.starts_with("The token in the header") =>
        {
            return Some(format!(
                "`{}` makes a token; one is given with --token or in CLUSTERRUNNER_TOKEN",
                command("token create")
            ));
        }
        // Said without a token, and by some calls where the token is nobody's.
        CallError::Refused { status, error, .. }
            if status.as_u16() == 401 && error.starts_with("This needs the farm's secret") =>
        {
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
            error,
            is_explained,
            ..
        } if status.as_u16() == 404 && (!is_explained || is_no_route(error)) => {
            Some("is this really the address of a ClusterRunner master?")
        }
        CallError::Malformed { .. } | CallError::NoSession { .. } => {
            Some("is this really the address of a ClusterRunner master?")
        }
        CallError::Insecure { .. }
        | CallError::Tls(_)
        | CallError::Client(_)
        | CallError::Body(_)
        | CallError::Refused { .. }
        | CallError::NoSecret => None,
    };
    hint.map(str::to_owned)
}
