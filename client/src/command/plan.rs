//! `clusterrunner plan`.

use super::failed_before::newest_of;
use super::matrix::refuse_parent;
use super::request::project_here;
use super::send::Here;
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, PlanOptions};
use crate::output;
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{count, duration};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::api::plan::{PlanBody, PlanChoice, PlanView};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use std::path::Path;
use std::time::Duration;

/// Says how long a build takes with how many slaves.
pub(crate) async fn run(options: PlanOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let request = match options.build {
        Some(_) => None,
        None => Some(project_here(options.job_name.as_deref())?),
    };
    // A plan takes the master some seconds: only the way to it is tried with little patience.
    let client = connect(&options.master, &common).await?;
    let build = match (options.build, request) {
        (Some(build), _) => build.of(&client).await?,
        (None, Some(request)) => {
            let builds = impatient(&client, &options.master).builds().await?;
            let here = match &request.project {
                ProjectSource::Directory { project_directory } => {
                    Some(Here::at(Path::new(project_directory)).await)
                }
                ProjectSource::Git { .. } | ProjectSource::Own { .. } => None,
            };
            newest(builds, &request, here.as_ref())?.ok_or_else(nothing_before)?
        }
        (None, None) => return Err(nothing_before()),
    };
    let plan = planned(&client, build, &options).await?;
    if plan.num_atoms == 0 {
        // Newer masters say it themselves.
        refuse_parent(&client, build, "atoms").await?;
    }
    if options.json {
        output::say_versioned(&PlanBody { plan });
        return Ok(ExitCode::Success);
    }
    show(&plan, &options)?;
    Ok(ExitCode::Success)
}

/// The newest finished build of a job, rather one that ran all its atoms than one of those that had failed, one that ended
/// before its end, or the parent of builds of a matrix.
fn newest(
    builds: Vec<BuildView>,
    request: &BuildRequest,
    here: Option<&Here>,
) -> Result<Option<BuildId>, Trouble> {
    let is_whole = |build: &BuildView| {
        !build.request_params.contains_key("atoms_override")
            && build.num_atoms_not_run.unwrap_or(0) == 0
            && build.children.is_empty()
    };
    let (whole, others): (Vec<_>, Vec<_>) = builds.into_iter().partition(is_whole);
    let id = |build: &BuildView| build.id;
    match newest_of(&whole, request, here)?.map(id) {
        Some(build) => Ok(Some(build)),
        None => Ok(newest_of(&others, request, here)?.map(id)),
    }
}

async fn planned(
    client: &Client,
    build: BuildId,
    options: &PlanOptions,
) -> Result<PlanView, Trouble> {
    let slaves = options.slaves.map(usize::from);
    let under = options.under.as_ref().map(Duration::as_secs_f64);
    Ok(client.plan(build, slaves, under).await?)
}

fn nothing_before() -> Trouble {
    Trouble::usage(
        "there is no finished build of this job, so nothing is known of how long it takes",
    )
    .hint(format!(
        "run it once with `{}`, or name a build",
        command("build")
    ))
}

fn show(plan: &PlanView, options: &PlanOptions) -> Result<(), Trouble> {
    let build = plan.build_id;
    if plan.num_atoms == 0 {
        let trouble = Trouble::usage(format!("nothing is known of the atoms of build {build}"));
        return Err(trouble.hint("wait until the build is prepared, or name one that has atoms"));
    }
    if plan.choices.is_empty() {
        let trouble = Trouble::usage(format!(
            "too little is known yet of how long build {build} takes"
        ));
        return Err(trouble.hint(
            "ask again when slaves run it, and 3 atoms have ended of each running build of a new job",
        ));
    }
    let atoms = count(plan.num_atoms, "atom");
    output::say(match plan.is_anew {
        true => format!("A new build of the {atoms} of build {build}:"),
        false => format!("The rest of build {build}, {atoms}:"),
    });
    let mut table = Table::new(&["Slaves", "Executors", "Takes", "90 % interval", ""]);
    for choice in &plan.choices {
        let (low, high) = (choice.finish.low, choice.finish.high);
        table.add([
            Cell::from(choice.num_slaves.to_string()),
            Cell::from(choice.num_executors.to_string()),
            Cell::from(duration(choice.finish.median)),
            Cell::from(format!("{} to {}", duration(low), duration(high))),
            Cell::from(match choice.num_slaves == plan.num_slaves {
                true => "now",
                false => "",
            }),
        ]);
    }
    table.print();
    let beside = options.slaves.map_or(plan.num_slaves, u64::from);
    for line in sentences(plan, beside, options.under) {
        output::say(line);
    }
    Ok(())
}

