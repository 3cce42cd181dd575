//! Shows the log of an app.

use super::of_apps;
use crate::options::AppLogOptions;
use crate::output::{self, FAINT, STRONG, styled};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::apps::AppLogLine;
use clusterrunner_common::text::printable::plain;

/// For how many seconds the master waits for lines when following.
const WAIT_S: u64 = 20;

/// Prints the last lines, as `first` gets them; and on and on if that is asked for, while the master may be started again.
pub(crate) async fn print(
    client: &Client,
    first: &Client,
    app: &str,
    options: &AppLogOptions,
) -> Result<(), Trouble> {
    let last = first.last_of_app_log(app, options.lines).await;
    let last = last.map_err(of_apps)?;
    if last.lines.is_empty() && !options.follow {
        output::note(format!("no logs for {app}"));
    }
    show(&last.lines);
    let mut next = last.next;
    while options.follow && !output::is_closed() {
        let part = client.app_log(app, next, WAIT_S).await.map_err(of_apps)?;
        if part.first > next {
            output::note(format!("-- {} lines are not kept --", part.first - next));
        }
        show(&part.lines);
        next = part.next;
    }
    Ok(())
}

fn show(lines: &[AppLogLine]) {
    for line in lines {
        let at = time(line.at);
        let from = match &line.process {
            Some(process) => styled(STRONG, plain(process)),
            None => styled(FAINT, "app"),
        };
        output::say(format!("{} {from}: {}", styled(FAINT, at), line.text));
    }
}

/// A moment in UTC, as the controller's API says it.
fn time(at: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let seconds = at as i64;
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SUTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(time(1_413_756_060.9), "2014-10-19T22:01:00UTC");
    }
}
