//! `clusterrunner audit`: who asked for what, and whether the log of that is whole.

use crate::farm::{connect, impatient};
use crate::options::{AuditOptions, CommonOptions};
use crate::output::table::{Cell, Table};
use crate::output::text::count;
use crate::output::{self, BAD, FAINT, GOOD, styled};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::audit::AuditVerification;

/// Lists entries, or verifies all of them.
pub(crate) async fn run(options: AuditOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    if options.verify {
        return verify(&client, options.expect.as_deref(), options.json).await;
    }
    let body = client.audit(options.by.as_deref(), options.limit).await;
    let body = body.map_err(of_accounts)?;
    if options.json {
        output::say_versioned(&body);
        return Ok(ExitCode::Success);
    }
    if body.entries.is_empty() {
        output::say("The audit log has no such entries.");
        return Ok(ExitCode::Success);
    }
    let mut table = Table::new(&["", "WHEN", "BY", "FROM", "WHAT"]);
    for entry in &body.entries {
        table.add([
            Cell::styled(FAINT, entry.number.to_string()),
            Cell::from(moment(entry.at)),
            Cell::from(entry.by.clone()),
            Cell::from(entry.from.clone().unwrap_or_default()),
            Cell::from(entry.what.clone()),
        ]);
    }
    table.print();
    Ok(ExitCode::Success)
}

/// A moment as everybody reads it: `2026-11-30 14:02:11Z`.
fn moment(at: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let moment = jiff::Timestamp::from_second(at as i64).unwrap_or(jiff::Timestamp::MAX);
    moment.to_string().replace('T', " ")
}

async fn verify(
    client: &Client,
    expected: Option<&str>,
    is_json: bool,
) -> Result<ExitCode, Trouble> {
    let verified = client.verify_audit(expected).await.map_err(of_accounts)?;
    let is_whole = verified.fault.is_none() && verified.has_expected != Some(false);
    if is_json {
        output::say_versioned(&verified);
    } else {
        tell(&verified, is_whole);
    }
    Ok(match is_whole {
        true => ExitCode::Success,
        false => ExitCode::AtomsFailed,
    })
}

fn tell(verified: &AuditVerification, is_whole: bool) {
    if let Some(fault) = &verified.fault {
        let said = format!("entry {}: {}", fault.number, fault.what);
        output::say(styled(BAD, said));
    }
    if verified.has_expected == Some(false) {
        let said =
            "the expected hash is not in the log: what it was the hash of is gone or was changed";
        output::say(styled(BAD, said));
    }
    let entries = count(verified.entries, "entry");
    let since = match verified.first {
        0 => String::new(),
        first => format!(", from number {first} on; older ones have made room for them"),
    };
    if is_whole {
        output::say(styled(GOOD, format!("The log is whole: {entries}{since}.")));
    } else {
        output::say(format!("The log has {entries}."));
    }
    output::say(format!("hash: {}", verified.head));
}
