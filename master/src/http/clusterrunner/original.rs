//! Which calls of the original's slaves and clients pass with which proof, and what its slaves'
//! words mean.

pub(super) mod slaves;
pub(super) mod uploads;

use super::requests::Kind;
use axum::http::Method;
use clusterrunner_common::api::SlaveState;
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_core::slaves::legacy::LegacyReport;

/// What the log says at each start with `accept_legacy_peers`.
pub(crate) const LEGACY_WARNING: &str = "accept_legacy_peers is on: anybody who reaches this port can register \
    a slave of the original, which is given builds, and forge the results of such slaves; and \
    anybody who sees their other calls, or an order to shut slaves down, can replay them. Turn it off \
    when the migration is over (docs/migration.md)";

/// The proof that the original sends with a request, path without a slash at its end.
#[must_use]
pub(crate) fn legacy_proof(method: &Method, path: &str) -> Proof {
    match Kind::of(method, path) {
        Kind::ConnectSlave | Kind::DeliverResult => Proof::Nothing,
        Kind::ReportState | Kind::Heartbeat | Kind::ShutDownSlaves | Kind::ShutDownSlave => {
            Proof::BodyDigest
        }
        Kind::Options
        | Kind::Read
        | Kind::SubmitBuild
        | Kind::SendWorkingTree
        | Kind::ChangeBuild
        | Kind::OurSlaves
        | Kind::Accounts
        | Kind::Audit
        | Kind::Launching
        | Kind::Other => Proof::Bound,
    }
}

/// What a slave of the original says with a state.
const fn said(state: SlaveState) -> LegacyReport {
    match state {
        SlaveState::SetupComplete => LegacyReport::SetUp,
        SlaveState::SetupFailed => LegacyReport::SetupFailed,
        SlaveState::Idle => LegacyReport::TornDown,
        SlaveState::Disconnected => LegacyReport::Ending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Proof) {
        assert_eq!(legacy_proof(&method, path), expected, "{method} {path}");
    }

    #[test]
    fn each_call_has_the_proof_that_the_original_sends() {
        use Proof::{BodyDigest, Bound, Nothing};
        for (v, s) in [("/v1", ""), ("", "s"), ("/v2", "s")] {
            check(Method::POST, &format!("{v}/slave{s}"), Nothing);
            let result = format!("{v}/build{s}/1/subjob{s}/0/result");
            check(Method::POST, &result, Nothing);
            check(Method::PUT, &result, Bound);
            check(Method::PUT, &format!("{v}/slave{s}/1"), BodyDigest);
            check(Method::POST, &format!("{v}/slave{s}/1"), Bound);
            check(Method::POST, &format!("{v}/slave{s}/shutdown"), BodyDigest);
            check(
                Method::POST,
                &format!("{v}/slave{s}/1/shutdown"),
                BodyDigest,
            );
            check(
                Method::POST,
                &format!("{v}/slave{s}/1/heartbeat"),
                BodyDigest,
            );
            check(Method::POST, &format!("{result}/more"), Bound);
            check(Method::DELETE, &format!("{v}/slave{s}/1"), Bound);
        }
        check(Method::POST, "/v1/unknown", Bound);
        check(Method::POST, "", Bound);
    }
}
