//! How slaves of the original connect and report. They sign nothing, so none of them can take the place of a slave
//! that signs.

use crate::coordinator::Gone;
use crate::http::clusterrunner::Api;
use crate::http::clusterrunner::error::ApiError;
use crate::http::clusterrunner::joining::check_slave;
use clusterrunner_common::api::{ConnectAnswer, ConnectRequest, StateReportBody};
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::ids::{SessionId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{Fact, SlaveFact};
use clusterrunner_core::slaves::slave::Slave;

/// A slave joins the farm.
pub(in crate::http::clusterrunner) async fn connect(
    api: &Api,
    request: ConnectRequest,
) -> Result<ConnectAnswer, ApiError> {
    if request.protocol.is_some() {
        return Err(ApiError::MustSign(SignatureError::Missing));
    }
    let mut schemes = ["http://", "https://"].into_iter();
    let address = schemes.find_map(|scheme| request.slave.strip_prefix(scheme));
    check_slave(address.unwrap_or(&request.slave), request.num_executors)?;
    let session = request.session_id.unwrap_or(SessionId(String::new()));
    if session.0.len() > 128 || !session.0.bytes().all(|byte| byte.is_ascii_graphic()) {
        let error = "Field 'session_id' must be a text of at most 128 characters.";
        return Err(ApiError::invalid(error));
    }
    let connected = api.cluster.command(Command::ConnectLegacySlave {
        url: request.slave,
        session,
        num_executors: request.num_executors,
    });
    let new = connected.await?.iter().find_map(|event| match &event.fact {
        Fact::Slave(slave, SlaveFact::Connected { .. }) => Some(*slave),
        _ => None,
    });
    Ok(ConnectAnswer {
        identity: None,
        status: "SUCCESS".to_owned(),
        slave_id: new.ok_or(Gone)?.to_string(),
        protocol: None,
        resumed: false,
        wanted: Vec::new(),
        master: None,
    })
}

/// Whether a slave that gives a sign of life is still part of the farm.
pub(in crate::http::clusterrunner) async fn is_alive(
    api: &Api,
    slave: SlaveId,
) -> Result<bool, ApiError> {
    let known = api
        .cluster
        .read(move |cluster| cluster.known_legacy_slave(slave).map(Slave::is_alive));
    Ok(known.await??)
}

/// A slave says how far it is with the build that it has, or that it ends.
pub(in crate::http::clusterrunner) async fn report(
    api: &Api,
    slave: SlaveId,
    report: StateReportBody,
) -> Result<(), ApiError> {
    let said = super::said(report.state);
    let meant = move |cluster: &Cluster| cluster.legacy_command(slave, said);
    if let Some(command) = api.cluster.read(meant).await?? {
        api.cluster.command(command).await?;
    }
    Ok(())
}
