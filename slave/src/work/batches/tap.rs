//! Lines that name atoms: those of the Test Anything Protocol, `ok <atom>` and `not ok <atom>`, with a number before the atom
//! or without, those of `go test` for a package, and those of Rust's test programs, `test <atom> ... ok`. Pure.

use super::plans::Plans;
use std::time::Duration;

/// What a line says of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Said<'a> {
    pub(super) passed: bool,
    /// What it is said of, in two readings: with what may be the test's number, and without. Empty where it has no name.
    pub(super) of: [&'a str; 2],
    /// How long that took, from a `# time=12.5ms` at its end.
    pub(super) took: Option<Duration>,
    /// Whether it stands behind other text, which something printed without the end of its line: it counts only where it
    /// names something.
    pub(super) is_inside: bool,
}

/// What a console says.
#[derive(Debug, Default)]
pub(super) struct Spoken<'a> {
    /// Line by line. Lines that are indented speak of parts.
    pub(super) said: Vec<Said<'a>>,
    /// Whether it says itself that tests are missing: by `Bail out!`, or by a plan (`1..9`) whose results are not all there.
    pub(super) broke_off: bool,
}

/// What a console says of a batch whose atoms have these values, in their order. `names_atom` knows all words for them.
pub(super) fn spoken<'a>(
    console: &'a str,
    values: &[&str],
    names_atom: impl Fn(&str) -> bool,
) -> Spoken<'a> {
    let mut spoken = Spoken::default();
    let mut plans = Plans::new(values.len(), names_atom);
    let mut numbers = Numbers::default();
    for one in console.lines() {
        plans.see(one);
        spoken.broke_off |= one.starts_with("Bail out!");
        if let Some(said) = line(one) {
            numbers.see(&said, spoken.said.len());
            spoken.said.push(said);
        } else if let Some(said) = of_rust(one).or_else(|| failure_inside(one)) {
            spoken.said.push(said);
        }
    }
    let are_names = numbers.are_names(plans.are_some, values);
    spoken.broke_off |= plans.are_unmet();
    if !are_names {
        for (place, _) in numbers.alone {
            if let Some(said) = spoken.said.get_mut(place) {
                said.of = ["", ""];
            }
        }
    }
    spoken
}

/// The numbers that stand alone behind `ok`: names of atoms, or TAP's count of the tests.
#[derive(Debug)]
struct Numbers<'a> {
    /// The last number of a line, with a name behind it or not.
    last: u64,
    /// Whether all are what TAP would count, which begins anew with each program.
    are_counting: bool,
    /// Whether there are some with a name behind them.
    have_names: bool,
    /// Those that stand alone, by the places of what they are said of.
    alone: Vec<(usize, &'a str)>,
}

impl Default for Numbers<'_> {
    fn default() -> Self {
        Self {
            last: 0,
            are_counting: true,
            have_names: false,
            alone: Vec::new(),
        }
    }
}

impl<'a> Numbers<'a> {
    fn see(&mut self, said: &Said<'a>, place: usize) {
        let [whole, _] = said.of;
        let first = whole.split([' ', '\t']).next().unwrap_or_default();
        let Ok(number) = first.parse::<u64>() else {
            return;
        };
        let is_next = number == 1 || Some(number) == self.last.checked_add(1);
        if first == whole {
            self.are_counting &= is_next;
            self.alone.push((place, whole));
        } else {
            self.have_names = true;
        }
        self.last = number;
    }

    /// Whether they name atoms. Where TAP would count the same, they do only if both mean the same atoms, and none is another
    /// name for a result that is planned.
    fn are_names(&self, has_plan: bool, values: &[&str]) -> bool {
        let alone = self.alone.iter().map(|(_, number)| *number);
        let is_in_order = self.alone.len() <= values.len()
            && alone.eq(values.iter().copied().take(self.alone.len()));
        let are_of_plan = has_plan && self.have_names;
        (is_in_order && !are_of_plan) || !(has_plan || self.are_counting)
    }
}

/// A `not ok` that stands behind text without the end of its line.
fn failure_inside(one: &str) -> Option<Said<'_>> {
    let at = one.find("not ok ").filter(|at| *at > 0)?;
    let (before, rest) = one.split_at(at);
    if before.trim().is_empty() || before.starts_with('#') {
        return None;
    }
    let said = line(rest)?;
    Some(Said {
        is_inside: true,
        ..said
    })
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
        is_inside: false,
    })
}

