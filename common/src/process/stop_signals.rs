//! The signals by which a daemon is told to end, and who sent them.
//!
//! What a daemon runs may signal it: a test that kills its parent, or every process that has our name. An order to
//! end that comes from there is no order: it is ignored, and told. Where the sender is gone before it was looked at,
//! nobody knows; that is obeyed, and told as well.

use crate::process::command::mark_in;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many ancestors of a process are looked at.
const MOST_ANCESTORS: usize = 64;

/// How many ignored signals wait to be told; what comes beyond is in the log only.
const MOST_UNTOLD: usize = 16;

/// What a daemon was told by signals.
#[derive(Debug)]
pub struct StopSignals {
    /// Cancelled when it is to finish what runs, and then to end.
    pub drain: CancellationToken,
    /// Cancelled when it is to end at once.
    pub stop: CancellationToken,
    /// Why it ends, where what it runs may have ended it.
    pub blame: Blame,
    /// Signals that were ignored.
    pub ignored: mpsc::Receiver<IgnoredSignal>,
}

/// Why a daemon ends, if not because it was told to. Clones share it; the first to say something is heard.
#[derive(Clone, Debug, Default)]
pub struct Blame(Arc<OnceLock<String>>);

impl Blame {
    /// Says why, unless that is known already.
    pub fn say(&self, reason: String) {
        self.0.get_or_init(|| reason);
    }

    /// Why it ends.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A signal that one of a daemon's own commands sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredSignal {
    /// Its name.
    pub signal: &'static str,
    /// The mark of the command; as much of it as all of this daemon's commands have where no more is known.
    pub mark: String,
}

/// Where a signal came from.
#[derive(Debug, PartialEq, Eq)]
enum Sender {
    /// A command with this mark, or what it started.
    Own(String),
    Stranger,
    /// It ended before anybody looked.
    Gone,
}

impl StopSignals {
    /// Of a daemon that signals do not reach.
    #[must_use]
    pub fn none(drain: CancellationToken, stop: CancellationToken) -> Self {
        let (_, ignored) = mpsc::channel(1);
        Self {
            drain,
            stop,
            blame: Blame::default(),
            ignored,
        }
    }

    /// Listens from now on. SIGUSR1, by which `clusterrunner stop --drain` asks, cancels the first token; SIGTERM
    /// and SIGINT cancel the second, but with `drain_first` the first if nobody has yet. `own_mark` begins the mark
    /// of everything that this daemon runs.
    ///
    /// # Errors
    /// The signals can not be received.
    pub fn listen(drain_first: bool, own_mark: String) -> io::Result<Self> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT, SIGUSR1])?;
        let (tell, ignored) = mpsc::channel(MOST_UNTOLD);
        let heard = Self::none(CancellationToken::new(), CancellationToken::new());
        let (drain, stop, blame) = (heard.drain.clone(), heard.stop.clone(), heard.blame.clone());
        let listen = move || {
            for origin in signals.forever() {
                let signal = name(origin.signal);
                let sender = match &origin.process {
                    Some(process) => sender(process.pid, &own_mark),
                    // The terminal, or the system.
                    None => Sender::Stranger,
                };
                match sender {
                    Sender::Own(mark) => {
                        tracing::warn!(
                            signal,
                            mark,
                            "ignored a signal from one of our own commands"
                        );
                        // Whoever is told may be at its end, or have enough to tell.
                        tell.try_send(IgnoredSignal { signal, mark }).ok();
                        continue;
                    }
                    Sender::Gone => {
                        blame.say(format!("a process that was gone at once sent it {signal}"));
                    }
                    Sender::Stranger => {}
                }
                let is_order_to_drain = origin.signal == SIGUSR1;
                if is_order_to_drain || drain_first && !drain.is_cancelled() {
                    tracing::info!("told to drain, then stop");
                    drain.cancel();
                } else {
                    tracing::info!("told to stop");
                    stop.cancel();
                }
            }
        };
        // It ends with the process.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(Self { ignored, ..heard })
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "SIGUSR1",
    }
}

/// Who a process is to the daemon that runs this.
fn sender(pid: i32, own_mark: &str) -> Sender {
    let own = std::process::id().cast_signed();
    let mut process = pid;
    for _ in 0..MOST_ANCESTORS {
        if process == own && pid != own {
            // It shows no environment any more.
            return Sender::Own(own_mark.to_owned());
        }
        if process <= 1 || process == own {
            return Sender::Stranger;
        }
        let environment = std::fs::read(path(process, "environ")).unwrap_or_default();
        if let Some(mark) = mark_in(&environment, own_mark) {
            return Sender::Own(mark);
        }
        match parent(process) {
            Some(parent) => process = parent,
            None if process == pid => return Sender::Gone,
            None => return Sender::Stranger,
        }
    }
    Sender::Stranger
}

fn path(process: i32, what: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/{what}"))
}

/// The parent of a process, also of one that has ended and was not waited for.
fn parent(process: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(path(process, "stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command::MARK_VARIABLE;
    use std::process::{Command, Stdio};

    const MARK: &str = "/data/slave-1:";

    fn sleeper(command: &mut Command) -> std::process::Child {
        command.stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_sender_is_known_by_its_mark_or_by_who_started_it() {
        let mut marked = sleeper(
            Command::new("sleep")
                .arg("60")
                .env(MARK_VARIABLE, "/data/slave-1:s:7:3.1:0:"),
        );
        let id = |child: &std::process::Child| child.id().cast_signed();
        let expected = Sender::Own("/data/slave-1:s:7:3.1:0:".to_owned());
        // A child shows the environment of its parent until it has become another program.
        while sender(id(&marked), MARK) != expected {
            std::thread::yield_now();
        }
        // Of another daemon, but one of ours started it: here it is both.
        let own = Sender::Own("/data/slave-2:".to_owned());
        assert_eq!(sender(id(&marked), "/data/slave-2:"), own);
        marked.kill().unwrap();
        // Not waited for yet.
        let zombie = Sender::Own(MARK.to_owned());
        while sender(id(&marked), MARK) != zombie {
            std::thread::yield_now();
        }
        marked.wait().unwrap();
        assert_eq!(sender(id(&marked), MARK), Sender::Gone);
        let starter = std::os::unix::process::parent_id().cast_signed();
        assert_eq!(sender(starter, MARK), Sender::Stranger);
        assert_eq!(sender(1, MARK), Sender::Stranger);
    }
}
