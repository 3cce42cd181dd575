//! Lines of the Test Anything Protocol that name atoms: `ok <atom>` and `not ok <atom>`, with a number before the atom or
//! without. Pure.

use std::time::Duration;

/// What a line says of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Said<'a> {
    pub(super) passed: bool,
    /// What it is said of, in two readings: with what may be the test's number, and without.
    pub(super) of: [&'a str; 2],
    /// How long that took, from a `# time=12.5ms` at its end.
    pub(super) took: Option<Duration>,
}

/// What a console says, line by line. Lines that are indented speak of parts.
pub(super) fn said(console: &str) -> impl Iterator<Item = Said<'_>> {
    console.lines().filter_map(line)
}

fn line(line: &str) -> Option<Said<'_>> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (rest, directive) = match rest.split_once(" # ") {
        Some((rest, directive)) => (rest, Some(directive.trim())),
        None => (rest, None),
    };
    // What is to be done yet may fail, and then says nothing.
    let is_to_do = directive.is_some_and(|directive| {
        directive
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("todo"))
    });
    if is_to_do && !passed {
        return None;
    }
    let rest = rest.trim();
    let without = rest
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    let without = without.strip_prefix("- ").unwrap_or(without).trim();
    let milliseconds = directive.and_then(|directive| {
        directive
            .strip_prefix("time=")?
            .strip_suffix("ms")?
            .parse()
            .ok()
    });
    let took = milliseconds.and_then(|ms: f64| Duration::try_from_secs_f64(ms / 1000.0).ok());
    Some(Said {
        passed,
        of: [rest, without],
        took,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_something() {
        let console = "TAP version 13\nok a b\nnot ok 2 - c/d.js # time=1.5ms\r\n    ok part\nok 3 e # SKIP\nnot ok f # TODO later\nokay\nnot okay\nok 7up\n";
        let said: Vec<_> = said(console).collect();
        let of: Vec<_> = said
            .iter()
            .map(|said| (said.passed, said.of[0], said.of[1]))
            .collect();
        assert_eq!(
            of,
            [
                (true, "a b", "a b"),
                (false, "2 - c/d.js", "c/d.js"),
                (true, "3 e", "e"),
                (true, "7up", "up")
            ]
        );
        assert_eq!(said[1].took, Some(Duration::from_micros(1500)));
        assert!(
            super::said("ok x # time=-1ms")
                .next()
                .unwrap()
                .took
                .is_none()
        );
    }
}
