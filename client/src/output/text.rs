//! Times, atoms and ends in words.

use crate::output::again::command;
use clusterrunner_common::api::AtomView;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, SubjobId};
use clusterrunner_common::job::config::variable_of;
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::text::printable::plain;
use std::fmt::Display;

/// A time span for a human, everywhere the same: `40 ms`, `12.3 s`, `4 min 10 s`, `2 h 3 min`, `3 d 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.0995 {
        return format!("{:.0} ms", seconds.max(0.0) * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and nothing runs for longer"
    )]
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", whole % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A time span as clocks show it, for something that counts down: `0:08`, `2:10`, `1:02:10`.
pub(crate) fn clock(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and nothing runs for longer"
    )]
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// An amount of bytes for a human: `512 B`, `3.4 KiB`, `1.0 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "one digit after the point is shown"
    )]
    let mut amount = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while let (true, Some(larger)) = (amount >= 1023.95, units.next()) {
        amount /= 1024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// How long ago a time was, in seconds since 1970: `3 d 4 h ago`.
pub(crate) fn ago(at: f64) -> String {
    format!("{} ago", duration(Timestamp::now().as_unix_seconds() - at))
}

/// In how long a time will be, in seconds since 1970: `in 3 d 4 h`.
pub(crate) fn until(at: f64) -> String {
    format!("in {}", duration(at - Timestamp::now().as_unix_seconds()))
}

/// How an atom ended, if it has.
pub(crate) fn how_ended(atom: &AtomView) -> Option<String> {
    let trouble = atom.trouble.as_deref().map(|text| plain(text).into_owned());
    trouble.or_else(|| atom.exit_code.map(ended))
}

/// How an atom with this exit code ended.
fn ended(exit_code: i32) -> String {
    if exit_code >= 0 {
        return format!("exit code {exit_code}");
    }
    let signal = exit_code.unsigned_abs();
    let name = match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    };
    format!("ended by signal {signal}{name}")
}

/// How an atom with a result ended, in a few words.
pub(crate) fn how_it_ended(atom: &AtomView) -> String {
    if atom.is_flaky {
        if atom.failed_attempts.is_empty() {
            return "flaky: failed in a worker, then passed without it".to_owned();
        }
        let failed = atom.failed_attempts.iter();
        let numbers: Vec<String> = failed.map(|failed| failed.attempt.to_string()).collect();
        let attempts = match numbers.len() {
            1 => "attempt",
            _ => "attempts",
        };
        return format!(
            "flaky: failed in {attempts} {}, then passed",
            numbers.join(", ")
        );
    }
    how_ended(atom).unwrap_or_else(|| "no exit code".to_owned())
}

/// Characters shown of a setting; some have a whole file's text.
const SETTING_WIDTH: usize = 200;

/// Characters of a setting in a table.
const SHORT_SETTING_WIDTH: usize = 40;

/// An atom's setting without the shell around it, on one line and not too long of it: `TEST="x"` for
/// `export TEST="x";`. Of several variables: `A="1" B="2"`.
pub(crate) fn setting(atom: &AtomView) -> String {
    one_line(setting_text(&atom.command_string), SETTING_WIDTH)
}

/// As [`setting`], and not more of it than fits beside other columns.
pub(crate) fn short_setting(atom: &AtomView) -> String {
    one_line(setting_text(&atom.command_string), SHORT_SETTING_WIDTH)
}

fn setting_text(command: &str) -> &str {
    let text = command.trim();
    if let Some(text) = text.strip_prefix("export ") {
        return text.strip_suffix(';').unwrap_or(text);
    }
    match (variable_of(text, true), text.rsplit_once("; export ")) {
        // It sets several, and the names behind are those before.
        (Some(_), Some((assignments, _))) => assignments,
        _ => text.strip_suffix(';').unwrap_or(text),
    }
}

/// The beginning of a text, with nothing in it that a terminal would obey.
fn one_line(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => plain(text).into_owned(),
        Some((end, _)) => format!("{} ...", plain(&text[..end])),
    }
}

/// The name of an atom's directory.
pub(crate) fn name(atom: &AtomView) -> String {
    directory_name(atom.subjob_id, atom.id)
}

/// What an atom is called in a command: `S_K`.
pub(crate) fn atom_of_command(atom: &AtomView) -> String {
    format!("{}_{}", atom.subjob_id, atom.id)
}

/// Reads `S_K`, `S.K` or `artifact_S_K`.
pub(crate) fn parse_atom(text: &str) -> Option<(SubjobId, AtomId)> {
    let numbers = text.strip_prefix("artifact_").unwrap_or(text);
    let (subjob, atom) = numbers.split_once(['_', '.'])?;
    Some((subjob.parse().ok()?, atom.parse().ok()?))
}

/// How an atom is named, and which command line lists those that may be meant.
pub(crate) fn how_to_name_an_atom(list: impl Display) -> String {
    format!(
        "write S_K for atom K of subjob S, such as 3_0; `{}` lists those that may be meant",
        command(list)
    )
}

/// `1 atom`, `2 atoms`, `3 entries`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("{number} {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_several_of_a_thing() {
        let counted = [
            (1, "atom"),
            (0, "atom"),
            (1, "entry"),
            (2, "entry"),
            (2, "day"),
        ];
        let counted = counted.map(|(number, noun)| count(number, noun));
        assert_eq!(
            counted,
            ["1 atom", "0 atoms", "1 entry", "2 entries", "2 days"]
        );
    }

    #[test]
    fn a_setting_is_shown_on_one_line_of_bounded_length() {
        let shown = |command: &str| one_line(setting_text(command), 20);
        assert_eq!(shown("export TEST=\"x é\";"), "TEST=\"x é\"");
        assert_eq!(shown("A=\"1\" B=\"2\"; export A B;"), "A=\"1\" B=\"2\"");
        assert_eq!(shown("A=1; export A;"), "A=1; export A");
        assert_eq!(
            shown("export A=\"a\nb\u{1b}[2J\";"),
            "A=\"a\\nb\\u{1b}[2J\""
        );
        assert_eq!(
            shown(&format!("export A={}", "é".repeat(19))),
            format!("A={} ...", "é".repeat(18))
        );
    }

    #[test]
    fn amounts_are_short_and_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (8 << 30, "8.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn time_spans_are_short_and_readable() {
        for (seconds, text) in [
            (-1.0, "0 ms"),
            (0.0, "0 ms"),
            (0.04, "40 ms"),
            (12.34, "12.3 s"),
            (59.99, "1 min 0 s"),
            (250.0, "4 min 10 s"),
            (7380.0, "2 h 3 min"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn an_atom_is_named_in_three_ways() {
        let expected = Some((SubjobId(3), AtomId(0)));
        for text in ["3_0", "3.0", "artifact_3_0"] {
            assert_eq!(parse_atom(text), expected, "{text}");
        }
        for text in ["", "3", "3_", "3-0", "artifact_x_0", "3_0_1"] {
            assert_eq!(parse_atom(text), None, "{text}");
        }
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(ended(2), "exit code 2");
        assert_eq!(ended(-9), "ended by signal 9 (SIGKILL)");
        assert_eq!(ended(-40), "ended by signal 40");
    }
}
