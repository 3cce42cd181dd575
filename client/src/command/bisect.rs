//! `clusterrunner bisect`: which atoms make another one fail that run before it.
//!
//! Each trial is a build of its own, so that its work tree is clean: some of the predecessors and then the atom, one
//! after the other on one executor. The trials of a round run side by side.

mod predecessors;
mod search;

use super::attach::look_until;
use super::interrupt::Interrupt;
use super::matrix;
use super::retry::{Reached, reach};
use crate::options::{BisectOptions, BuildChoice, CommonOptions, WaitUntil};
use crate::output::again::command;
use crate::output::text::{count, how_to_name_an_atom, parse_atom, setting};
use crate::output::{self, BAD, styled};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomState, AtomView, BuildStatus};
use clusterrunner_common::ids::{BuildId, SubjobId};
use predecessors::{Failure, NoFailure, failure};
use search::{Search, Set, Step, Verdict};
use serde_json::{Map, Value, json};

/// Trials of a round where the farm has few executors: a search with fewer takes many more rounds.
const FEWEST_TRIALS: usize = 4;

/// Trials at once at most where the user says nothing. A round may have more, where atoms act only together.
const MOST_TRIALS: usize = 16;

/// All trials of a search.
struct Trials<'a> {
    reached: &'a Reached,
    interrupt: &'a Interrupt,
    build: BuildId,
    failure: &'a Failure<'a>,
    /// How many are under way at most.
    at_once: usize,
    /// How many builds were submitted.
    number: usize,
    /// Those that may not be over.
    running: Vec<BuildId>,
    /// Nothing is said of what is tried.
    is_silent: bool,
}

/// Finds what makes an atom fail.
pub(crate) async fn run(
    options: BisectOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::listen(false)?;
    let atom = parse_atom(&options.atom).ok_or_else(|| no_atom(&options))?;
    let reached = reach(&options.master, &common).await?;
    let build = options.build.of(&reached.first).await?;
    let options = BisectOptions {
        build: BuildChoice::Number(build),
        ..options
    };
    matrix::refuse_parent(&reached.first, build, "atoms").await?;
    let before = reached.first.build(build).await?;
    if before.request_params.get("type") == Some(&json!("directory")) {
        output::note(
            "the project is a directory that all builds share: what an atom leaves in it stays for the next trial",
        );
    }
    let subjobs = reached.client.subjobs(build).await?;
    let failure =
        failure(&subjobs, atom, options.slave).map_err(|error| refused(error, &options))?;
    let trials = match options.trials {
        Some(trials) => trials.get(),
        None => executors(&reached.client)
            .await?
            .clamp(FEWEST_TRIALS, MOST_TRIALS),
    };
    if !options.json {
        say_what_is_looked_for(&failure, &options);
    }
    let mut made = Trials {
        reached: &reached,
        interrupt: &interrupt,
        build,
        failure: &failure,
        at_once: trials,
        number: 0,
        running: Vec::new(),
        is_silent: options.json,
    };
    let searched = Box::pin(search(&mut made, trials)).await;
    if !matches!(searched, Ok(Some(_))) {
        made.cancel().await;
    }
    let Some((verdict, rounds)) = searched? else {
        output::complain("canceled, and so are the trials");
        return Ok(ExitCode::Canceled);
    };
    let trials = made.number;
    match options.json {
        true => output::say_versioned(&body(build, &failure, &verdict, (rounds, trials))),
        false => {
            say(&options, &failure, &verdict);
            let (rounds, trials) = (count(rounds as u64, "round"), count(trials as u64, "build"));
            output::tell(format!("The search took {rounds} and {trials}."));
        }
    }
    Ok(match verdict {
        Verdict::Found(_) => ExitCode::Success,
        Verdict::FailsAlone | Verdict::Passes | Verdict::Unsteady => ExitCode::AtomsFailed,
    })
}

/// The verdict, and after how many rounds; `None` once the user wants an end.
async fn search(made: &mut Trials<'_>, trials: usize) -> Result<Option<(Verdict, usize)>, Trouble> {
    let mut search = Search::new(made.failure.predecessors.len(), trials);
    for round in 0.. {
        let sets = match search.next() {
            Step::End(verdict) => return Ok(Some((verdict, round))),
            Step::Try(sets) => sets,
        };
        if !made.is_silent {
            let trials = count(sets.len() as u64, "trial");
            let atoms = count(search.num_candidates() as u64, "atom");
            output::tell(format!(
                "Round {}: {trials}, {atoms} in question",
                round + 1
            ));
        }
        match made.fail(&sets).await? {
            Some(failed) => search.learn(&failed),
            None => return Ok(None),
        }
    }
    Err(Trouble::new("the search does not end"))
}

