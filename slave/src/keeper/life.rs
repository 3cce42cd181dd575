//! The life of one instance, from its first start to its end.

use super::CanNotStart;
use super::contact::Saying;
use super::limits::Limits;
use super::output::Output;
use super::protocol::{KeeperOrder, Rules};
use super::reaper::Reaper;
use super::start;
use super::{readiness, tree, workspace};
use clusterrunner_common::api::instances::OrderedPurpose;
use clusterrunner_common::work::ReportedState;
use rustix::process::{Pid, WaitStatus};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The pause before the first restart; each next one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After so long a time in which it answered, restarts are counted anew.
const STEADY: Duration = Duration::from_secs(60);

/// How often it is looked whether anything is left of an instance whose first process has ended.
const LOOK: Duration = Duration::from_secs(1);

/// The exit code of what was ended by signal 0, if there were one.
const BY_SIGNAL: i32 = 128;

/// What is wrong with a program that the master does not reach.
const ONLY_HERE: &str = "it listens on 127.0.0.1, where only its own machine reaches it";

/// What became of one start.
enum Ran {
    /// It was to end.
    Told,
    /// It ended by itself, or did not come up; for how long it was up.
    Crashed {
        reason: String,
        up_for: Duration,
        /// None where it was not started.
        code: Option<i32>,
    },
    /// It is of no use to try again.
    Hopeless(String),
}

/// One instance.
struct Life<'a> {
    order: &'a KeeperOrder,
    reaper: &'a Reaper,
    output: &'a Output,
    said: &'a Saying,
    end: &'a CancellationToken,
    limits: Limits,
    restarts: u32,
}

/// Keeps the instance until it is to end, or is given up; nothing of it runs then. Returns what is to be told of it.
pub(super) async fn live(
    order: &KeeperOrder,
    reaper: &Reaper,
    output: &Output,
    said: &Saying,
    end: &CancellationToken,
) -> ReportedState {
    if let Err(reason) = prepare(order).await {
        return failed(output, reason);
    }
    let mut life = Life {
        limits: match order.container {
            // The runtime sees to it.
            Some(_) => Limits::default(),
            None => Limits::set_up(&order.instance, &order.mark),
        },
        order,
        reaper,
        output,
        said,
        end,
        restarts: order.restarts,
    };
    life.run().await
}

fn failed(output: &Output, reason: String) -> ReportedState {
    output.note(&format!("given up: {reason}"));
    ReportedState::Failed { reason }
}

/// Makes its directories.
async fn prepare(order: &KeeperOrder) -> Result<(), String> {
    let Some(root) = order.template.clone() else {
        return Ok(());
    };
    let directory = order.directory.clone();
    let prepared = tokio::task::spawn_blocking(move || workspace::prepare(&directory, &root)).await;
    match prepared {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("could not copy its workspace: {error}")),
        Err(error) => Err(format!("could not copy its workspace: {error}")),
    }
}

