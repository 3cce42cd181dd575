//! Command lines that come through SSH.

use clusterrunner_master::trial::ssh_command;

/// A command line means one of git's two programs and an app, or nothing.
///
/// # Panics
/// It means another program, or an app with a name that could be a path or an option.
pub fn ssh_commands(line: &[u8]) {
    let Some((program, app)) = ssh_command(line) else {
        return;
    };
    assert!(
        ["git-receive-pack", "git-upload-pack"].contains(&program),
        "{program}"
    );
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    assert!(
        (1..=64).contains(&app.len()) && app.bytes().all(is_plain),
        "{app}"
    );
}
