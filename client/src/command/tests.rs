//! `clusterrunner tests`: how the tests of a build ended.

use super::matrix::Part;
use super::{junit_file, matrix};
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, TestsOptions};
use crate::output::again::command;
use crate::output::text::{count, duration};
use crate::output::{self, BAD, FAINT, GOOD, NOTICE, STRONG, styled};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::Client;
use clusterrunner_client::client::WantedTests;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::{TestCounts, TestView, TestsBody};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::junit::TestOutcome;
use clusterrunner_common::text::printable::{plain, plain_lines};
use serde_json::{Value, json};

/// How many tests are asked for at a time: the most that a master gives.
const PAGE: u64 = 1_000;

/// How many tests of a kind are listed where not all are asked for.
const LISTED: u64 = 50;

/// How many of the slowest are listed.
const SLOWEST: u64 = 5;

/// A test that takes less is not called slow, in seconds.
const SLOW: f64 = 0.1;

/// How many lines of a message are shown where not all are asked for.
const LINES: usize = 15;

/// Shows the tests of a build.
pub(crate) async fn run(options: TestsOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = options.build.of(&client).await?;
    if let Some(path) = &options.junit {
        junit_file::check(path)?;
        junit_file::write(&client, build, path).await?;
        return Ok(ExitCode::Success);
    }
    let wanted = WantedTests {
        outcomes: match options.failed {
            true => &[TestOutcome::Failed],
            false => &[],
        },
        text: options.text.as_deref(),
        ..WantedTests::default()
    };
    let parts = matrix::parts(&client, build).await?;
    if options.json {
        output::say_versioned(&of_all(&client, &parts, wanted).await?);
        return Ok(ExitCode::Success);
    }
    for part in &parts {
        part.say();
        show(&client, part.id, &options, wanted).await?;
    }
    Ok(ExitCode::Success)
}

/// Shows the tests of one build.
async fn show(
    client: &Client,
    build: BuildId,
    options: &TestsOptions,
    wanted: WantedTests<'_>,
) -> Result<(), Trouble> {
    if options.failed || options.all {
        let found = whole(client, build, wanted).await?;
        let order = [
            TestOutcome::Failed,
            TestOutcome::Flaky,
            TestOutcome::Skipped,
            TestOutcome::Passed,
        ];
        for outcome in order {
            let of_kind = found.tests.iter().filter(|test| test.outcome == outcome);
            list(outcome, of_kind, usize::MAX);
        }
        say_counts(build, &found.counts);
    } else {
        overview(client, build, wanted).await?;
    }
    Ok(())
}

/// All tests that are wanted of builds of a matrix, each with its build; or of one build.
async fn of_all(
    client: &Client,
    parts: &[Part],
    wanted: WantedTests<'_>,
) -> Result<Value, Trouble> {
    if let [Part { id, among: None }] = parts {
        return Ok(json!(whole(client, *id, wanted).await?));
    }
    let (mut tests, mut total, mut counts) = (Vec::new(), 0, TestCounts::default());
    for Part { id, .. } in parts {
        let found = whole(client, *id, wanted).await?;
        total += found.total;
        counts.passed += found.counts.passed;
        counts.failed += found.counts.failed;
        counts.skipped += found.counts.skipped;
        counts.flaky += found.counts.flaky;
        tests.extend(found.tests.iter().map(|test| {
            let mut test = json!(test);
            test["build_id"] = json!(id);
            test
        }));
    }
    Ok(json!({"tests": tests, "total": total, "counts": counts}))
}

/// All tests that are wanted.
async fn whole(
    client: &Client,
    build: BuildId,
    wanted: WantedTests<'_>,
) -> Result<TestsBody, Trouble> {
    let mut found = TestsBody {
        tests: Vec::new(),
        total: 0,
        counts: TestCounts::default(),
    };
    loop {
        let page = WantedTests {
            offset: found.tests.len() as u64,
            limit: PAGE,
            ..wanted
        };
        let TestsBody {
            tests,
            total,
            counts,
        } = client.tests(build, &page).await?;
        let is_last = tests.is_empty();
        found.tests.extend(tests);
        (found.total, found.counts) = (total, counts);
        if is_last || found.tests.len() as u64 >= total {
            return Ok(found);
        }
    }
}

/// What most want to know: what did not just pass, how many there are, and which took longest.
async fn overview(client: &Client, build: BuildId, wanted: WantedTests<'_>) -> Result<(), Trouble> {
    for outcome in [
        TestOutcome::Failed,
        TestOutcome::Flaky,
        TestOutcome::Skipped,
    ] {
        let outcomes = [outcome];
        let some = WantedTests {
            outcomes: &outcomes,
            limit: LISTED,
            ..wanted
        };
        let found = client.tests(build, &some).await?;
        list(outcome, found.tests.iter(), LINES);
        let more = found.total.saturating_sub(LISTED);
        if more > 0 {
            let option = match outcome {
                TestOutcome::Failed => "--failed",
                _ => "--all",
            };
            let all = command(format!("tests {build} {option}"));
            output::say(format!("  ... and {more} more: {all}"));
        }
    }
    let slowest = WantedTests {
        slowest_first: true,
        limit: SLOWEST,
        ..wanted
    };
    let slowest = client.tests(build, &slowest).await?;
    let is_slow = |test: &&TestView| test.time.is_some_and(|time| time >= SLOW);
    let slow: Vec<&TestView> = slowest.tests.iter().filter(is_slow).collect();
    if !slow.is_empty() && slowest.total > 1 {
        output::say(styled(STRONG, "Slowest:"));
        for test in slow {
            let time = duration(test.time.unwrap_or_default());
            output::say(format!("  {time:>8}  {}", full_name(test)));
        }
    }
    say_counts(build, &slowest.counts);
    Ok(())
}

