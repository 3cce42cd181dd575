//! The script of a job: a slave with a directory of its own, which ends before its job does.

use super::super::provider::Order;
use clusterrunner_common::settings::SlurmPool;
use std::fmt::Write as _;

/// How many seconds before the end of its job a slave that still runs something is ended without waiting for that: then
/// what it runs goes back to the queue, and no atom is blamed.
const HURRY: u64 = 20;

/// What the master sets, whatever the options say: by it jobs are found, and slaves end in time.
fn own_options(settings: &SlurmPool, order: &Order) -> Vec<String> {
    let drain = settings.drain_before.as_secs();
    vec![
        format!("--job-name={}", order.name),
        format!("--comment=ClusterRunner pool {}", order.pool),
        // A job that runs again would have a token that is used up.
        "--no-requeue".to_owned(),
        format!("--signal=B:TERM@{drain}"),
        "--export=PATH,HOME,USER,LANG".to_owned(),
    ]
}

/// The script for `sbatch`.
#[must_use]
pub(super) fn script(settings: &SlurmPool, order: &Order) -> String {
    let mut options = vec![
        "--chdir=/tmp".to_owned(),
        "--output=/dev/null".to_owned(),
        format!("--cpus-per-task={}", order.executors),
    ];
    let named = [
        ("partition", &settings.partition),
        ("account", &settings.account),
        ("time", &settings.time_limit),
    ];
    options.extend(
        named
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("--{name}={value}"))),
    );
    // Of an option that is there twice the last one counts.
    options.extend(settings.options.iter().cloned());
    options.extend(own_options(settings, order));
    let mut script = "#!/bin/bash\n".to_owned();
    for option in options {
        // A blank would end an option that has a value behind `=`.
        let option = match option.split_once('=') {
            Some((name, value)) if value.contains(char::is_whitespace) => {
                format!("{name}=\"{value}\"")
            }
            _ => option,
        };
        line(&mut script, format_args!("#SBATCH {option}"));
    }
    script.push_str(BEGINNING);
    for (name, value) in &order.environment {
        line(&mut script, format_args!("export {name}={}", quoted(value)));
    }
    let token = quoted(&order.join_token);
    line(
        &mut script,
        format_args!("printf '%s\\n' {token} >\"$home/join_token\""),
    );
    let hurry = settings.drain_before.as_secs().saturating_sub(HURRY).max(1);
    line(&mut script, format_args!("hurry={hurry}"));
    line(&mut script, format_args!("{} &", settings.slave_command));
    script.push_str(END);
    script
}

/// Nobody else reads what the slave keeps, and it goes with the job.
const BEGINNING: &str = r#"
umask 077
home=$(mktemp -d "${TMPDIR:-/tmp}/clusterrunner.XXXXXXXX") || exit 1
trap 'rm -rf "$home"' EXIT
export CLUSTERRUNNER_BASE_DIRECTORY="$home" CLUSTERRUNNER_JOIN_TOKEN_FILE="$home/join_token"
export CLUSTERRUNNER_DRAIN_ON_STOP=True
"#;

/// The first TERM comes before the time limit: the slave finishes what it runs. The second one ends it at once.
const END: &str = r#"slave=$!
stop() {
    kill -TERM "$slave" 2>/dev/null
    (sleep "$hurry"; kill -TERM "$slave" 2>/dev/null) &
    hurrying=$!
}
trap stop TERM
while kill -0 "$slave" 2>/dev/null; do
    wait "$slave"
done
kill "$hurrying" 2>/dev/null
exit 0
"#;

#[expect(clippy::expect_used, reason = "a text takes all that is written to it")]
fn line(script: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(script, "{line}").expect("a text takes all that is written to it");
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn the_script_has_the_options_and_the_token_and_drains_in_time() {
        let settings = SlurmPool {
            partition: Some("long".to_owned()),
            account: None,
            time_limit: Some("1:00:00".to_owned()),
            drain_before: Duration::from_secs(120),
            options: vec!["--mem=8G".to_owned(), "--output=/tmp/%x.log".to_owned()],
            slave_command: "clusterrunner slave".to_owned(),
            timeout: Duration::from_secs(60),
        };
        let order = Order {
            name: "cr-f-a-1".to_owned(),
            pool: "a".to_owned(),
            farm: "f".to_owned(),
            master_url: "m:1".to_owned(),
            executors: 4,
            labels: Vec::new(),
            join_token: "7-abc".to_owned(),
            environment: BTreeMap::from([("CLUSTERRUNNER_LABELS", "it's".to_owned())]),
        };
        assert!(!format!("{order:?}").contains("7-abc"));
        let script = script(&settings, &order);
        for expected in [
            "#SBATCH --partition=long\n",
            "#SBATCH --time=1:00:00\n",
            "#SBATCH --cpus-per-task=4\n",
            "#SBATCH --signal=B:TERM@120\n",
            "#SBATCH --job-name=cr-f-a-1\n",
            "#SBATCH --comment=\"ClusterRunner pool a\"\n",
            "export CLUSTERRUNNER_LABELS='it'\\''s'\n",
            "printf '%s\\n' '7-abc' >\"$home/join_token\"\n",
            "hurry=100\nclusterrunner slave &\nslave=$!\n",
        ] {
            assert!(script.contains(expected), "{expected}: {script}");
        }
        let output = script.find("--output=/tmp/%x.log");
        assert!(output > script.find("--output=/dev/null"), "{script}");
        assert!(!script.contains("--account"));
    }
}
