//! Ends what commands left behind, in the background and many commands' at once: to look for marked
//! processes means to look at all processes of the machine, which takes milliseconds.

use crate::lock::lock;
use crate::process::command::{end_marked, marked};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

/// How long it surely takes a process to replace its program; it shows no environment meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(5);

/// Where commands end all the time, their machine has better things to do than to look at its processes
/// all the time: between two sweeps for which nobody is kept from work there is so many times what the
/// first one took, within these bounds.
const PAUSE_FOR_EACH: u32 = 30;
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Looks for marked processes. Clones share their looks.
#[derive(Clone, Debug)]
pub struct Sweeper {
    grace: Duration,
    waiting: Arc<Mutex<Waiting>>,
    /// A request waits, and must not wait for long.
    hurry: Arc<Notify>,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Waiting {
    sweeps: Vec<Sweep>,
    /// Whether a task is removing already, which takes these too.
    is_sweeping: bool,
    /// Whether a task waits for the end of all.
    is_to_rest: bool,
}

/// One mark, and who waits until nothing carries it.
#[derive(Debug)]
struct Sweep {
    prefix: String,
    /// Whether work waits until it is done.
    is_urgent: bool,
    done: oneshot::Sender<()>,
}

impl Sweeper {
    /// `grace` is the time between asking a process to end and killing it.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            waiting: Arc::default(),
            hurry: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Ends every process whose mark begins with `prefix`, as [`end_marked`] does; goes on to the
    /// end also where nobody waits for it any more.
    pub async fn end(&self, prefix: String) {
        self.end_marked(prefix, false).await;
    }

    async fn end_marked(&self, prefix: String, is_urgent: bool) {
        let (done, ended) = oneshot::channel();
        let is_first = {
            let mut waiting = self.lock();
            waiting.sweeps.push(Sweep {
                prefix,
                is_urgent,
                done,
            });
            !std::mem::replace(&mut waiting.is_sweeping, true)
        };
        if is_urgent {
            self.hurry.notify_one();
        }
        if is_first {
            let sweeper = self.clone();
            self.tasks.spawn(async move { sweeper.sweep().await });
        }
        // It answers, unless the process is at its end.
        ended.await.ok();
    }

    /// As [`Self::end`] in the background. What is `held` keeps others from work, and is dropped when it
    /// is done.
    pub fn end_later<T: Send + 'static>(&self, prefix: String, held: Option<T>) {
        let sweeper = self.clone();
        self.tasks.spawn(async move {
            sweeper.end_marked(prefix, held.is_some()).await;
            drop(held);
        });
    }

    /// Waits until nothing is left to do.
    pub async fn rest(&self) {
        self.tasks.close();
        self.lock().is_to_rest = true;
        self.hurry.notify_one();
        self.tasks.wait().await;
        self.lock().is_to_rest = false;
        self.tasks.reopen();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// What waits, if anything; nobody is at it any more if nothing does.
    fn take(&self) -> Vec<Sweep> {
        let mut waiting = self.lock();
        waiting.is_sweeping = !waiting.sweeps.is_empty();
        std::mem::take(&mut waiting.sweeps)
    }

    async fn sweep(&self) {
        loop {
            let mut sweeps = self.take();
            if sweeps.is_empty() {
                return;
            }
            let mut took = Duration::ZERO;
            for pause in [SECOND_LOOK, Duration::ZERO] {
                let began = Instant::now();
                let (none, some) = look(sweeps).await;
                took += began.elapsed();
                for sweep in some {
                    let grace = self.grace;
                    self.tasks.spawn(async move {
                        end_marked(&sweep.prefix, grace).await;
                        // Who waited may have gone.
                        sweep.done.send(()).ok();
                    });
                }
                sweeps = none;
                tokio::time::sleep(pause).await;
            }
            for sweep in sweeps {
                sweep.done.send(()).ok();
            }
            let pause = took * PAUSE_FOR_EACH;
            self.pause(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        }
    }

    /// Lets others wait together for the next sweep, if they can.
    async fn pause(&self, pause: Duration) {
        let hurries = || {
            let waiting = self.lock();
            waiting.is_to_rest || waiting.sweeps.iter().any(|sweep| sweep.is_urgent)
        };
        let hurried = async {
            while !hurries() {
                self.hurry.notified().await;
            }
        };
        tokio::time::timeout(pause, hurried).await.ok();
    }
}

/// Tells those of which nothing is there from those of which something may be.
async fn look(sweeps: Vec<Sweep>) -> (Vec<Sweep>, Vec<Sweep>) {
    let prefixes: Vec<String> = sweeps.iter().map(|sweep| sweep.prefix.clone()).collect();
    let looked = tokio::task::spawn_blocking(move || marked(&prefixes)).await;
    // What is not known is looked at by itself.
    let found = looked.unwrap_or_else(|_| vec![true; sweeps.len()]);
    let (mut none, mut some) = (Vec::new(), Vec::new());
    for (sweep, is_there) in sweeps.into_iter().zip(found) {
        if is_there { &mut some } else { &mut none }.push(sweep);
    }
    (none, some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command::ShellCommand;
    use tokio_util::sync::CancellationToken;

    /// Runs a command that leaves `sleep` behind; its mark.
    async fn leave_behind(line: &str, name: &str) -> String {
        let mark = format!("sweeper-{name}:{}:", std::process::id());
        let command = ShellCommand {
            command_line: line.to_owned(),
            working_directory: std::env::temp_dir(),
            variables: std::sync::Arc::default(),
            environment: Vec::new(),
            mark: mark.clone(),
            max_output: None,
            confinement: None,
        };
        let output = tempfile::tempfile().unwrap();
        let stop = CancellationToken::new();
        let ended = command.run(output, &stop, None, Duration::ZERO).await;
        ended.unwrap();
        mark
    }

    #[tokio::test]
    async fn each_ends_when_nothing_of_its_own_is_left() {
        let sweeper = Sweeper::new(Duration::from_millis(100));
        let wait = "until grep -q sleep /proc/$!/comm; do :; done";
        let marks = [
            leave_behind("true", "a").await,
            leave_behind(&format!("sleep 60 & {wait}"), "b").await,
            leave_behind(&format!("(trap '' TERM; exec sleep 60) & {wait}"), "c").await,
            leave_behind(&format!("setsid sleep 60 & {wait}"), "d").await,
        ];
        assert_eq!(marked(&marks), [false, true, true, true]);
        let [a, b, c, d] = marks.clone();
        let (held, dropped) = oneshot::channel::<()>();
        sweeper.end_later(d, Some(held));
        tokio::join!(sweeper.end(a), sweeper.end(b), sweeper.end(c));
        assert!(dropped.await.is_err(), "it was dropped");
        assert_eq!(marked(&marks), [false; 4]);
        // It can be used again.
        sweeper.rest().await;
        let again = leave_behind(&format!("sleep 60 & {wait}"), "e").await;
        sweeper.end_later(again.clone(), None::<()>);
        sweeper.rest().await;
        assert_eq!(marked(&[again]), [false]);
    }
}