/// Lists tests that ended alike, with so many lines of each message.
fn list<'a>(outcome: TestOutcome, tests: impl Iterator<Item = &'a TestView>, lines: usize) {
    for test in tests {
        if output::is_closed() {
            return;
        }
        let (style, word) = word(outcome);
        let word = styled(style, format!("{word:<7}"));
        let time = test.time.map(|time| format!("  {}", duration(time)));
        let time = styled(FAINT, time.unwrap_or_default());
        output::say(format!("{word} {}{time}{}", full_name(test), atom(test)));
        if let Some(message) = &test.message
            && outcome != TestOutcome::Passed
        {
            for line in shown(message, outcome, lines) {
                output::say(format!("        {line}"));
            }
        }
    }
}

fn word(outcome: TestOutcome) -> (Style, &'static str) {
    match outcome {
        TestOutcome::Failed => (BAD, "FAILED"),
        TestOutcome::Flaky => (NOTICE, "FLAKY"),
        TestOutcome::Skipped => (FAINT, "SKIPPED"),
        TestOutcome::Passed => (GOOD, "PASSED"),
    }
}

/// What of a message is shown: of a failure its end, where most runners say what was wrong, of the rest a line.
fn shown(message: &str, outcome: TestOutcome, lines: usize) -> Vec<String> {
    let message = plain_lines(message);
    let all: Vec<&str> = message.lines().collect();
    let lines = match outcome {
        TestOutcome::Failed => lines,
        _ => lines.min(1),
    };
    let left_out = all.len().saturating_sub(lines);
    if outcome != TestOutcome::Failed || left_out == 0 {
        return all
            .iter()
            .take(lines)
            .map(|line| (*line).to_owned())
            .collect();
    }
    let first = all.first().map(|line| (*line).to_owned());
    let note = styled(FAINT, format!("... {}", count(left_out as u64, "line")));
    let end = all.iter().skip(left_out + 1).map(|line| (*line).to_owned());
    first.into_iter().chain([note]).chain(end).collect()
}

/// The name with its class, where it does not begin with that already.
fn full_name(test: &TestView) -> String {
    let name = plain(&test.name);
    let after = |class| test.name.strip_prefix(class)?.chars().next();
    match test.class.as_deref() {
        Some(class) if test.name == class || after(class).is_some_and(|c| !c.is_alphanumeric()) => {
            name.into_owned()
        }
        Some(class) => format!("{} > {name}", plain(class)),
        None => name.into_owned(),
    }
}

/// The atom, where the test is not the atom itself.
fn atom(test: &TestView) -> String {
    match test.atom == test.name {
        true => String::new(),
        false => styled(FAINT, format!("  [{}]", plain(&test.atom))),
    }
}

fn say_counts(build: BuildId, counts: &TestCounts) {
    let all = counts.all();
    if all == 0 {
        output::say(format!(
            "No atom of build {build} has ended, so it has no tests."
        ));
        return;
    }
    let parts = [
        (counts.failed, BAD, "failed"),
        (counts.flaky, NOTICE, "flaky"),
        (counts.skipped, FAINT, "skipped"),
        (counts.passed, GOOD, "passed"),
    ];
    let parts = parts.iter().filter(|(number, ..)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, style, word)| styled(*style, format!("{number} {word}")))
        .collect();
    let tests = count(all, "test");
    output::say(format!("{tests} of build {build}: {}", parts.join(", ")));
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use clusterrunner_common::ids::{AtomId, SubjobId};

    fn test(name: &str, class: Option<&str>) -> TestView {
        TestView {
            name: name.to_owned(),
            class: class.map(str::to_owned),
            file: None,
            time: None,
            outcome: TestOutcome::Failed,
            atom: "a.py".to_owned(),
            message: None,
            subjob_id: SubjobId(0),
            atom_id: AtomId(0),
        }
    }

    #[test]
    fn a_test_is_called_as_its_users_know_it() {
        assert_eq!(full_name(&test("adds", Some("Sums"))), "Sums > adds");
        assert_eq!(full_name(&test("Sums adds", Some("Sums"))), "Sums adds");
        assert_eq!(full_name(&test("Sums", Some("Sums"))), "Sums");
        assert_eq!(full_name(&test("sums", Some("s"))), "s > sums");
        assert_eq!(full_name(&test("a\u{1b}[1m", None)), "a\\u{1b}[1m");
        assert_eq!(atom(&test("a.py", None)), "");
    }

    #[test]
    fn of_a_long_message_the_first_line_and_the_end_are_shown() {
        let message: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
        let message = message.join("\n");
        let long = shown(&message, TestOutcome::Failed, 5);
        assert_eq!(long.len(), 6);
        assert_eq!((&*long[0], &*long[2], &*long[5]), ("1", "17", "20"));
        assert!(long[1].contains("15 lines"), "{}", long[1]);
        assert_eq!(shown(&message, TestOutcome::Failed, usize::MAX).len(), 20);
        assert_eq!(shown(&message, TestOutcome::Skipped, 5), ["1"]);
        assert_eq!(shown("a", TestOutcome::Failed, 5), ["a"]);
    }
}
