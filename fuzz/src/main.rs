//! Runs targets for as long as is asked for, each in a process of its own, and prints a table of what came of it:
//! `cargo run --release -p clusterrunner-fuzz -- --seconds 3600`. An input that breaks a promise is kept in `findings`.

#![expect(clippy::print_stdout, reason = "it is a program for people")]

use clusterrunner_fuzz::changes::Changes;
use clusterrunner_fuzz::{TARGETS, Target, seeds};
use std::collections::HashSet;
use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

const USAGE: &str = "clusterrunner-fuzz [--seconds N] [--targets A,B] [--seed N] [--findings FOLDER]

Runs each target for N seconds (60), one after the other. With the same seed (0) the cases are the same.";

/// How often a process of a target says how far it is.
const PULSE: Duration = Duration::from_secs(1);

/// After how long without a word a case counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// How many findings of one target are kept: the rest is most likely the same.
const MOST_FINDINGS: usize = 20;

/// What was asked for.
#[derive(Clone, Debug)]
struct Wish {
    seconds: u64,
    targets: Vec<String>,
    seed: u64,
    findings: PathBuf,
    /// Whether this is the process of one target.
    is_child: bool,
}

/// What came of a target.
#[derive(Clone, Debug, Default)]
struct Run {
    cases: u64,
    findings: usize,
    /// How it ended, if not by the clock.
    trouble: Option<String>,
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(wrong) => {
            println!("{wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match wish.is_child {
        true => drive(&wish).map(|()| true),
        false => run_all(&wish),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wish(mut words: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish {
        seconds: 60,
        targets: TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        seed: 0,
        findings: PathBuf::from("findings"),
        is_child: false,
    };
    let number = |text: &str| {
        let number = text.parse::<u64>();
        number.map_err(|_| format!("{text:?} is no number"))
    };
    while let Some(word) = words.next() {
        if word == "--child" {
            wish.is_child = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        match word.as_str() {
            "--seconds" => wish.seconds = number(&value)?,
            "--seed" => wish.seed = number(&value)?,
            "--findings" => wish.findings = PathBuf::from(value),
            "--targets" => wish.targets = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("{word:?} is no option")),
        }
    }
    let unknown = wish.targets.iter().find(|name| target(name).is_none());
    match unknown {
        Some(name) => Err(format!("{name:?} is no target")),
        None => Ok(wish),
    }
}

fn target(name: &str) -> Option<Target> {
    let mut targets = TARGETS.iter();
    targets.find_map(|(known, target)| (*known == name).then_some(*target))
}

/// Runs all that is wanted and prints the table. Says whether nothing was found.
fn run_all(wish: &Wish) -> Result<bool, Box<dyn Error>> {
    let mut rows = Vec::new();
    for name in &wish.targets {
        let (began, run) = (Instant::now(), run_one(wish, name)?);
        let row = format!(
            "| `{name}` | {} | {} | {}{} |",
            began.elapsed().as_secs(),
            run.cases,
            run.findings,
            run.trouble
                .map(|how| format!(", {how}"))
                .unwrap_or_default()
        );
        println!("{row}");
        rows.push((row, run.findings));
    }
    println!("\n| target | seconds | executions | findings |\n| --- | ---: | ---: | --- |");
    rows.iter().for_each(|(row, _)| println!("{row}"));
    let found: usize = rows.iter().map(|(_, findings)| findings).sum();
    if found > 0 {
        println!("\nThe inputs are in {}.", wish.findings.display());
    }
    Ok(found == 0)
}

/// Runs a target in a process of its own, so that nothing that a case does ends the others.
fn run_one(wish: &Wish, name: &str) -> Result<Run, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--child", "--targets", name])
        .args(["--seconds", &wish.seconds.to_string()])
        .args(["--seed", &wish.seed.to_string()])
        .arg("--findings")
        .arg(&wish.findings)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let words = child.stdout.take().ok_or("its output is not there")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(words).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut run = Run::default();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let mut numbers = line.split(' ').map(str::parse);
                if let (Some(Ok(cases)), Some(Ok(findings))) = (numbers.next(), numbers.next()) {
                    (run.cases, run.findings) = (cases, usize::try_from(findings)?);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                run.findings += 1;
                run.trouble = Some(format!(
                    "hung after case {} of seed {}",
                    run.cases, wish.seed
                ));
                child.kill()?;
                break;
            }
        }
    }
    let end = child.wait()?;
    if !end.success() && run.trouble.is_none() {
        run.findings += 1;
        run.trouble = Some(format!(
            "{end} after case {} of seed {}",
            run.cases, wish.seed
        ));
    }
    Ok(run)
}

/// The process of one target: says every second how many cases there were, and what was found.
fn drive(wish: &Wish) -> Result<(), Box<dyn Error>> {
    let name = wish.targets.first().ok_or("no target")?;
    let target = target(name).ok_or("no target")?;
    let changes = Changes::new(seeds::of(name)?, wish.seed);
    let until = Instant::now() + Duration::from_secs(wish.seconds);
    let (mut cases, mut found, mut said) = (0_u64, HashSet::new(), Instant::now());
    panic::set_hook(Box::new(|_| {}));
    while Instant::now() < until {
        let bytes = changes.case(cases);
        cases += 1;
        if panic::catch_unwind(|| target(&bytes)).is_err() && found.len() < MOST_FINDINGS {
            found.insert(keep(&wish.findings, name, &bytes)?);
        }
        if said.elapsed() >= PULSE {
            println!("{cases} {}", found.len());
            said = Instant::now();
        }
    }
    println!("{cases} {}", found.len());
    Ok(())
}

/// Keeps an input that broke a promise. Says where.
fn keep(folder: &Path, target: &str, bytes: &[u8]) -> Result<PathBuf, std::io::Error> {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{target}-{:016x}", hasher.finish()));
    fs::write(&file, bytes)?;
    Ok(file)
}
