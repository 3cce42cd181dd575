//! The shell that runs commands, and what it is started with.

use super::{CommandError, MARK_VARIABLE, ShellCommand, Streams};
use crate::process::confinement::Confinement;
use crate::process::terminal;
use crate::process::umask;
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The longest single argument that Linux gives to a program, less the byte that ends it.
pub(super) const LONGEST_ARGUMENT: usize = 32 * 4096 - 1;

/// Runs a script that stands in standard input, and gives the script an empty one. It is read
/// anew from its file, so no command finds any of it there.
const SCRIPT_FROM_INPUT: &str = "exec 3<&0 </dev/null; . /dev/fd/3";

/// Looked at once: many commands a second are started.
static SHELL: LazyLock<Shell> = LazyLock::new(Shell::find);

struct Shell {
    program: &'static str,
    /// Stands before each command.
    prelude: String,
    /// What commands have of this process's own environment.
    inherited: Vec<(OsString, OsString)>,
    /// Standard input; not there if it can not be opened now.
    null: Option<File>,
}

impl Shell {
    fn find() -> Self {
        let (program, prelude) = if Path::new("/bin/bash").exists() {
            ("/bin/bash", "set -o pipefail; ")
        } else {
            ("/bin/sh", "")
        };
        let umask = umask::of_commands();
        let umask = umask.map_or_else(String::new, |mode| format!("umask {mode:04o}; "));
        // Our own settings, the secret among them, are not the commands' business.
        let is_ours = |name: &OsString| name.to_string_lossy().starts_with("CLUSTERRUNNER_");
        Self {
            program,
            prelude: umask + prelude,
            inherited: std::env::vars_os()
                .filter(|(name, _)| !is_ours(name))
                .collect(),
            null: File::open("/dev/null").ok(),
        }
    }

    fn empty_input(&self) -> Stdio {
        let null = self.null.as_ref().and_then(|null| null.try_clone().ok());
        null.map_or_else(Stdio::null, Stdio::from)
    }
}

/// Which shell runs commands.
pub(super) fn program() -> &'static str {
    SHELL.program
}

/// A variable that commands inherit from this process.
pub(super) fn inherited_variable(name: &str) -> Option<OsString> {
    let mut inherited = SHELL.inherited.iter();
    let found = inherited.find(|(inherited, _)| inherited == name)?;
    Some(found.1.clone())
}

pub(super) fn inherited_variables() -> impl Iterator<Item = &'static (OsString, OsString)> {
    SHELL.inherited.iter()
}

/// The shell, ready to run a command that writes to `streams`. There is nothing in it that would keep the system from
/// starting it without a copy of this process.
pub(super) fn command(order: &ShellCommand, streams: Streams) -> Result<Command, CommandError> {
    let shell = &*SHELL;
    let line = [&*shell.prelude, &order.command_line].concat();
    let (line, input) = if line.len() > LONGEST_ARGUMENT {
        let script = script(&line).map_err(CommandError::Script)?;
        (SCRIPT_FROM_INPUT.to_owned(), Stdio::from(script))
    } else {
        (line, shell.empty_input())
    };
    let errors = match streams.errors {
        Some(errors) => Ok(errors),
        None => streams.output.try_clone(),
    };
    let errors = errors.map_err(|source| order.not_started(source))?;
    let mut command = match &order.confinement {
        None => Command::new(shell.program),
        Some(confinement) => {
            let command = confinement.command(shell.program);
            command.map_err(|source| order.not_started(source))?
        }
    };
    command
        .arg("-c")
        .arg(line)
        .current_dir(&order.working_directory)
        .stdin(input)
        .stdout(streams.output)
        .stderr(errors)
        .env_clear();
    match &order.confinement {
        None => give_variables(&mut command, order, shell),
        Some(confinement) => give_confined(&mut command, order, shell, confinement),
    }
    command.env(MARK_VARIABLE, &order.mark);
    terminal::in_own_group(&mut command);
    Ok(command)
}

fn give_variables(command: &mut Command, order: &ShellCommand, shell: &Shell) {
    match &order.variables.inherited {
        Some(inherited) => command.envs(inherited.iter()),
        None => command.envs(shell.inherited.iter().map(|(name, value)| (name, value))),
    };
    command
        .envs(order.variables.added())
        .envs(order.environment.iter().map(|(name, value)| (name, value)));
}

/// The same under names that mean nothing to the process in front of the command, and of what is inherited only what is
/// allowed.
fn give_confined(
    command: &mut Command,
    order: &ShellCommand,
    shell: &Shell,
    confinement: &Confinement,
) {
    let name = |name: &str| Confinement::name_of(name);
    match &order.variables.inherited {
        Some(inherited) => {
            let allowed = inherited
                .iter()
                .filter(|(name, _)| confinement.allowed.has(name));
            command.envs(allowed.map(|(of, value)| (name(of), value)));
        }
        None => {
            let is_allowed = |name: &OsString| {
                let name = name.to_str();
                name.is_some_and(|name| confinement.allowed.has(name))
            };
            let allowed = shell.inherited.iter().filter(|(name, _)| is_allowed(name));
            command.envs(allowed.map(|(name, value)| (Confinement::name_of(name), value)));
        }
    }
    let own = order.environment.iter();
    command
        .envs(order.variables.added().map(|(of, value)| (name(of), value)))
        .envs(own.map(|(of, value)| (name(of), value)))
        .env(name(MARK_VARIABLE), &order.mark);
}

/// A nameless file that closes its own descriptor first, so that no command inherits it. It is in memory: no directory
/// for temporary files can be too small for it.
fn script(line: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("clusterrunner-script", MemfdFlags::CLOEXEC)?);
    file.write_all(b"exec 3<&-\n")?;
    file.write_all(line.as_bytes())?;
    file.write_all(b"\n")?;
    Ok(file)
}
