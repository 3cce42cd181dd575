//! `clusterrunner shutdown`.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, ShutdownOptions};
use crate::output::again::command;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::ShutdownRequest;

/// Has slaves end. Like the original it prints nothing when the master has taken the order.
pub(crate) async fn run(
    options: ShutdownOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    if !options.all_slaves && options.slave_ids.is_empty() {
        // The original's words and exit code.
        let trouble = Trouble {
            code: ExitCode::AtomsFailed,
            ..Trouble::new("No slaves specified to shutdown.")
        };
        return Err(trouble.hint(format!(
            "name them with --slave-id ID, or all of them with --all-slaves; `{}` lists them",
            command("slaves")
        )));
    }
    let slaves = if options.all_slaves {
        ShutdownRequest {
            shutdown_all: true,
            slaves: None,
        }
    } else {
        ShutdownRequest {
            shutdown_all: false,
            slaves: Some(options.slave_ids),
        }
    };
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    client.shut_down_slaves(&slaves).await?;
    Ok(ExitCode::Success)
}
