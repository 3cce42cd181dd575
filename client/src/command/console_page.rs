//! What a page of a console says, and when there is none.

use clusterrunner_client::ClientError;
use clusterrunner_common::api::ConsoleBody;

/// The lines of a page: number, text, and how many bytes are missing at the end. Only the last one can be cut: the
/// master gives no other line after it.
pub(super) fn lines(page: &ConsoleBody) -> impl Iterator<Item = (u64, &str, u64)> {
    let mut lines = (page.offset_line..).zip(page.content.lines()).peekable();
    std::iter::from_fn(move || {
        let (line, text) = lines.next()?;
        let num_bytes_cut = match lines.peek() {
            Some(_) => 0,
            None => page.num_bytes_cut,
        };
        Some((line, text, num_bytes_cut))
    })
}

/// Whether the output that is asked for is not there: not yet, not so far, or not any more. Who may not read it gets
/// another refusal.
pub(super) fn is_not_there(error: &ClientError) -> bool {
    let status = error.status().map(|status| status.as_u16());
    matches!(status, Some(400 | 404 | 410))
}

/// Whether it is the master that can not answer, as while an atom's slave can not be asked.
pub(super) fn is_servers(error: &ClientError) -> bool {
    error
        .status()
        .is_some_and(|status| status.is_server_error())
}
