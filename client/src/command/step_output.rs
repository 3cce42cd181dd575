//! `clusterrunner logs --setup`, `--teardown` and `--atomizer`: what a step of a build prints.

use crate::output;
use crate::output::relay::Relay;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{BuildStatus, BuildView, StepKind, StepState, StepView};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::text::printable::ConsoleFilter;
use std::time::Duration;

/// Lines fetched at a time.
const PAGE: u64 = 1000;

/// Pause between two looks when following.
const FOLLOW_PAUSE: Duration = Duration::from_millis(150);

/// Which step is asked for: of a slave, or of whichever has one.
type Asked = (StepKind, Option<SlaveId>);

/// What is shown of a step, up to here.
struct Shown {
    /// `None` shows the output as it is.
    filter: Option<ConsoleFilter>,
    relay: Relay,
}

impl Shown {
    fn print(&mut self, text: &str) {
        match &mut self.filter {
            Some(filter) => self.relay.print(filter.pass(text).as_bytes()),
            None => self.relay.print(text.as_bytes()),
        }
    }

    /// Ends what the printed text began.
    fn end(mut self) {
        if let Some(filter) = self.filter.take() {
            self.relay.print(filter.end().as_bytes());
        }
    }
}

/// Prints it as far as it is there; to its end if `follow`.
pub(super) async fn print(
    (client, first): (&Client, &Client),
    build: BuildId,
    asked: Asked,
    follow: bool,
    raw: bool,
) -> Result<ExitCode, Trouble> {
    // The first look fails soon where there is no master; the others ride through its restart.
    first.build(build).await?;
    if let Some(slave) = asked.1 {
        check_slave(client, build, slave).await?;
    }
    let mut shown = Shown {
        filter: (!raw).then(ConsoleFilter::new),
        relay: Relay::new(raw),
    };
    let mut line = 0;
    let mut chosen = None;
    let (is_printed, is_over) = loop {
        // Asked before the output is read, so that nothing written before the end is missed.
        let view = client.build(build).await?;
        let steps = client.steps(build).await?;
        if chosen.is_none() {
            chosen = choose(&steps, asked).map(|step| step.id);
            tell_others(&steps, asked, chosen);
        }
        let step = steps.iter().find(|step| Some(step.id) == chosen);
        let may_come = follow && may_come(&view, asked, step);
        let printed = match step {
            Some(step) => print_page(client, (build, step.id), line, &mut shown).await,
            None => Ok(line),
        };
        match printed {
            // What came may not be all.
            Ok(next) if next > line => line = next,
            Ok(_) | Err(_) if may_come && !output::is_closed() => {
                tokio::time::sleep(FOLLOW_PAUSE).await;
            }
            Ok(_) => break (step.is_some(), view.status.is_over()),
            Err(error) if error.status().is_some_and(|status| status == 404) => {
                break (false, view.status.is_over());
            }
            Err(error) => return Err(error.into()),
        }
    };
    shown.end();
    match is_printed {
        true => Ok(ExitCode::Success),
        false => Err(nothing(build, asked, is_over)),
    }
}

/// Whether a slave that is named is one of the farm's, or did something for the build before it left.
async fn check_slave(client: &Client, build: BuildId, slave: SlaveId) -> Result<(), Trouble> {
    let slaves = client.slaves().await?;
    if slaves.iter().any(|known| known.id == slave) {
        return Ok(());
    }
    let mut steps = client.steps(build).await?.into_iter();
    if steps.any(|step| step.slave_id == Some(slave)) {
        return Ok(());
    }
    let known: Vec<String> = slaves.iter().map(|slave| slave.id.to_string()).collect();
    let trouble = Trouble::usage(format!("the master has no slave {slave}"));
    Err(trouble.hint(match known.is_empty() {
        true => "it has no slaves now".to_owned(),
        false => format!("its slaves are: {}", known.join(", ")),
    }))
}

