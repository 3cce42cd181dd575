//! Watches what runs until it is over, and ends what is to end.

use super::running::Running;
use super::{RunError, SubjobExecutor};
use crate::containers::BuildContainer;
use crate::work::HandOut;
use clusterrunner_common::process::command::{CommandError, Ended};
use clusterrunner_common::process::console::ConsoleCap;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often an atom that runs is looked at: whether it is to stop, what it takes of the disk, and
/// what is left of that. One that is over sooner is never looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The same for a hunt, whose end work waits for.
const HUNT_LOOK: Duration = Duration::from_millis(10);

/// How long work waits at least for the end of a hunt that is killed, where what is asked to end gets no time.
const LEAST_GRACE: Duration = Duration::from_secs(1);

impl SubjobExecutor {
    /// Ends what runs.
    fn end(&self, running: &mut Running, mark: &str) -> Result<(), CommandError> {
        match running {
            // What is asked to end may print a lot.
            Running::Process(running, pump) => pump.copy_during(|| running.end(mark, self.grace())),
            Running::Worker(running) => running.end(mark, self.grace()),
        }
    }

    /// Ends a hunt, which is not asked: work may wait for it, but for no longer than for what is asked. What can not be killed
    /// in that time, since the system holds it in a call (as on a network disk that does not answer), dies some day, and
    /// a thread awaits that; it says nothing of its atom, and leaves what is not removed before the build is cleared away.
    fn kill_hunt(&self, running: Running, mark: String) -> Result<Option<Running>, CommandError> {
        let (mut running, pump) = match running {
            Running::Process(running, pump) => (running, pump),
            Running::Worker(mut running) => {
                running.end(&mark, self.grace())?;
                return Ok(Some(Running::Worker(running)));
            }
        };
        let hunt = mark.clone();
        let grace = self.means.limits.kill_grace.max(LEAST_GRACE);
        let killed = within(grace, "hunt-killer", move || {
            running.kill(&mark).map(|()| running)
        });
        match killed {
            Some(killed) => Ok(Some(Running::Process(killed?, pump))),
            None => {
                tracing::warn!(%hunt, "a hunt can not be killed yet; its executor does not wait for it");
                Ok(None)
            }
        }
    }

    /// Watches what runs until it is over or is to end; none where it was a hunt that can not be killed.
    pub(super) fn watched(
        &self,
        mut running: Running,
        (started, limit, mark): (Instant, Option<Duration>, &str),
        stop: &CancellationToken,
    ) -> Result<Option<(Running, Ended, bool)>, RunError> {
        let watched = self.watch(&mut running, started, limit, stop);
        let (ended, was_used_up) = match watched {
            Ok(watched) => watched,
            Err(error) => return Err(self.broke(running, mark, error)),
        };
        let runs_on = matches!(ended, Ended::TimedOut | Ended::Canceled);
        if !self.is_hunt || !runs_on {
            return Ok(Some((running, ended, was_used_up)));
        }
        let killed = self.kill_hunt(running, mark.to_owned())?;
        Ok(killed.map(|running| (running, ended, was_used_up)))
    }

    /// Ends what takes too long or is to stop, with all that it started. Says whether some of what it started may run on.
    pub(super) fn end_rest(
        &self,
        running: &mut Running,
        (ended, mark): (Ended, &str),
        container: Option<&BuildContainer>,
        hand_out: HandOut,
    ) -> Result<bool, CommandError> {
        match ended {
            // What is left in a container is not known.
            Ended::Exited(_) | Ended::Signaled(_) => {
                Ok(container.is_some() || running.has_left_some())
            }
            // It was killed.
            Ended::TimedOut | Ended::Canceled if self.is_hunt => Ok(true),
            Ended::TimedOut | Ended::Canceled => {
                self.end(running, mark)?;
                if container.is_some_and(|container| !container.shows_processes()) {
                    let containers = &self.means.containers;
                    containers.give_up(hand_out.build, self.executor);
                }
                Ok(true)
            }
        }
    }

    /// How a command comes to its end, and whether the disk was seen without any space meanwhile.
    /// One that takes too long or is to stop is still to be ended.
    fn watch(
        &self,
        running: &mut Running,
        started: Instant,
        limit: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<(Ended, bool), RunError> {
        let mut was_used_up = false;
        let mut cap = self.means.limits.max_console_size.map(ConsoleCap::new);
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let look = if self.is_hunt { HUNT_LOOK } else { LOOK };
            let pause = left.map_or(look, |left| left.min(look));
            if let Some(ended) = running.wait(pause)? {
                return Ok((ended, was_used_up));
            }
            if self.is_to_stop(stop) {
                return Ok((Ended::Canceled, was_used_up));
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok((Ended::TimedOut, was_used_up));
            }
            was_used_up |= self.means.space.is_used_up();
            if let Some(cap) = &mut cap {
                self.console_files.cap(cap);
            }
        }
    }
}

/// What some work comes to, if that takes no longer than this; else it goes on in a thread of this name. Where there can be
/// no other thread, this one waits.
fn within<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    at_most: Duration,
    name: &str,
    work: W,
) -> Option<T> {
    let (given, taken) = mpsc::channel::<W>();
    let (sender, done) = mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || {
        if let Ok(work) = taken.recv() {
            // Perhaps nobody waits any more.
            sender.send(work()).ok();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread could be started");
        return Some(work());
    }
    match given.send(work) {
        Ok(()) => done.recv_timeout(at_most).ok(),
        // It is gone though nothing has ended it.
        Err(mpsc::SendError(work)) => Some(work()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_ended_is_not_waited_for() {
        let (release, held) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        let stuck = move || {
            held.recv().ok();
            done.send(()).ok();
        };
        assert!(within(Duration::from_millis(20), "stuck", stuck).is_none());
        release.send(()).unwrap();
        // It has gone on.
        is_done.recv().unwrap();
        assert_eq!(within(Duration::from_secs(60), "quick", || 7), Some(7));
    }
}
