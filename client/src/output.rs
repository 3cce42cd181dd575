//! The only place that prints. Results go to standard output, everything about how they come about
//! to standard error; colours only where they are shown, and nothing else that a terminal obeys.

pub(crate) mod again;
pub(crate) mod controllers_time;
pub(crate) mod events;
pub(crate) mod relay;
pub(crate) mod sections;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod utf8;

use anstyle::{AnsiColor, Effects, Style};
use clusterrunner_common::text::printable::{self, coloured_lines};
use events::{Event, Line, VERSION};
use sections::Sections;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What failed.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What needs attention.
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();
/// Titles and names.
pub(crate) const STRONG: Style = Style::new().effects(Effects::BOLD);
/// What is only there for reference.
pub(crate) const FAINT: Style = Style::new().effects(Effects::DIMMED);

static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);
static CLOSED: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicBool = AtomicBool::new(false);
static JSON: AtomicBool = AtomicBool::new(false);

/// How much is said from now on (`--quiet`, `--verbose`).
pub(crate) fn set_volume(quiet: bool, verbose: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// From now on standard output has nothing but lines of JSON, if they are wanted (`--json`).
pub(crate) fn set_json_lines(are_wanted: bool) {
    JSON.store(are_wanted, Ordering::Relaxed);
}

/// Whether standard output has nothing but lines of JSON.
pub(crate) fn is_json_lines() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Whether details are wanted.
pub(crate) fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Whether notes are left out.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether nobody reads standard output any more, as after `| head`. Printing goes on without effect
/// then, since the exit code still counts; a command that only prints can stop.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Whether something that was asked for could not be printed, as on a full disk.
pub(crate) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Prints a line of the result. Of what a terminal would obey only colours stay.
pub(crate) fn say(line: impl Display) {
    if !is_json_lines() {
        let line = Sections::here().without_orders(&line.to_string());
        say_as_is(&coloured_lines(&line));
    }
}

/// Prints an order to the CI system whose log standard output becomes.
pub(crate) fn order(order: &str) {
    if !is_json_lines() {
        say_as_is(&coloured_lines(order));
    }
}

/// Prints what happened as a line of JSON, where these are wanted.
pub(crate) fn emit(event: &Event<'_>) {
    if is_json_lines() {
        let json_version = VERSION;
        let line = Line {
            json_version,
            event,
        };
        say_json(&serde_json::json!(line).to_string());
    }
}

/// Prints JSON, which programs read and terminals show.
pub(crate) fn say_json(json: &str) {
    say_as_is(&printable::json(json));
}

/// Prints an object as JSON with the version of its form.
pub(crate) fn say_versioned(body: &impl serde::Serialize) {
    let body = versioned(serde_json::json!(body));
    say_json(&format!("{body:#}"));
}

/// An object with the version of its form; a list has no place for that.
fn versioned(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("json_version".to_owned(), VERSION.into());
    }
    body
}

fn say_as_is(text: &str) {
    let mut stdout = anstream::stdout().lock();
    notice_end(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Prints a line on the way to a result, unless `--quiet` was given.
pub(crate) fn tell(line: impl Display) {
    if !is_quiet() {
        say(line);
    }
}

/// Whether standard output is shown by a terminal.
pub(crate) fn is_on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints what an atom printed, as it is: colours in it are its own, and belong into a file too.
pub(crate) fn pass_on(text: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    notice_end(stdout.write_all(text).and_then(|()| stdout.flush()));
}

fn notice_end(printed: std::io::Result<()>) {
    let Err(error) = printed else {
        return;
    };
    CLOSED.store(true, Ordering::Relaxed);
    let nobody_reads = error.kind() == std::io::ErrorKind::BrokenPipe;
    if !nobody_reads && !FAILED.swap(true, Ordering::Relaxed) {
        complain(format!(
            "error: could not write to standard output: {error}"
        ));
    }
}

/// Prints a line about what is going on, unless `--quiet` was given.
pub(crate) fn note(line: impl Display) {
    if !is_quiet() {
        complain(line);
    }
}

/// Prints a detail, if `--verbose` was given.
pub(crate) fn detail(line: impl Display) {
    if is_verbose() {
        complain(line);
    }
}

/// Prints a line that must be seen.
pub(crate) fn complain(line: impl Display) {
    // There is nowhere left to say that standard error is closed.
    let line = Sections::here().without_orders(&line.to_string());
    writeln!(anstream::stderr().lock(), "{}", coloured_lines(&line)).ok();
}

/// `text` in a style. Printed through this module, it loses the style where none is shown.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_object_has_the_version_of_its_form() {
        let body = versioned(json!({"users": []}));
        assert_eq!(body, json!({"json_version": VERSION, "users": []}));
        // What a master says of its own is not taken for it.
        let body = versioned(json!({"json_version": "x"}));
        assert_eq!(body["json_version"], VERSION);
    }
}
