//! `clusterrunner history` and `clusterrunner flaky`: what earlier builds say of atoms and tests.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, FlakyOptions, HistoryOptions, OfJobs};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{ago, count, duration};
use crate::output::{self, BAD, FAINT, GOOD, NOTICE, STRONG, styled};
use crate::trouble::Trouble;
use anstyle::Style;
use clusterrunner_client::client::WantedJobs;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::history::{
    FailedView, FlakinessView, FlakyBody, FlakyVerdict, HistoryKind, HistoryView, RunView,
};
use clusterrunner_common::junit::TestOutcome;
use clusterrunner_common::process::variables::is_name;
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::text::shell::shell_word;

/// How many builds a line of `flaky` shows.
const LATEST: usize = 20;

/// How many digits of a commit are shown.
const COMMIT: usize = 10;

/// Shows what is known of an atom or a test.
pub(crate) async fn run(
    options: HistoryOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let mut body = client.history(&options.name, &wanted(&options.of)).await?;
    if let (true, Some(value)) = (body.history.is_empty(), value_of_setting(&options.name)) {
        body = client.history(value, &wanted(&options.of)).await?;
    }
    if options.json {
        output::say_versioned(&body);
        return Ok(ExitCode::Success);
    }
    if body.history.is_empty() {
        let name = plain(&options.name);
        return Err(Trouble::usage(format!(
            "no archived build has an atom or a test with the name {name}"
        ))
        .hint(format!(
            "an atom's name is its value, such as tests/test_a.py; `{}` lists the names of a build",
            command("tests latest")
        )));
    }
    for (number, view) in body.history.iter().enumerate() {
        if number > 0 {
            output::say("");
        }
        show(view);
    }
    Ok(ExitCode::Success)
}

/// The value of an atom that is named as lists of atoms show it: `N="3"`.
fn value_of_setting(name: &str) -> Option<&str> {
    let (variable, value) = name.split_once('=')?;
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    (is_name(variable) && !value.contains(['"', '\\'])).then_some(value)
}

/// Lists what is flaky.
pub(crate) async fn flaky(
    options: FlakyOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let body = client.flaky(&wanted(&options.of), options.limit).await?;
    if options.json {
        output::say_versioned(&body);
        return Ok(ExitCode::Success);
    }
    if body.total == 0 {
        output::say(
            "Nothing is known to be flaky: no failure was followed by a pass on the same commit.",
        );
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&[
        "",
        "FAILS",
        "BETWEEN",
        "FLAKES",
        "LATEST BUILDS",
        "JOB",
        "NAME",
    ]);
    for view in &body.flaky {
        let flakiness = &view.flakiness;
        let (style, word) = verdict(flakiness.verdict);
        let latest = view.runs.len().saturating_sub(LATEST);
        let outcomes = view.runs[latest..].iter().map(|run| sign(run).1);
        table.add([
            Cell::styled(style, word),
            Cell::from(percent(flakiness.rate)),
            Cell::styled(FAINT, between(flakiness)),
            Cell::from(flakes(flakiness)),
            Cell::from(outcomes.collect::<String>()),
            Cell::from(view.job.clone()),
            Cell::from(full_name(view)),
        ]);
    }
    table.print();
    let more = body.total.saturating_sub(body.flaky.len() as u64);
    if more > 0 {
        output::say(format!(
            "... and {more} more{}",
            how_to_see_more(&body, &options.of)
        ));
    }
    Ok(ExitCode::Success)
}

/// The command that lists more, where there is one: the master lists so many at most.
fn how_to_see_more(body: &FlakyBody, of: &OfJobs) -> String {
    const MOST: u64 = 1000;
    if body.flaky.len() as u64 >= MOST {
        return ": --job and --project list less".to_owned();
    }
    let mut line = format!("flaky --limit {}", body.total.min(MOST));
    for (option, value) in [("--job", &of.job), ("--project", &of.project)] {
        if let Some(value) = value {
            line = format!("{line} {option} {}", shell_word(value));
        }
    }
    format!(": {}", command(line))
}

