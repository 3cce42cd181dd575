//! The log of an app: what was done with it, and what its containers print, in one order.

use super::Api;
use super::error::DeisError;
use super::granted::{Granted, Reading};
use super::times;
use crate::store::app_logs::{AppLine, Origin};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// How many lines are answered, the last ones.
const MOST_LINES: usize = 1000;

/// The last lines, as one JSON string.
pub(super) async fn last(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
) -> Result<Response, DeisError> {
    let logs = api.app_logs.clone();
    let read = move || logs.read_last(granted.project, MOST_LINES);
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let lines = read.map_err(DeisError::Disk)?.lines;
    if lines.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let lines = lines.iter().map(|line| shown(&granted.id, line));
    let text = serde_json::Value::from(lines.collect::<String>()).to_string();
    Ok(([(header::CONTENT_TYPE, "text/plain")], text).into_response())
}

/// A line with its time and whom it is from.
fn shown(app: &str, line: &AppLine) -> String {
    let (at, text) = (times::shown(line.at), &line.text);
    match &line.from {
        Origin::Controller => format!("{at} deis[api]: {text}\n"),
        Origin::Process(process) => format!("{at} {app}[{process}]: {text}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;

    #[test]
    fn a_line_says_whom_it_is_from() {
        let line = |from| AppLine {
            at: Timestamp(1_413_756_060_601),
            from,
            text: "listens on 5000".to_owned(),
        };
        assert_eq!(
            shown("go", &line(Origin::Controller)),
            "2014-10-19T22:01:00UTC deis[api]: listens on 5000\n"
        );
        assert_eq!(
            shown("go", &line(Origin::Process("web.1".to_owned()))),
            "2014-10-19T22:01:00UTC go[web.1]: listens on 5000\n"
        );
    }
}