fn nothing(build: BuildId, (kind, slave): Asked, is_over: bool) -> Trouble {
    let command = match kind {
        StepKind::Fetch => "the fetch",
        StepKind::Atomizer => "the atomizers",
        StepKind::Setup => "setup_build",
        StepKind::Teardown => "teardown_build",
    };
    let slave = slave.map_or_else(String::new, |slave| format!(" on slave {slave}"));
    if is_over {
        return Trouble::new(format!(
            "build {build} is over and keeps no output of {command}{slave}"
        ))
        .hint("its job has no such command, the build ended before it, or its results are removed by now");
    }
    Trouble::new(format!("there is no output of {command} of build {build}{slave}")).hint(
        "it is there from the beginning of the command until the results of the build are removed; --follow waits for it",
    )
}

/// The step that is shown: without a word about the slave one that failed, as that is mostly why somebody looks; else
/// one that is under way, else the first.
fn choose(steps: &[StepView], (kind, slave): Asked) -> Option<&StepView> {
    let asked = steps
        .iter()
        .filter(|step| step.kind == kind && (slave.is_none() || step.slave_id == slave));
    asked.min_by_key(|step| match step.state {
        StepState::Failed => 0,
        StepState::InProgress => 1,
        StepState::Completed => 2,
    })
}

/// Says of which slaves there are others.
fn tell_others(steps: &[StepView], (kind, slave): Asked, chosen: Option<u64>) {
    let of_kind = || steps.iter().filter(|step| step.kind == kind);
    let shown = of_kind().find(|step| Some(step.id) == chosen);
    let others = of_kind().filter(|step| Some(step.id) != chosen);
    let others: Vec<String> = others
        .filter_map(|step| Some(step.slave_id?.to_string()))
        .collect();
    if let (Some(shown), None, false) = (
        shown.and_then(|step| step.slave_id),
        slave,
        others.is_empty(),
    ) {
        output::note(format!(
            "this is of slave {shown}; name another to see its output: {}",
            others.join(", ")
        ));
    }
}

async fn print_page(
    client: &Client,
    (build, step): (BuildId, u64),
    line: u64,
    shown: &mut Shown,
) -> Result<u64, ClientError> {
    let page = client.step_output(build, step, PAGE, line).await?;
    shown.print(&page.content);
    Ok(page.offset_line + page.num_lines)
}

/// Whether more of it may come.
fn may_come(build: &BuildView, (kind, slave): Asked, step: Option<&StepView>) -> bool {
    if let Some(step) = step {
        return step.state == StepState::InProgress;
    }
    let is_set_up = build.num_atoms_completed + build.num_atoms_in_progress > 0;
    match kind {
        _ if build.status.is_over() => false,
        StepKind::Fetch | StepKind::Atomizer => build.status == BuildStatus::Queued,
        StepKind::Setup => {
            let mut setting_up = build.slaves_setting_up.iter();
            setting_up.any(|one| slave.is_none_or(|slave| slave == one.slave_id))
                || (slave.is_none() && !is_set_up)
        }
        StepKind::Teardown => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: u64, kind: StepKind, slave: u64, state: StepState) -> StepView {
        StepView {
            id,
            kind,
            slave_id: Some(SlaveId(slave)),
            slave_url: None,
            state,
            exit_code: None,
            trouble: None,
            began_at: None,
            ended_at: None,
            output_bytes: None,
        }
    }

    #[test]
    fn what_failed_is_shown_unless_a_slave_is_named() {
        let steps = [
            step(1, StepKind::Setup, 1, StepState::Completed),
            step(3, StepKind::Setup, 2, StepState::InProgress),
            step(5, StepKind::Setup, 3, StepState::Failed),
            step(2, StepKind::Teardown, 1, StepState::Completed),
        ];
        let chosen = |asked| choose(&steps, asked).map(|step| step.id);
        assert_eq!(chosen((StepKind::Setup, None)), Some(5));
        assert_eq!(chosen((StepKind::Setup, Some(SlaveId(2)))), Some(3));
        assert_eq!(chosen((StepKind::Setup, Some(SlaveId(9)))), None);
        assert_eq!(chosen((StepKind::Teardown, None)), Some(2));
        assert_eq!(chosen((StepKind::Atomizer, None)), None);
    }
}
