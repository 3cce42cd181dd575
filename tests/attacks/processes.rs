//! Atoms that look around on their slave. They run as its user, so they can do what that user can; but nothing is handed to
//! them.

use super::victim::Victim;
use crate::job::job;
use crate::repository::Repository;

#[tokio::test]
async fn nothing_is_handed_to_what_a_build_runs() {
    let victim = Victim::new().await;
    suffer!(
        victim,
        secrets_in_environments,
        secrets_in_command_lines,
        descriptors_of_the_daemon,
        an_atomizer_that_looks_around,
        addresses_of_the_daemons_files,
    );
    victim.lives().await;
}

/// What an atom prints.
async fn printed(victim: &Victim, command: &str) -> String {
    let repository = Repository::of(&job(command).atoms(1));
    let build = victim.passes(&repository.request()).await;
    let build = clusterrunner_common::ids::BuildId(build);
    let atom = victim.farm.atoms(build).await.remove(0);
    victim.farm.console(build, &atom).await
}

/// In parts, so that the searcher does not find itself.
fn parts(secret: &str) -> (String, String) {
    let (first, second) = secret.split_at(secret.len() / 2);
    (first.to_owned(), second.to_owned())
}

/// No process of the farm has the secret in its environment, and none of the commands has a setting of a daemon.
async fn secrets_in_environments(victim: &Victim) {
    let (first, second) = parts(victim.farm.secret_text());
    let search = format!(
        "secret='{first}'; secret=\"${{secret}}{second}\"; for file in /proc/[0-9]*/environ; do if cat $file 2> /dev/null | tr '\\0' \
         '\\n' | grep -qF \"$secret\"; then echo \"in $file\"; fi; done; env | grep -c SECRET; true"
    );
    assert_eq!(printed(victim, &search).await, "0\n");
    let own = printed(victim, "env | cut -d= -f1 | sort").await;
    for name in [
        "CLUSTERRUNNER_SECRET",
        "CLUSTERRUNNER_BASE_DIRECTORY",
        "CLUSTERRUNNER_READ_TOKEN",
    ] {
        assert!(!own.lines().any(|line| line == name), "{own}");
    }
}

async fn secrets_in_command_lines(victim: &Victim) {
    let (first, second) = parts(victim.farm.secret_text());
    let search = format!(
        "secret='{first}'; secret=\"${{secret}}{second}\"; for file in /proc/[0-9]*/cmdline; do [ $file = /proc/$$/cmdline ] || if \
         cat $file 2> /dev/null | tr '\\0' ' ' | grep -qF \"$secret\"; then echo \"in $file\"; fi; done; true"
    );
    assert_eq!(printed(victim, &search).await, "");
}

/// Sockets, the journal, logs: none stays open in a command.
async fn descriptors_of_the_daemon(victim: &Victim) {
    let list = "for fd in /proc/$$/fd/*; do readlink $fd; done | grep -vE '^(pipe:|/dev/null$)' | grep -E 'socket:|slave|master|base|anon_inode|/dev/tty|memfd'; true";
    let console = printed(victim, list).await;
    let strange: Vec<_> = console
        .lines()
        // What it prints goes there.
        .filter(|line| {
            !line.contains("/consoles/")
                && !line.contains("/artifacts/")
                && !line.contains("/work/")
        })
        .collect();
    assert!(strange.is_empty(), "{console}");
}

/// Atomizers run on the master.
async fn an_atomizer_that_looks_around(victim: &Victim) {
    let look = "env | cut -d= -f1 | grep -E 'SECRET|TOKEN|BASE_DIRECTORY' ; for fd in /proc/self/fd/*; do readlink $fd; done | grep -E 'socket:|/db|journal' ; echo end";
    let repository = Repository::of(&job("true").atomizer(look));
    let build = victim.passes(&repository.request()).await;
    let atoms = victim
        .farm
        .atoms(clusterrunner_common::ids::BuildId(build))
        .await;
    let commands: Vec<_> = atoms
        .iter()
        .map(|atom| atom.command_string.as_str())
        .collect();
    assert_eq!(commands, ["export N=\"end\";"]);
}

/// Nobody else on the machine may read or change what the daemons keep.
async fn addresses_of_the_daemons_files(victim: &Victim) {
    use std::os::unix::fs::PermissionsExt as _;
    for name in [
        "base/clusterrunner.conf",
        "base/master",
        "base/master/binder_api_key",
        "base/slave-1",
    ] {
        let path = match name {
            "base/slave-1" => victim.farm.slave_directory(0),
            name => victim.farm.path(name),
        };
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}
