//! `clusterrunner app run`.

use super::of_apps;
use crate::command::interrupt::Interrupt;
use crate::output;
use crate::output::again::command as again;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::apps::RunLine;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::text::printable::ConsoleFilter;
use clusterrunner_common::text::shell::shell_line;
use reqwest::Response;

/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: ExitCode = ExitCode::Command(128 + 2);

/// The same of one whose output nobody reads any more.
const UNREAD: ExitCode = ExitCode::Command(128 + 13);

/// Runs a command, prints what it prints, and ends as it ends. Ctrl-C stops it: the master does that as soon as nobody
/// hears it any more.
pub(super) async fn run(
    client: &Client,
    app: &str,
    command: &[String],
) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen(false)?;
    let work = async {
        let answer = client.run_in_app(app, &text_of(command)).await;
        pass_on(client, app, answer.map_err(of_apps)?).await
    };
    match interrupt.unless(work).await {
        Some(ended) => ended,
        None => {
            output::complain("interrupted: the command is stopped");
            Ok(INTERRUPTED)
        }
    }
}

/// Prints what a command prints, to its end.
async fn pass_on(client: &Client, app: &str, mut answer: Response) -> Result<ExitCode, Trouble> {
    let mut filter = output::is_on_terminal().then(ConsoleFilter::new);
    let mut unread = Vec::new();
    let broke_off = |why: &str| {
        Trouble::new(format!(
            "the connection broke off while the command ran ({why}), so it is stopped, or goes on unheard"
        ))
        .hint(format!("`{}` shows what it printed", again(format_args!("app logs {app}"))))
    };
    loop {
        let piece = answer.chunk().await;
        let piece = piece.map_err(|error| broke_off(&error.without_url().to_string()))?;
        let piece = piece.ok_or_else(|| broke_off("no end was told"))?;
        // Only the new piece can end the line that was begun.
        let looked_at = unread.len();
        unread.extend_from_slice(&piece);
        let mut ends = looked_at..unread.len();
        let mut begin = 0;
        while let Some(end) = ends.find(|place| unread.get(*place) == Some(&b'\n')) {
            let line = unread.get(begin..end).unwrap_or_default();
            begin = end + 1;
            match read(client, line)? {
                RunLine::Output(text) => match &mut filter {
                    Some(filter) => output::pass_on(filter.pass(&text).as_bytes()),
                    None => output::pass_on(text.as_bytes()),
                },
                RunLine::Rc(code) => {
                    if let Some(filter) = filter {
                        output::pass_on(filter.end().as_bytes());
                    }
                    return Ok(code_of(code));
                }
                RunLine::Error(why) => return Err(Trouble::new(why)),
            }
        }
        if output::is_closed() {
            return Ok(UNREAD);
        }
        unread.drain(..begin);
    }
}

fn read(client: &Client, line: &[u8]) -> Result<RunLine, Trouble> {
    serde_json::from_slice(line).map_err(|source| {
        let url = client.master().to_owned();
        Trouble::from(CallError::Malformed { url, source })
    })
}

fn code_of(code: i32) -> ExitCode {
    match u8::try_from(code) {
        Ok(0) => ExitCode::Success,
        Ok(code) => ExitCode::Command(code),
        Err(_) => ExitCode::Command(u8::MAX),
    }
}

/// The text for the shell that runs it: one word is one already.
fn text_of(command: &[String]) -> String {
    match command {
        [text] => text.clone(),
        words => shell_line(words.iter().map(String::as_str)),
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
