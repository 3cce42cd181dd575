//! `clusterrunner doctor`: looks at this machine and its farm, and says how to mend what is wrong.

mod findings;
mod looks;

use crate::command::tls;
use crate::farm;
use crate::options::{CommonOptions, DoctorOptions};
use crate::output::table::{Cell, Table};
use crate::output::text::count;
use crate::output::{self, BAD, GOOD, NOTICE, styled};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::text::printable::plain;
use findings::{Finding, Grade};

/// Looks at everything and says what was found.
pub(crate) async fn run(
    options: DoctorOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let mut found = looks::programs();
    match Settings::load(&common)
        .and_then(|settings| settings.with_token(options.master.token.as_ref()))
    {
        Err(trouble) => found.push(findings::wrong_settings(&trouble.message)),
        Ok(settings) => {
            found.push(findings::settings(
                &settings.file.display().to_string(),
                settings.file.exists(),
            ));
            found.push(looks::disk(&settings));
            found.push(looks::name(&settings).await);
            found.extend(looks::isolation(&common).await);
            found.extend(tls::flaws(&settings).map(|flaws| findings::certificates(&flaws)));
            let address = match options.master.with_port(settings.port) {
                Some(address) => address,
                None => farm::find(&settings).await?,
            };
            found.extend(looks::farm(&address, &settings).await?);
        }
    }
    Ok(show(&found))
}

fn show(found: &[Finding]) -> ExitCode {
    let mut table = Table::indented();
    for finding in found {
        let (style, grade) = match finding.grade {
            Grade::Good => (GOOD, "ok"),
            Grade::Odd => (NOTICE, "note"),
            Grade::Bad => (BAD, "wrong"),
        };
        table.add([
            Cell::styled(style, grade),
            finding.thing.as_str().into(),
            plain(&finding.said).into_owned().into(),
        ]);
        if let Some(cure) = &finding.cure {
            table.add(["".into(), "".into(), format!("  {}", plain(cure)).into()]);
        }
    }
    table.print();
    let wrong = found.iter().filter(|finding| finding.grade == Grade::Bad);
    match u64::try_from(wrong.count()).unwrap_or(u64::MAX) {
        0 => {
            output::say(styled(GOOD, "nothing is in the way of builds"));
            ExitCode::Success
        }
        number => {
            output::say(styled(BAD, count(number, "problem")));
            ExitCode::AtomsFailed
        }
    }
}