fn wanted(of: &OfJobs) -> WantedJobs<'_> {
    WantedJobs {
        project: of.project.as_deref(),
        job: of.job.as_deref(),
    }
}

fn show(view: &HistoryView) {
    let kind = match view.kind {
        HistoryKind::Atom => "atom",
        HistoryKind::Test => "test",
    };
    let of = format!("{kind} of job {}, project {}", view.job, view.project);
    output::say(format!(
        "{}  {}",
        styled(STRONG, plain(&full_name(view))),
        styled(FAINT, plain(&of))
    ));
    let mut table = Table::indented();
    table.add([Cell::from("builds"), Cell::from(counts(&view.runs))]);
    if let Some(times) = &view.durations {
        let times = format!(
            "{} (half of the builds), {} to {} (8 of 10), {} at most",
            duration(times.median),
            duration(times.p10),
            duration(times.p90),
            duration(times.max)
        );
        table.add([Cell::from("time"), Cell::from(times)]);
    }
    let (style, said) = said_of(&view.flakiness);
    table.add([Cell::from("flaky"), Cell::styled(style, said)]);
    for (title, failed) in [
        ("first failed", &view.first_failed),
        ("last failed", &view.last_failed),
    ] {
        if let Some(failed) = failed {
            table.add([Cell::from(title), Cell::from(place(failed))]);
        }
    }
    table.print();
    // Not a cell: each sign has its colour.
    let outcomes = view.runs.iter().map(|run| {
        let (style, sign) = sign(run);
        styled(style, sign)
    });
    output::say(format!("  {}", outcomes.collect::<String>()));
}

/// The name as `clusterrunner tests` shows it, with the atom of a test.
fn full_name(view: &HistoryView) -> String {
    let class = view.class.as_deref();
    let class = class.filter(|class| !view.name.starts_with(class));
    let class = class.map(|class| format!("{class} > ")).unwrap_or_default();
    let atom = view.atom.as_ref().map(|atom| format!("  [{atom}]"));
    format!("{class}{}{}", view.name, atom.unwrap_or_default())
}

fn sign(run: &RunView) -> (Style, char) {
    match run.outcome {
        TestOutcome::Passed => (GOOD, '.'),
        TestOutcome::Flaky => (NOTICE, 'f'),
        TestOutcome::Failed => (BAD, 'F'),
        TestOutcome::Skipped => (FAINT, 's'),
    }
}

fn counts(runs: &[RunView]) -> String {
    let parts = [
        (TestOutcome::Passed, "passed"),
        (TestOutcome::Flaky, "flaky"),
        (TestOutcome::Failed, "failed"),
        (TestOutcome::Skipped, "skipped"),
    ];
    let parts = parts.iter().filter_map(|(outcome, word)| {
        let number = runs.iter().filter(|run| run.outcome == *outcome).count();
        (number > 0).then(|| format!("{number} {word}"))
    });
    let parts: Vec<String> = parts.collect();
    let ends = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) if first.build_id != last.build_id => {
            format!(", from build {} to build {}", first.build_id, last.build_id)
        }
        (Some(only), _) => format!(", build {}", only.build_id),
        _ => String::new(),
    };
    format!("{}{ends}", parts.join(", "))
}

fn verdict(verdict: FlakyVerdict) -> (Style, &'static str) {
    match verdict {
        FlakyVerdict::Flaky => (BAD, "FLAKY"),
        FlakyVerdict::Suspicious => (NOTICE, "SUSPICIOUS"),
        FlakyVerdict::Stable => (GOOD, "stable"),
    }
}

fn said_of(flakiness: &FlakinessView) -> (Style, String) {
    let (style, word) = verdict(flakiness.verdict);
    let builds = match flakiness.hunted {
        0 => count(flakiness.trials.into(), "build"),
        hunted => format!(
            "{} runs ({})",
            flakiness.trials,
            count(hunted.into(), "hunt")
        ),
    };
    let said = match flakiness.flakes {
        0 => format!("{word}: no flake in {builds}"),
        flakes => format!(
            "{word}: fails without cause in {} of its runs ({}), did so in {flakes} of {builds}",
            percent(flakiness.rate),
            between(flakiness)
        ),
    };
    (style, said)
}

