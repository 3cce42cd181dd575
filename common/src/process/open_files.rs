//! How many files and connections a process may have open. A daemon takes all that the system allows; the
//! commands it runs keep the limit that the daemon was started with, since some programs count on it.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::sync::OnceLock;

/// The limit that this process was started with, where it was raised since.
static AT_START: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many open as the system allows it. A master has two connections for each of its
/// slaves, and the usual limit of 1,024 is one for programs that can not count further.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if limit.current == raised.current {
        return;
    }
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            AT_START.get_or_init(|| limit);
            tracing::debug!(
                open_files = raised.current,
                open_files_before = limit.current,
                "the limit of open files was raised"
            );
        }
        Err(error) => tracing::warn!(
            %error,
            open_files = limit.current,
            "could not raise the limit of open files"
        ),
    }
}

/// How many files and connections this process may have open; nothing where there is no limit.
#[must_use]
pub fn limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Gives a child that has just been started the limit that this process was started with. From outside: what
/// runs in the child before it becomes another program would cost each start a copy of this process's memory map.
pub fn lower_limit_of(child: u32) {
    if let (Some(limit), Some(pid)) = (AT_START.get(), Pid::from_raw(child.cast_signed())) {
        // The only failure is that the child is gone already.
        prlimit(Some(pid), Resource::Nofile, *limit).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command::{Ended, ShellCommand};
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    /// All threads of a process share its limit, so this test has a process of its own.
    const OWN_PROCESS: &str = "CLUSTERRUNNER_TEST_HAS_OWN_PROCESS";

    #[tokio::test]
    async fn this_process_gets_more_and_its_commands_what_it_had() {
        if std::env::var_os(OWN_PROCESS).is_none() {
            let current = std::thread::current();
            let output = std::process::Command::new("bash")
                .args(["-c", "ulimit -Sn 600 && exec \"$0\" --exact \"$1\""])
                .arg(std::env::current_exe().unwrap())
                .arg(current.name().expect("a test has a name"))
                .env(OWN_PROCESS, "yes")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        let whole = getrlimit(Resource::Nofile);
        assert_eq!(whole.current, Some(600));
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, whole.maximum);
        let output = tempfile::NamedTempFile::new().unwrap();
        let command = ShellCommand {
            // It waits for what comes from outside, as the limit does.
            command_line: "until [ $(ulimit -Sn) = 600 ]; do sleep 0.01; done".to_owned(),
            working_directory: std::env::temp_dir(),
            variables: std::sync::Arc::default(),
            environment: Vec::new(),
            mark: format!("open files:{}:", std::process::id()),
            max_output: None,
            confinement: None,
        };
        let stop = CancellationToken::new();
        let file = output.reopen().unwrap();
        let (limit, grace) = (Duration::from_secs(30), Duration::from_millis(200));
        let ended = command.run(file, &stop, Some(limit), grace).await;
        assert_eq!(ended.unwrap(), Ended::Exited(0));
    }
}
