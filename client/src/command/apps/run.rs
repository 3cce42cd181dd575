//! `clusterrunner app run`.

use super::of_apps;
use crate::output;
use crate::output::again::quoted;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::text::printable::ConsoleFilter;
use serde::Deserialize;

/// What the master says of a run.
#[derive(Deserialize)]
struct Ran {
    rc: i32,
    output: String,
}

/// Runs a command, prints what it printed, and ends as it ended.
pub(super) async fn run(
    client: &Client,
    app: &str,
    command: &[String],
) -> Result<ExitCode, Trouble> {
    let answer = client.run_in_app(app, &text_of(command)).await;
    let answer = answer.map_err(of_apps)?;
    let broke_off = |error: reqwest::Error| {
        let why = error.without_url();
        Trouble::new(format!("the output of the command did not arrive: {why}"))
    };
    let body = answer.bytes().await.map_err(broke_off)?;
    let ran: Ran = serde_json::from_slice(&body).map_err(|source| {
        let url = client.master().to_owned();
        Trouble::from(CallError::Malformed { url, source })
    })?;
    match output::is_on_terminal() {
        true => {
            let mut filter = ConsoleFilter::new();
            output::pass_on(filter.pass(&ran.output).as_bytes());
            output::pass_on(filter.end().as_bytes());
        }
        false => output::pass_on(ran.output.as_bytes()),
    }
    Ok(match u8::try_from(ran.rc) {
        Ok(0) => ExitCode::Success,
        Ok(code) => ExitCode::Command(code),
        Err(_) => ExitCode::Command(u8::MAX),
    })
}

/// The text for the shell that runs it: one word is one already.
fn text_of(command: &[String]) -> String {
    match command {
        [text] => text.clone(),
        words => {
            let words = words.iter().map(|word| quoted(word));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_are() {
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            text_of(&words)
        };
        assert_eq!(words(&["echo $HOME; exit 3"]), "echo $HOME; exit 3");
        assert_eq!(words(&["./manage.py", "migrate"]), "./manage.py migrate");
        assert_eq!(
            words(&["echo", "it's", "", "$A"]),
            r"echo 'it'\''s' '' '$A'"
        );
    }
}
