//! `clusterrunner drain` and `clusterrunner undrain`.

use super::status::is_busy;
use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, DrainOptions, UndrainOptions};
use crate::output;
use crate::output::again::command;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::SlaveView;
use clusterrunner_common::ids::SlaveId;
use clusterrunner_common::text::slave_address::host_and_port;
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause between two looks whether slaves are idle.
const LOOK: Duration = Duration::from_millis(200);

/// Has slaves take no new work.
pub(crate) async fn run(options: DrainOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let patient = connect(&options.master, &common).await?;
    let client = impatient(&patient, &options.master);
    let slaves = chosen(client.slaves().await?, &options.slaves)?;
    for slave in slaves.values() {
        let answer = client.drain_slave(slave.id, true).await?;
        let doing = if is_busy(&answer.slave) {
            "; it finishes its running atoms"
        } else {
            ""
        };
        output::tell(format!(
            "Slave {} ({}) is drained{doing}.",
            slave.id, slave.url
        ));
    }
    if options.wait {
        wait(&patient, slaves).await?;
    }
    Ok(ExitCode::Success)
}

/// Has slaves take work again.
pub(crate) async fn undo(
    options: UndrainOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let slaves = chosen(client.slaves().await?, &options.slaves)?;
    for slave in slaves.values() {
        let answer = client.drain_slave(slave.id, false).await?;
        let what = match (answer.is_released, slave.is_drained) {
            (true, false) => "is released from quarantine and takes work again",
            (true, true) => {
                "is no longer drained, is released from quarantine and takes work again"
            }
            (false, true) => "takes work again",
            (false, false) => "was neither drained nor quarantined",
        };
        output::tell(format!("Slave {} ({}) {what}.", slave.id, slave.url));
    }
    Ok(ExitCode::Success)
}

/// The slaves that are meant; an error if a name means none, so that nothing is done by halves.
fn chosen(
    listed: Vec<SlaveView>,
    names: &[String],
) -> Result<BTreeMap<SlaveId, SlaveView>, Trouble> {
    let mut chosen = BTreeMap::new();
    for name in names {
        let meant = |slave: &&SlaveView| is_meant(slave, name);
        let found: Vec<&SlaveView> = listed.iter().filter(meant).collect();
        chosen.extend(found.iter().map(|slave| (slave.id, (*slave).clone())));
        if found.is_empty() {
            let trouble = Trouble {
                code: ExitCode::Usage,
                ..Trouble::new(format!("the master has no slave '{name}'"))
            };
            return Err(trouble.hint(format!(
                "name a slave by its number, its HOST:PORT or its host; `{}` lists them",
                command("slaves")
            )));
        }
    }
    Ok(chosen)
}

fn is_meant(slave: &SlaveView, name: &str) -> bool {
    let address = host_and_port(&slave.url);
    let host = address.rsplit_once(':').map(|(host, _)| host);
    let is_address = slave.url == name || address == name;
    slave.id.to_string() == name || is_address || host == Some(name)
}

/// Waits until none of the slaves has anything left. One that is not listed any more has nothing.
async fn wait(client: &Client, slaves: BTreeMap<SlaveId, SlaveView>) -> Result<(), ClientError> {
    loop {
        let listed = client.slaves().await?;
        let is_waited_for = |slave: &&SlaveView| slaves.contains_key(&slave.id) && is_busy(slave);
        if !listed.iter().any(|slave| is_waited_for(&slave)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slave(id: u64, url: &str) -> SlaveView {
        let view = serde_json::json!({
            "url": url, "id": id, "session_id": null, "num_executors": 1, "num_executors_in_use": 0,
            "current_build_id": null, "is_alive": true, "is_in_shutdown_mode": false,
        });
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_slave_is_named_by_number_address_or_host() {
        let listed = || vec![slave(1, "a:1"), slave(2, "a:2"), slave(3, "b:1")];
        let check = |names: &[&str], expected: &[u64]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = chosen(listed(), &names).unwrap();
            let found: Vec<u64> = found.keys().map(|id| id.0).collect();
            assert_eq!(found, expected, "{names:?}");
        };
        check(&["3"], &[3]);
        check(&["a:2", "2"], &[2]);
        check(&["a"], &[1, 2]);
        let unknown = chosen(listed(), &["3".to_owned(), "c".to_owned()]).unwrap_err();
        assert_eq!(unknown.code, ExitCode::Usage);
    }
}
