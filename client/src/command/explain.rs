//! `clusterrunner explain`.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, ExplainOptions};
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{count, duration};
use crate::output::{self, FAINT};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::explanation::{Explanation, ExplanationBody};

/// Says where the time of a build went.
pub(crate) async fn run(
    options: ExplainOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = options.build.of(&client).await?;
    let explanation = client.explanation(build).await?;
    if options.json {
        output::say_versioned(&ExplanationBody { explanation });
        return Ok(ExitCode::Success);
    }
    show(&explanation);
    for warning in client.build(build).await?.warnings {
        output::say(format!("Warning: {warning}"));
    }
    Ok(ExitCode::Success)
}

fn show(explanation: &Explanation) {
    let build = explanation.build_id;
    let whole = duration(explanation.seconds);
    match explanation.is_over {
        true => output::say(format!("Build {build} took {whole}:")),
        false => output::say(format!(
            "Build {build} is not over; so far it took {whole}:"
        )),
    }
    let mut table = Table::indented();
    for part in &explanation.parts {
        let share = match explanation.seconds {
            whole if whole > 0.0 => 100.0 * part.seconds / whole,
            _ => 0.0,
        };
        table.add([
            Cell::from(part.name.to_string()),
            Cell::from(duration(part.seconds)),
            Cell::styled(FAINT, format!("{share:.0}%")),
        ]);
    }
    table.print();
    if let Some(longest) = &explanation.longest_atom {
        let (subjob, atom) = (longest.subjob_id, longest.atom_id);
        let logs = command(format_args!("logs {build} {subjob}_{atom}"));
        output::say(format!(
            "The longest atom took {}: {logs}. Executors that ran atoms: {}.",
            duration(longest.seconds),
            explanation.num_executors
        ));
    }
    if let Some(hunting) = &explanation.hunting {
        output::say(format!(
            "Idle executors hunted for flakes meanwhile: {} in {}, {} found.",
            count(hunting.runs, "run"),
            duration(hunting.executor_seconds),
            count(hunting.flakes, "flake")
        ));
    }
}