fn line(line: &str) -> Option<Said<'_>> {
    if line.trim_end() == "not ok" {
        return Some(Said {
            passed: false,
            of: ["", ""],
            took: None,
            is_inside: false,
        });
    }
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => match line.strip_prefix("FAIL\t") {
            // Of a package that could not be built: `[build failed]`, `[setup failed]`.
            Some(rest) => (false, rest.split(" [").next().unwrap_or(rest)),
            None => (true, line.strip_prefix("ok ")?),
        },
    };
    // Fields of `go test`: the package, and its time or why it has none.
    if let Some((package, _)) = rest.trim_start().split_once('\t') {
        return Some(Said {
            passed,
            of: [package, package],
            took: None,
            is_inside: false,
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
        is_inside: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(console: &str) -> Vec<Said<'_>> {
        said_of(console, &[])
    }

    fn said_of<'a>(console: &'a str, values: &[&str]) -> Vec<Said<'a>> {
        spoken(console, values, |word| values.contains(&word)).said
    }

    #[test]
    fn a_console_that_says_that_tests_are_missing() {
        for (console, expected) in [
            ("ok a\nBail out! no database\n", true),
            ("1..3\nok a\nok b\n", true),
            ("1..3\nok 1\nok 2 - died\nok x\n", true),
            ("1..2\nok 1\nok 2\nok x\n", false),
        ] {
            let spoken = spoken(console, &["x"], |word| word == "x");
            assert_eq!(spoken.broke_off, expected, "{console}");
        }
    }

    #[test]
    fn a_number_alone_is_a_name_where_it_is_no_count() {
        let names = |console: &str, values: &[&str]| -> Vec<String> {
            let said = said_of(console, values);
            said.iter().map(|said| said.of[0].to_owned()).collect()
        };
        let three = "ok 1\nnot ok 2\nok 3\n";
        assert_eq!(names(three, &["3", "2", "1"]), ["", "", ""]);
        assert_eq!(names(three, &["1", "2"]), ["", "", ""]);
        assert_eq!(names(three, &["1", "2", "3", "4"]), ["1", "2", "3"]);
        assert_eq!(
            names("ok 3\nok 2\nok 1\n", &["1", "2", "3"]),
            ["3", "2", "1"]
        );
        assert_eq!(names("1..2\nok 3\nok 2\n", &["1", "2", "3"]), ["", ""]);
        assert_eq!(names("ok 1\nok 2\nok 1\n", &["2", "1"]), ["", "", ""]);
        assert_eq!(names("ok 1 - a\nnot ok 2\n", &["a", "2"]), ["1 - a", ""]);
        assert_eq!(names("ok 17\nok 18\n", &["18", "17"]), ["17", "18"]);
        assert_eq!(names("ok 007\n", &["007"]), ["007"]);
        let planned = "1..4\nok 1 - x\nok 2 - died\nok 3\nok 4\n";
        assert_eq!(names(planned, &["3", "4"])[2..], ["", ""]);
    }

    #[test]
    fn a_failure_behind_other_text_is_seen() {
        let said = said("foonot ok t/b\n  not ok part\n# not ok said\nnot ok\n");
        let of: Vec<_> = said
            .iter()
            .map(|said| (said.passed, said.of[0], said.is_inside))
            .collect();
        assert_eq!(of, [(false, "t/b", true), (false, "", false)]);
    }

    #[test]
    fn lines_that_name_something() {
        let console = "TAP version 13\nok a b\nnot ok 2 - c/d.js # time=1.5ms\r\n    ok part\nok 3 e # SKIP\nnot ok f # TODO later\nokay\nnot okay\nok 7up\n";
        let said = said(console);
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
        assert!(said_of("ok x # time=-1ms", &[])[0].took.is_none());
    }

    #[test]
    fn lines_of_go() {
        let console = "ok  \texample.com/m/a\t0.003s\nok  \tb\t(cached)\nFAIL\tc\t0.1s\nFAIL\td [build failed]\nFAIL\te f [setup failed]\nFAIL\n?   \td\t[no test files]\n--- FAIL: TestX (0.00s)\n";
        let said = said(console);
        let said = said.iter().map(|said| (said.passed, said.of[1]));
        let expected = [
            (true, "example.com/m/a"),
            (true, "b"),
            (false, "c"),
            (false, "d"),
            (false, "e f"),
        ];
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_of_rusts_test_programs() {
        let console = "running 5 tests\ntest a::b ... ok\ntest c - should panic ... ok\ntest d ... FAILED\ntest e ... ignored, slow\ntest f ... ok <0.250s>\ntest g ... printed\nok\ntest result: ok. 4 passed\n test h ... ok\n";
        let said = said(console);
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
