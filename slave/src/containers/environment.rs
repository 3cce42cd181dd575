//! How variables get into a container. Their values may be secrets, and every user of the machine can read command
//! lines; so they go through the client's standard input, in the form of an environment file. What that form can not
//! hold goes through the client's own environment.

use super::{ContainerError, client};
use std::io::{Seek as _, Write as _};
use std::process::Command;

/// The longest line that the clients read.
const LONGEST_LINE: usize = 60_000;

/// What decides how the client itself works: it must not be set by what a container is given.
const CLIENTS_OWN: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "SHELL",
    "USER",
    "LOGNAME",
    "NOTIFY_SOCKET",
    "_",
];
const CLIENTS_OWN_PREFIXES: [&str; 14] = [
    "LD_",
    "XDG_",
    "DOCKER_",
    "BUILDKIT_",
    "BUILDAH_",
    "CONTAINER",
    "REGISTRY_",
    "STORAGE_",
    "PODMAN_",
    "GO",
    "SSL_",
    "DBUS_",
    "LISTEN_",
    "GLIBC_",
];
const CLIENTS_OWN_SUFFIX: &str = "_proxy";

/// Gives a container these variables, in place of the client's standard input.
///
/// # Errors
/// When one of them can not be given.
pub(super) fn give<'a>(
    command: &mut Command,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), ContainerError> {
    let (mut file, input) = client::scratch()?;
    let mut lines = Vec::new();
    for (name, value) in variables {
        if fits_in_line(name, value) {
            lines.extend_from_slice(format!("{name}={value}\n").as_bytes());
        } else {
            check(name)?;
            command.arg("--env").arg(name).env(name, value);
        }
    }
    let written = file.write_all(&lines).and_then(|()| file.rewind());
    written.map_err(ContainerError::io("write variables of a container"))?;
    command.args(["--env-file", "/dev/stdin"]).stdin(input);
    Ok(())
}

fn fits_in_line(name: &str, value: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && c != '#';
    name.chars().all(is_plain)
        && !value.contains(['\n', '\r'])
        && name.len() + value.len() < LONGEST_LINE
}

/// Whether a variable that fits in no line can go through the client's environment.
fn check(name: &str) -> Result<(), ContainerError> {
    let refused = |why| {
        Err(ContainerError::Variable {
            name: name.to_owned(),
            why,
        })
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || matches!(c, '#' | '*' | '='))
    {
        return refused("its name has a blank, a number sign or a star");
    }
    let upper = name.to_ascii_uppercase();
    let is_clients_own = CLIENTS_OWN.contains(&name)
        || CLIENTS_OWN_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
        || name.to_ascii_lowercase().ends_with(CLIENTS_OWN_SUFFIX);
    if is_clients_own {
        return refused("its value has more than one line, or more than 60000 bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::process::Stdio;

    /// What stands on the command line, and what comes in.
    fn given(variables: &[(&str, &str)]) -> Result<(Vec<String>, String), ContainerError> {
        let mut command = Command::new("/bin/cat");
        give(&mut command, variables.iter().copied())?;
        let arguments = command
            .get_args()
            .map(|one| one.to_string_lossy().into_owned());
        let arguments: Vec<String> = arguments.collect();
        let mut cat = Command::new("/bin/cat");
        give(&mut cat, variables.iter().copied())?;
        let mut plain = Command::new("/bin/sh");
        plain.args(["-c", "cat /dev/stdin"]);
        give(&mut plain, variables.iter().copied())?;
        let printed = plain.stdout(Stdio::piped()).output().unwrap();
        Ok((arguments, String::from_utf8(printed.stdout).unwrap()))
    }

    #[test]
    fn no_value_stands_on_the_command_line() {
        let long = "x".repeat(LONGEST_LINE);
        let (arguments, input) =
            given(&[("A", "a secret"), ("B", "two\nlines"), ("C", &long)]).unwrap();
        assert_eq!(input, "A=a secret\n");
        assert_eq!(
            arguments,
            ["--env", "B", "--env", "C", "--env-file", "/dev/stdin"]
        );
    }

    #[test]
    fn nothing_steers_the_client() {
        let (arguments, input) = given(&[("PATH", "/bin"), ("LD_PRELOAD", "x.so")]).unwrap();
        assert_eq!(input, "PATH=/bin\nLD_PRELOAD=x.so\n");
        assert_eq!(arguments, ["--env-file", "/dev/stdin"]);
        let wrong = BTreeMap::from([
            ("PATH", "a\nb"),
            ("https_proxy", "a\nb"),
            ("A B", "c"),
            ("#A", "c"),
            ("X*", "a\nb"),
        ]);
        for (name, value) in wrong {
            let error = given(&[(name, value)]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