impl Life<'_> {
    fn rules(&self) -> &Rules {
        &self.order.rules
    }

    fn purpose(&self) -> OrderedPurpose {
        self.order.instance.purpose
    }

    async fn run(&mut self) -> ReportedState {
        let (mut pause, mut in_a_row) = (FIRST_PAUSE, 0);
        loop {
            let (reason, up_for, code) = match Box::pin(self.run_once()).await {
                Ran::Told => return ReportedState::Ended,
                Ran::Hopeless(reason) => return failed(self.output, reason),
                Ran::Crashed {
                    reason,
                    up_for,
                    code,
                } => (reason, up_for, code),
            };
            if self.purpose() == OrderedPurpose::Run {
                return match code {
                    // How much it printed is known when all of it is read.
                    Some(code) => ReportedState::Exited { code, printed: 0 },
                    None => failed(self.output, reason),
                };
            }
            if up_for >= STEADY {
                (pause, in_a_row) = (FIRST_PAUSE, 0);
            }
            if self.purpose() == OrderedPurpose::Launch && in_a_row == self.rules().restarts {
                let reason = match in_a_row {
                    0 => reason,
                    1 => format!("{reason}; it was started again once"),
                    _ => format!("{reason}; it was started again {in_a_row} times"),
                };
                return failed(self.output, reason);
            }
            let seconds = pause.as_secs();
            self.output
                .note(&format!("{reason}; starts again in {seconds} s"));
            self.said
                .say(ReportedState::Crashed { reason }, self.restarts);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.end.cancelled() => return ReportedState::Ended,
            }
            self.restarts = self.restarts.saturating_add(1);
            in_a_row = in_a_row.saturating_add(1);
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.said.say(ReportedState::Starting, self.restarts);
        }
    }

    /// Starts it and sees to it until nothing of it runs any more.
    async fn run_once(&mut self) -> Ran {
        if self.end.is_cancelled() {
            return Ran::Told;
        }
        // Held until nothing of the instance runs any more.
        let held = match self.purpose() {
            OrderedPurpose::Run => None,
            OrderedPurpose::Launch | OrderedPurpose::App => {
                match readiness::free_port(self.rules().ports) {
                    Some(port) => Some(port),
                    None => {
                        let (first, last) = self.rules().ports;
                        return crashed(format!(
                            "no port from {first} to {last} is free on the slave (setting instance_ports)"
                        ));
                    }
                }
            }
        };
        let port = held.as_ref().map(|port| port.number);
        // One of an earlier keeper may be there.
        self.remove_container().await;
        let (mut command, what, keeps_prefix) = match self.command(port) {
            Ok(command) => command,
            Err(CanNotStart(reason)) => return Ran::Hopeless(reason),
        };
        if let Some(port) = port {
            self.output.note(&format!("starts {what}, at port {port}"));
        }
        let pid = match self.spawn(&mut command) {
            Ok(pid) => pid,
            Err(error) => return crashed(format!("could not start {what}: {error}")),
        };
        drop(command);
        let mut ran = match port {
            Some(port) => self.see_to(pid, port, keeps_prefix).await,
            None => self.see_to_run(pid).await,
        };
        let left = tree::end(self.reaper, self.rules().grace).await;
        if left > 0 {
            self.output
                .note(&format!("{left} processes could not be ended"));
        }
        self.remove_container().await;
        if let (Ran::Crashed { reason, .. }, Some(exceeded)) = (&mut ran, self.limits.exceeded()) {
            *reason = format!("{exceeded} ({reason})");
            if port.is_none() {
                // Nothing else says why it was killed.
                self.output.note(reason);
            }
        }
        drop(held);
        ran
    }

    /// The command, what it starts, and whether that wants to see paths as they were asked for.
    fn command(&self, port: Option<u16>) -> Result<(Command, String, bool), CanNotStart> {
        if let Some(container) = &self.order.container {
            let command = container.command(self.order, port)?;
            return Ok((command, "its container".to_owned(), false));
        }
        let description = self.order.instance.description();
        let description =
            description.ok_or_else(|| CanNotStart("there is no template to start".to_owned()))?;
        let root = description.root.as_ref();
        let root = root.ok_or_else(|| CanNotStart("the template has no root".to_owned()))?;
        let start = start::of_workspace(self.order, description, root.as_ref(), port)?;
        let name = start.arguments.first().cloned().unwrap_or_default();
        let (program, arguments) = self.limits.around(start.program, start.arguments);
        let mut command = Command::new(program);
        if arguments.first().is_some_and(|first| *first == name) {
            command.arg0(name);
        }
        command
            .args(arguments.into_iter().skip(1))
            .stdin(Stdio::null())
            .current_dir(start.directory)
            .env_clear()
            .envs(start.environment);
        Ok((command, start.what, start.keeps_prefix))
    }

    fn spawn(&self, command: &mut Command) -> std::io::Result<Pid> {
        command
            .stdout(self.output.for_process()?)
            .stderr(self.output.for_process()?)
            .process_group(0);
        let pid = self.reaper.spawn(command)?;
        self.limits.apply(pid);
        Ok(pid)
    }

    async fn remove_container(&self) {
        if let Some(container) = &self.order.container
            && let Err(error) = container.remove(self.order, self.reaper).await
        {
            self.output
                .note(&format!("its container could not be removed: {error}"));
        }
    }

    /// Waits until it answers, or has settled, and then for its end.
    async fn see_to(&self, pid: Pid, port: u16, keeps_prefix: bool) -> Ran {
        let ended = self.ended(pid);
        tokio::pin!(ended);
        let is_below = self.order.container.is_none();
        let settles_after = self.order.instance.settles_after_ms;
        let was_hidden = AtomicBool::new(false);
        let is_hidden = || {
            was_hidden.store(true, Ordering::Relaxed);
            self.output.note(&format!(
                "{ONLY_HERE}: let it listen on 0.0.0.0, so that the master reaches it from its own machine"
            ));
        };
        let waits_for = match settles_after {
            Some(millis) => Duration::from_millis(millis),
            None => self.rules().start_timeout,
        };
        tokio::select! {
            biased;
            () = self.end.cancelled() => return Ran::Told,
            (reason, code) = &mut ended => return Ran::Crashed {
                reason,
                up_for: Duration::ZERO,
                code: Some(code),
            },
            () = readiness::answers(&self.rules().host, port, is_below, is_hidden) => {}
            () = sleep(waits_for) => if settles_after.is_none() {
                let seconds = waits_for.as_secs();
                return crashed(match was_hidden.load(Ordering::Relaxed) {
                    true => format!("{ONLY_HERE} after {seconds} s"),
                    false => format!(
                        "it does not listen on the port that PORT names ({port}) after {seconds} s"
                    ),
                });
            }
        }
        let up_since = Instant::now();
        self.said
            .say(ReportedState::Up { port, keeps_prefix }, self.restarts);
        tokio::select! {
            biased;
            () = self.end.cancelled() => Ran::Told,
            (reason, code) = &mut ended => Ran::Crashed {
                reason,
                up_for: up_since.elapsed(),
                code: Some(code),
            },
        }
    }

    /// Waits for the end of a run's process. What that leaves behind ends with it.
    async fn see_to_run(&self, pid: Pid) -> Ran {
        let keeps_prefix = false;
        self.said.say(
            ReportedState::Up {
                port: 0,
                keeps_prefix,
            },
            self.restarts,
        );
        let up_since = Instant::now();
        tokio::select! {
            biased;
            () = self.end.cancelled() => Ran::Told,
            status = self.reaper.wait(pid) => Ran::Crashed {
                reason: how(status),
                up_for: up_since.elapsed(),
                code: Some(exit_code(status)),
            },
        }
    }

    /// Waits for the end of the instance: of its first process, or, where that leaves others behind and reports
    /// success, of the last.
    async fn ended(&self, pid: Pid) -> (String, i32) {
        let status = self.reaper.wait(pid).await;
        let mut reason = how(status);
        if status.exit_status() == Some(0) {
            while !tree::descendants().is_empty() {
                "all of its processes have ended".clone_into(&mut reason);
                tokio::select! {
                    () = self.reaper.any_end() => {}
                    () = sleep(LOOK) => {}
                }
            }
        }
        (reason, exit_code(status))
    }
}

/// One that was not started.
fn crashed(reason: String) -> Ran {
    Ran::Crashed {
        reason,
        up_for: Duration::ZERO,
        code: None,
    }
}

/// As shells say it: 128 and the number of the signal that ended it.
fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => BY_SIGNAL + signal,
        (None, None) => BY_SIGNAL,
    }
}

fn how(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("its process ended with exit code {code}"),
        (None, Some(signal)) => format!("its process was ended by signal {signal}"),
        (None, None) => "its process ended".to_owned(),
    }
}