impl Trials<'_> {
    /// Whether the atom fails behind each of these sets of predecessors; `None` once the user wants an end.
    async fn fail(&mut self, sets: &[Set]) -> Result<Option<Vec<bool>>, Trouble> {
        let mut failed = Vec::with_capacity(sets.len());
        for sets in sets.chunks(self.at_once) {
            let mut builds = Vec::with_capacity(sets.len());
            for set in sets {
                // A request on its way is waited for: the trial could not be canceled without its number.
                if self.interrupt.has_come() {
                    return Ok(None);
                }
                let request = self.request(set);
                let trial = self.reached.client.submit_params(&request).await?;
                self.number += 1;
                self.running.push(trial);
                builds.push(trial);
            }
            for trial in builds {
                let end = Box::pin(self.has_failed(trial));
                let Some(has_failed) = self.interrupt.unless(end).await else {
                    return Ok(None);
                };
                failed.push(has_failed?);
                self.running.retain(|running| *running != trial);
            }
        }
        Ok(Some(failed))
    }

    fn request(&self, set: &[usize]) -> Map<String, Value> {
        let before = set.iter().map(|place| self.failure.predecessors[*place]);
        let atoms = before.chain([self.failure.atom]);
        let atoms: Vec<&str> = atoms.map(|atom| atom.command_string.as_str()).collect();
        let mut request = Map::new();
        request.insert("retry_of".to_owned(), json!(self.build));
        request.insert("atoms_override".to_owned(), json!(atoms));
        request.insert("in_order".to_owned(), json!(true));
        request.insert("retries".to_owned(), json!(0));
        if let Some(inherited) = &self.reached.inherited {
            request.insert("inherited_env".to_owned(), inherited.clone());
        }
        request
    }

    /// Whether the last atom of a trial has failed, once the trial is over.
    async fn has_failed(&self, trial: BuildId) -> Result<bool, Trouble> {
        let client = &self.reached.client;
        let end = look_until(client, trial, WaitUntil::Over).await?;
        let no_verdict = |why: &str| {
            Trouble::new(format!("trial {trial} says nothing: {why}"))
                .hint(format!("look at `{}`", command(format!("status {trial}"))))
        };
        match end.status {
            BuildStatus::Finished => {}
            BuildStatus::Error => {
                return Err(no_verdict(
                    end.error_message.as_deref().unwrap_or("it ended in ERROR"),
                ));
            }
            _ => return Err(no_verdict("it was canceled")),
        }
        let subjob = client.subjob(trial, SubjobId(0)).await?;
        let last = subjob.atoms.last();
        let last = last.ok_or_else(|| no_verdict("it has no atoms"))?;
        outcome(last).map_err(no_verdict)
    }

    /// Ends what still runs. Errors leave the builds to end by themselves.
    async fn cancel(&self) {
        for trial in &self.running {
            if let Err(error) = self.reached.client.cancel(*trial).await {
                output::complain(format!("build {trial} is not canceled: {error}"));
            }
        }
    }
}

/// Whether an atom has failed, or why its end says nothing. What a time limit ended has failed.
fn outcome(atom: &AtomView) -> Result<bool, &str> {
    let trouble = atom.trouble.as_deref();
    match (trouble, atom.state, atom.exit_code) {
        // It may be the work of the slaves.
        (Some(poison), ..) if poison.starts_with("poison") => Err(poison),
        (_, AtomState::Completed, Some(_)) => Ok(atom.has_failed()),
        _ => Err("its last atom has no result"),
    }
}

/// How many executors the farm has.
async fn executors(client: &Client) -> Result<usize, ClientError> {
    let slaves = client.slaves().await?;
    let alive = slaves.iter().filter(|slave| slave.is_alive);
    Ok(alive.map(|slave| slave.num_executors as usize).sum())
}

fn no_atom(options: &BisectOptions) -> Trouble {
    let list = format_args!("logs {} --failed", options.build);
    Trouble::usage(format!("'{}' names no atom", options.atom)).hint(how_to_name_an_atom(list))
}

