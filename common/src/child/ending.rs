//! How a child ends: told to, or by itself and why.

use super::ChildError;
use super::running::Process;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much of what a child prints last is kept for the message.
const LAST_WORDS: usize = 2000;

/// How long its last words may take after its end: what it started may hold the pipe open.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) async fn died(
    child: &mut Process,
    last_words: &mut tokio::task::JoinHandle<String>,
) -> ChildError {
    // Whatever closed its output: without it, it is of no use.
    let ended = tokio::time::timeout(LAST_WORDS_TIMEOUT, child.wait()).await;
    let words = tokio::time::timeout(LAST_WORDS_TIMEOUT, last_words).await;
    let words = words.ok().and_then(Result::ok).unwrap_or_default();
    let how = match ended {
        Ok(Ok(status)) => how_it_went(status, &words),
        Ok(Err(error)) => format!("could not be waited for: {error}"),
        Err(_) => "closed its output".to_owned(),
    };
    ChildError::Died { how }
}

fn how_it_went(status: ExitStatus, words: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => {
            "was ended by signal 9 (SIGKILL): the system may have done that for want of memory, or a command of the build"
                .to_owned()
        }
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let out_of_memory = words.contains("memory allocation of");
    let meaning = if out_of_memory {
        "; it ran out of memory (setting git_max_memory_bytes)"
    } else {
        ""
    };
    let words: String = words.trim().replace(char::is_control, " ");
    match words.is_empty() {
        true => format!("{how}{meaning}"),
        false => format!("{how}{meaning}; its last words: {words}"),
    }
}

pub(super) async fn end_of(mut stream: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let surplus = kept.len().saturating_sub(LAST_WORDS);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Whether a process was stopped by a signal. Its state stands behind its name, which is in parentheses.
pub(super) fn is_stopped(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes());
    state.is_some_and(|state| state.first() == Some(&b'T'))
}