fn flakes(flakiness: &FlakinessView) -> String {
    let flakes = format!("{} of {}", flakiness.flakes, flakiness.trials);
    match flakiness.hunted {
        0 => flakes,
        hunted => format!("{flakes} ({})", count(hunted.into(), "hunt")),
    }
}

fn between(flakiness: &FlakinessView) -> String {
    format!("{} to {}", percent(flakiness.low), percent(flakiness.high))
}

fn percent(probability: f64) -> String {
    format!("{:.1} %", probability * 100.0)
}

fn place(failed: &FailedView) -> String {
    let commit = failed.commit.as_ref();
    let commit = commit.map(|commit| format!(" of commit {commit:.COMMIT$}"));
    let commit = commit.unwrap_or_default();
    format!("build {}{commit}, {}", failed.build_id, ago(failed.at))
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use clusterrunner_common::ids::{BuildId, ProjectId};

    fn run(build: u64, outcome: TestOutcome) -> RunView {
        RunView {
            build_id: BuildId(build),
            commit: None,
            outcome,
            failed_attempts: 0,
            time: 1.0,
        }
    }

    fn view(name: &str, class: Option<&str>, atom: Option<&str>) -> HistoryView {
        HistoryView {
            kind: HistoryKind::Test,
            name: name.to_owned(),
            class: class.map(str::to_owned),
            atom: atom.map(str::to_owned),
            project_id: ProjectId(1),
            project: "p".to_owned(),
            job: "Unit".to_owned(),
            runs: Vec::new(),
            durations: None,
            flakiness: FlakinessView {
                verdict: FlakyVerdict::Flaky,
                rate: 0.051,
                low: 0.02,
                high: 0.1,
                trials: 70,
                flakes: 4,
                hunted: 0,
            },
            first_failed: None,
            last_failed: None,
        }
    }

    #[test]
    fn names_are_as_their_users_know_them() {
        assert_eq!(full_name(&view("a", None, None)), "a");
        assert_eq!(full_name(&view("t", Some("C"), Some("a"))), "C > t  [a]");
        assert_eq!(full_name(&view("C.t", Some("C"), None)), "C.t");
    }

    #[test]
    fn builds_are_counted_by_how_they_ended() {
        use TestOutcome::{Failed, Flaky, Passed};
        let runs = [run(3, Passed), run(4, Failed), run(9, Flaky)];
        let expected = "1 passed, 1 flaky, 1 failed, from build 3 to build 9";
        assert_eq!(counts(&runs), expected);
        assert_eq!(counts(&runs[..1]), "1 passed, build 3");
        assert_eq!(
            runs.iter().map(|run| sign(run).1).collect::<String>(),
            ".Ff"
        );
    }

    #[test]
    fn flakiness_is_said_with_its_interval() {
        let flaky = view("a", None, None).flakiness;
        let expected = "FLAKY: fails without cause in 5.1 % of its runs (2.0 % to 10.0 %), did so in 4 of 70 builds";
        assert_eq!(said_of(&flaky).1, expected);
        let stable = FlakinessView {
            verdict: FlakyVerdict::Stable,
            trials: 1,
            flakes: 0,
            ..flaky
        };
        assert_eq!(said_of(&stable).1, "stable: no flake in 1 build");
        let hunted = FlakinessView {
            trials: 9,
            hunted: 6,
            ..stable
        };
        let expected = "stable: no flake in 9 runs (6 hunts)";
        assert_eq!(said_of(&hunted).1, expected);
        assert_eq!(flakes(&hunted), "0 of 9 (6 hunts)");
    }

    #[test]
    fn an_atom_may_be_named_as_lists_show_it() {
        assert_eq!(value_of_setting("N=\"17\""), Some("17"));
        assert_eq!(value_of_setting("F=\"a b=c.py\""), Some("a b=c.py"));
        for other in ["17", "N=17", "a.py=\"x\"", "A=\"1\" B=\"2\"", "=\"x\""] {
            assert_eq!(value_of_setting(other), None, "{other}");
        }
    }
}