fn refused(error: NoFailure, options: &BisectOptions) -> Trouble {
    let (build, atom) = (options.build, &options.atom);
    let hint = match error {
        NoFailure::Unknown | NoFailure::NotFailed => format!(
            "`{}` lists the atoms that failed",
            command(format_args!("logs {build} --failed"))
        ),
        NoFailure::Unplaced => {
            "only atoms that a slave of this program ran to their end can be bisected".to_owned()
        }
    };
    Trouble::usage(format!("atom {atom} of build {build}: {error}")).hint(hint)
}

fn say_what_is_looked_for(failure: &Failure<'_>, options: &BisectOptions) {
    let atoms = count(failure.predecessors.len() as u64, "atom");
    let place = match options.slave {
        true => "slave",
        false => "executor",
    };
    output::tell(format!(
        "Atom {} of build {} ({}) began after {atoms} on its {place}.",
        options.atom,
        options.build,
        setting(failure.atom)
    ));
}

fn guilty<'a>(failure: &Failure<'a>, set: &[usize]) -> Vec<&'a AtomView> {
    let atoms = set.iter().map(|place| failure.predecessors[*place]);
    atoms.collect()
}

fn say(options: &BisectOptions, failure: &Failure<'_>, verdict: &Verdict) {
    let atom = format!("{} ({})", options.atom, setting(failure.atom));
    match verdict {
        Verdict::Found(set) => {
            let guilty = guilty(failure, set);
            let (what, them) = match guilty.len() {
                1 => ("this atom", "it"),
                _ => ("these atoms", "them"),
            };
            output::say(format!(
                "{} {atom} fails after {what}, and passes without {them}:",
                styled(BAD, "Found:")
            ));
            for atom in guilty {
                let (subjob, id) = (atom.subjob_id, atom.id);
                output::say(format!("  {subjob}_{id} ({})", setting(atom)));
            }
        }
        Verdict::FailsAlone => output::say(format!(
            "{atom} fails alone, too: no atom before it is to blame."
        )),
        Verdict::Passes => output::say(format!(
            "{atom} passes after all atoms that ran before it{}: it fails by chance, or because of what ran beside it.",
            match options.slave {
                true => "",
                false => " on its executor (--slave looks at all executors of its slave)",
            }
        )),
        Verdict::Unsteady => output::say(format!(
            "The trials contradict each other: {atom} fails by chance, or what makes it fail stays outside of the \
             work tree, such as in /tmp or a database."
        )),
    }
}

fn body(
    build: BuildId,
    failure: &Failure<'_>,
    verdict: &Verdict,
    (rounds, trials): (usize, usize),
) -> Value {
    let (word, set) = match verdict {
        Verdict::Found(set) => ("found", set.as_slice()),
        Verdict::FailsAlone => ("fails_alone", [].as_slice()),
        Verdict::Passes => ("passes", [].as_slice()),
        Verdict::Unsteady => ("unsteady", [].as_slice()),
    };
    let guilty = guilty(failure, set).into_iter().map(|atom| {
        json!({
            "subjob_id": atom.subjob_id, "atom_id": atom.id, "command_string": atom.command_string,
            "name": atom.name, "value": atom.value,
        })
    });
    json!({"bisection": {
        "build_id": build,
        "subjob_id": failure.atom.subjob_id,
        "atom_id": failure.atom.id,
        "verdict": word,
        "num_predecessors": failure.predecessors.len(),
        "guilty": guilty.collect::<Vec<Value>>(),
        "num_rounds": rounds,
        "num_trials": trials,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_result_is_a_verdict() {
        for (state, exit_code, trouble, expected) in [
            ("COMPLETED", json!(0), json!(null), Some(false)),
            ("COMPLETED", json!(1), json!(null), Some(true)),
            (
                "COMPLETED",
                json!(-9),
                json!("timed out after 5 s"),
                Some(true),
            ),
            ("COMPLETED", json!(null), json!(null), None),
            ("NOT_RUN", json!(null), json!(null), None),
            ("IN_PROGRESS", json!(null), json!(null), None),
            (
                "COMPLETED",
                json!(125),
                json!("poison: 3 slaves were lost while they ran it"),
                None,
            ),
        ] {
            let atom = json!({
                "command_string": "a", "expected_time": null, "actual_time": null, "id": 0, "subjob_id": 0,
                "state": state, "exit_code": exit_code, "trouble": trouble,
            });
            let atom: AtomView = serde_json::from_value(atom).unwrap();
            assert_eq!(outcome(&atom).ok(), expected, "{atom:?}");
        }
    }
}
