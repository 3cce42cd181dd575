//! Lines that name atoms: those of the Test Anything Protocol, `ok <atom>` and `not ok <atom>`, with a number before the atom
//! or without, those of `go test` for a package, and those of Rust's test programs, `test <atom> ... ok`. Pure.

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
    console
        .lines()
        .filter_map(|one| line(one).or_else(|| of_rust(one)))
}

/// A line of a Rust test program. One into which its test printed says nothing.
fn of_rust(line: &str) -> Option<Said<'_>> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    let (end, took) = match end.split_once(" <") {
        Some((end, took)) => (end, took.strip_suffix("s>")),
        None => (end, None),
    };
    let passed = match end {
        "ok" | "ignored" => true,
        "FAILED" => false,
        end => {
            end.strip_prefix("ignored, ")?;
            true
        }
    };
    let took = took.and_then(|seconds| seconds.parse().ok());
    Some(Said {
        passed,
        of: [name, name],
        took: took.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    })
}

fn line(line: &str) -> Option<Said<'_>> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => match line.strip_prefix("FAIL\t") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        },
    };
    // Fields of `go test`: the package, and its time or why it has none.
    if let Some((package, _)) = rest.trim_start().split_once('\t') {
        return Some(Said {
            passed,
            of: [package, package],
            took: None,
        });
    }
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

    #[test]
    fn lines_of_go() {
        let console = "ok  \texample.com/m/a\t0.003s\nok  \tb\t(cached)\nFAIL\tc\t0.1s\nFAIL\n?   \td\t[no test files]\n--- FAIL: TestX (0.00s)\n";
        let said = said(console).map(|said| (said.passed, said.of[1]));
        let expected = [(true, "example.com/m/a"), (true, "b"), (false, "c")];
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_of_rusts_test_programs() {
        let console = "running 5 tests\ntest a::b ... ok\ntest c - should panic ... ok\ntest d ... FAILED\ntest e ... ignored, slow\ntest f ... ok <0.250s>\ntest g ... printed\nok\ntest result: ok. 4 passed\n test h ... ok\n";
        let said: Vec<_> = said(console).collect();
        let of: Vec<_> = said.iter().map(|said| (said.passed, said.of[0])).collect();
        assert_eq!(
            of,
            [
                (true, "a::b"),
                (true, "c"),
                (false, "d"),
                (true, "e"),
                (true, "f")
            ]
        );
        assert_eq!(said[4].took, Some(Duration::from_millis(250)));
    }
}
