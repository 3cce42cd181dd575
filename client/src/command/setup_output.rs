//! `clusterrunner logs --setup`: what the set-up of a build prints on a slave.

use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::text::printable::ConsoleFilter;
use std::time::Duration;

/// Lines fetched at a time.
const PAGE: u64 = 1000;

/// Pause between two looks when following.
const FOLLOW_PAUSE: Duration = Duration::from_millis(150);

/// Prints it as far as it is there; on and on while slaves set the build up if `follow`.
pub(super) async fn print(
    (client, first): (&Client, &Client),
    build: BuildId,
    slave: Option<SlaveId>,
    follow: bool,
    raw: bool,
) -> Result<ExitCode, Trouble> {
    // The first look fails soon where there is no master; the others ride through its restart.
    first.build(build).await?;
    let mut filter = (!raw).then(ConsoleFilter::new);
    let mut line = 0;
    let printed = loop {
        // Asked before the output is read, so that nothing written before the end is missed.
        let may_come = follow && may_come(client, build, slave).await?;
        match print_page(client, (build, slave), line, &mut filter).await {
            // What came may not be all.
            Ok(next) if next > line => line = next,
            Err(error) if !may_come => break Err(error),
            Ok(_) if !may_come => break Ok(()),
            // There is no output before `setup_build` has begun.
            Ok(_) | Err(_) if output::is_closed() => break Ok(()),
            Ok(_) | Err(_) => tokio::time::sleep(FOLLOW_PAUSE).await,
        }
    };
    if let Some(filter) = filter {
        output::pass_on(filter.end().as_bytes());
    }
    match printed {
        Ok(()) => Ok(ExitCode::Success),
        Err(error) if error.status().is_some_and(|status| status == 404) => {
            let what = format!("there is no output of the set-up of build {build} now");
            Err(Trouble::new(what).hint(
                "it is there from the beginning of setup_build until the slave has cleared the build away; \
                 --follow waits for it",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

async fn print_page(
    client: &Client,
    (build, slave): (BuildId, Option<SlaveId>),
    line: u64,
    filter: &mut Option<ConsoleFilter>,
) -> Result<u64, ClientError> {
    let page = client.setup_output(build, slave, PAGE, line).await?;
    match filter {
        Some(filter) => output::pass_on(filter.pass(&page.content).as_bytes()),
        None => output::pass_on(page.content.as_bytes()),
    }
    Ok(page.offset_line + page.num_lines)
}

/// Whether the set-up is still to come, or goes on.
async fn may_come(
    client: &Client,
    build: BuildId,
    slave: Option<SlaveId>,
) -> Result<bool, ClientError> {
    let build = client.build(build).await?;
    let is_asked = |id| slave.is_none_or(|slave| slave == id);
    let mut setting_up = build.slaves_setting_up.iter();
    let is_set_up = build.num_atoms_completed + build.num_atoms_in_progress > 0;
    Ok(!build.status.is_over()
        && (setting_up.any(|one| is_asked(one.slave_id)) || (slave.is_none() && !is_set_up)))
}
