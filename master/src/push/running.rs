//! A git that runs, and its end. One that takes a push removes what it has half stored when it comes to an end by itself,
//! and not when a signal ends it, so it is given time to see that the pusher has left.

use clusterrunner_common::process::command::end_marked;
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// How long what was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// What a git does when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It has nothing to remove.
    Ends,
    /// It comes to its end for so long.
    Finishes(Duration),
}

/// A running git. All that it has started is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    /// None only while this is dropped.
    ends: Option<Ends>,
    ending: TaskTracker,
    /// Its input.
    pub(crate) stdin: Option<ChildStdin>,
    /// Its output.
    pub(crate) stdout: Option<ChildStdout>,
    /// What it says besides.
    pub(crate) stderr: Option<ChildStderr>,
}

/// What the end of a git needs.
struct Ends {
    child: Child,
    mark: String,
    given_up: GivenUp,
    /// Dropped when nothing runs any more.
    _held: Box<dyn Send>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Running {
    /// A child that is the first of its process group, whose processes have a mark that no others have. Its end is a
    /// task of `ending`.
    pub(super) fn new(
        mut child: Child,
        (mark, given_up): (String, GivenUp),
        ending: &TaskTracker,
        held: impl Send + 'static,
    ) -> Self {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Self {
            ends: Some(Ends {
                child,
                mark,
                given_up,
                _held: Box::new(held),
            }),
            ending: ending.clone(),
            stdin,
            stdout,
            stderr,
        }
    }

    /// Waits for its end. Its exit code; none where a signal ended it.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        self.ends.as_mut()?.child.wait().await.ok()?.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        // There is an id as long as nobody has waited for its end, so the group is no stranger's.
        let id = ends.child.id();
        let Some(group) = id.and_then(|id| Pid::from_raw(id.cast_signed())) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            // There is nobody who could wait for it.
            kill_process_group(group, Signal::KILL).ok();
            return;
        };
        self.stdin = None;
        let said = (self.stdout.take(), self.stderr.take());
        self.ending.spawn_on(ends.end(group, said), &runtime);
    }
}

impl Ends {
    /// Ends all its processes, also those that have left its group. `said` is what nobody reads any more.
    async fn end(
        mut self,
        group: Pid,
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
    ) {
        if let GivenUp::Finishes(patience) = self.given_up {
            // A git that can not say what it wants to is ended by a signal.
            let finishing = async { tokio::join!(drained(stdout), drained(stderr)) };
            tokio::time::timeout(patience, finishing).await.ok();
        }
        end_marked(&self.mark, GRACE).await;
        // What is left in the group threw its environment away.
        kill_process_group(group, Signal::KILL).ok();
        self.child.wait().await.ok();
    }
}

/// Reads all that somebody says.
async fn drained(said: Option<impl AsyncRead + Unpin>) {
    if let Some(mut said) = said {
        tokio::io::copy(&mut said, &mut tokio::io::sink())
            .await
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::process::command::MARK_VARIABLE;
    use std::process::Stdio;
    use tokio::process::Command;
    use tokio::sync::oneshot;

    async fn given_up(script: &str, given_up: GivenUp) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        std::fs::write(&left, "").unwrap();
        let mark = format!("test {}:", folder.path().display());
        let child = Command::new("sh")
            .args(["-e", "-c", script])
            .arg(&left)
            .env(MARK_VARIABLE, &mark)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ending = TaskTracker::new();
        let (held, is_dropped) = oneshot::channel::<()>();
        let running = Running::new(child, (mark, given_up), &ending, held);
        drop(running);
        is_dropped.await.unwrap_err();
        ending.close();
        ending.wait().await;
        !left.exists()
    }

    #[tokio::test]
    async fn what_is_given_up_comes_to_its_end_and_holds_until_then() {
        // It says more than a pipe takes.
        let script = "cat > /dev/null; head -c 200000 /dev/zero; rm \"$0\"";
        let patience = Duration::from_secs(60);
        assert!(given_up(script, GivenUp::Finishes(patience)).await);
    }

    #[tokio::test]
    async fn what_does_not_come_to_its_end_is_ended() {
        let script = "sleep 300; rm \"$0\"";
        assert!(!given_up(script, GivenUp::Ends).await);
        let patience = Duration::from_millis(10);
        assert!(!given_up(script, GivenUp::Finishes(patience)).await);
    }

    #[tokio::test]
    async fn what_has_ended_holds_nothing_more() {
        let child = Command::new("true").spawn().unwrap();
        let ending = TaskTracker::new();
        let (held, is_dropped) = oneshot::channel::<()>();
        let how = ("test".to_owned(), GivenUp::Ends);
        let mut running = Running::new(child, how, &ending, held);
        assert_eq!(running.end().await, Some(0));
        drop(running);
        assert!(ending.is_empty());
        is_dropped.await.unwrap_err();
    }
}