/// What the table says, in words.
fn sentences(plan: &PlanView, beside: u64, under: Option<Duration>) -> Vec<String> {
    let mut choices = plan.choices.iter();
    let mut lines = Vec::new();
    match choices.find(|choice| choice.num_slaves == beside) {
        Some(choice) => {
            let next = plan.next_slave_saves.map_or_else(String::new, |saves| {
                match saves < choice.finish.median / 100.0 {
                    true => "; the next slave saves nothing that counts".to_owned(),
                    false => format!("; the next slave saves {}", duration(saves)),
                }
            });
            lines.push(format!("{}{next}.", takes(choice)));
        }
        None => lines.push("No slave is there for it now.".to_owned()),
    }
    if let Some(under) = under {
        let under = duration(under.as_secs_f64());
        lines.push(match &plan.under {
            Some(choice) => format!(
                "Under {under}: {} with {} are enough.",
                count(choice.num_slaves, "slave"),
                count(choice.num_executors, "executor"),
            ),
            None => format!("Under {under}: no number of slaves is enough."),
        });
    }
    lines
}

/// `5 min 0 s with 8 executors of 2 slaves`.
fn takes(choice: &PlanChoice) -> String {
    format!(
        "{} with {} of {}",
        duration(choice.finish.median),
        count(choice.num_executors, "executor"),
        count(choice.num_slaves, "slave"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::api::FinishView;
    use serde_json::json;

    fn choice(num_slaves: u64, median: f64) -> PlanChoice {
        PlanChoice {
            num_slaves,
            num_executors: 4 * num_slaves,
            finish: FinishView {
                median,
                low: median - 10.0,
                high: median + 20.0,
            },
        }
    }

    fn plan() -> PlanView {
        PlanView {
            build_id: BuildId(7),
            is_anew: true,
            num_atoms: 100,
            num_slaves: 2,
            executors_per_slave: 4,
            choices: vec![choice(1, 590.0), choice(2, 300.0), choice(3, 260.0)],
            next_slave_saves: Some(40.0),
            under: Some(choice(3, 260.0)),
        }
    }

    #[test]
    fn what_the_next_slave_brings_is_said_in_words() {
        let told = sentences(&plan(), 2, None);
        let expected = "5 min 0 s with 8 executors of 2 slaves; the next slave saves 40.0 s.";
        assert_eq!(told, [expected]);
        let useless = PlanView {
            next_slave_saves: Some(0.5),
            ..plan()
        };
        let told = sentences(&useless, 2, None);
        assert!(
            told[0].ends_with("; the next slave saves nothing that counts."),
            "{told:?}"
        );
        let nobody = sentences(&plan(), 0, None);
        assert_eq!(nobody, ["No slave is there for it now."]);
    }

    #[test]
    fn a_build_of_what_had_failed_stands_for_its_job_only_where_there_is_no_other() {
        let build = |id: u64, is_part: bool| -> BuildView {
            let mut params = json!({"type": "directory", "project_directory": "/project"});
            if is_part {
                params["atoms_override"] = json!(["export N=1;"]);
            }
            let view = json!({
                "id": id, "status": "FINISHED", "details": null, "error_message": null, "num_atoms": 1,
                "num_subjobs": 1, "failed_atoms": [], "result": "FAILURE", "request_params": params,
                "state_timestamps": {}, "artifacts": null, "job_name": "A",
            });
            serde_json::from_value(view).unwrap()
        };
        let request = json!({"type": "directory", "project_directory": "/project"});
        let request = BuildRequest::from_json(&request).unwrap();
        let found = |builds| newest(builds, &request, None).unwrap();
        let builds = vec![build(1, false), build(2, false), build(3, true)];
        assert_eq!(found(builds), Some(BuildId(2)));
        let cut_short = BuildView {
            num_atoms_not_run: Some(1),
            ..build(4, false)
        };
        assert_eq!(found(vec![build(1, false), cut_short]), Some(BuildId(1)));
        assert_eq!(found(vec![build(3, true)]), Some(BuildId(3)));
        assert_eq!(found(Vec::new()), None);
    }

    #[test]
    fn a_time_that_is_wanted_is_answered() {
        let under = Some(Duration::from_secs(280));
        let told = sentences(&plan(), 2, under);
        assert_eq!(
            told[1],
            "Under 4 min 40 s: 3 slaves with 12 executors are enough."
        );
        let never = PlanView {
            under: None,
            ..plan()
        };
        let told = sentences(&never, 2, under);
        assert_eq!(told[1], "Under 4 min 40 s: no number of slaves is enough.");
    }
}
