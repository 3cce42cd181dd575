//! What `doctor` says: each function judges what was seen of one thing. None of them looks at anything.

use crate::command::tls::Flaw;
use crate::output::text::count;
use clusterrunner_common::api::SlaveView;
use clusterrunner_common::api::secrets::SecretView;
use clusterrunner_common::text::slave_address;
use clusterrunner_common::work::IsolationLevel;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    /// As it should be.
    Good,
    /// Not in the way of builds here, or not yet.
    Odd,
    /// In the way of builds.
    Bad,
}

/// What was found about a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    /// The thing, in a word or two.
    pub(super) thing: String,
    /// How the thing is.
    pub(super) said: String,
    /// What mends it.
    pub(super) cure: Option<String>,
}

impl Finding {
    fn good(thing: &str, said: impl Into<String>) -> Self {
        Self {
            grade: Grade::Good,
            thing: thing.to_owned(),
            said: said.into(),
            cure: None,
        }
    }

    fn odd(thing: &str, said: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            grade: Grade::Odd,
            cure: Some(cure.into()),
            ..Self::good(thing, said)
        }
    }

    fn bad(thing: &str, said: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            grade: Grade::Bad,
            ..Self::odd(thing, said, cure)
        }
    }
}

/// The settings could not be read.
pub(super) fn wrong_settings(error: &str) -> Finding {
    let cure = "mend what is named there; conf/clusterrunner.conf of the project explains all keys";
    Finding::bad("settings", error, cure)
}

/// The settings were read. `exists` tells whether there is a file, or all values are the shipped ones.
pub(super) fn settings(file: &str, exists: bool) -> Finding {
    let said = match exists {
        true => file.to_owned(),
        false => format!("{file} is not there: the shipped values count"),
    };
    Finding::good("settings", said)
}

/// The secrets of builds, where there are some.
pub(super) fn secrets_of_builds(secrets: &[SecretView]) -> Option<Finding> {
    const THING: &str = "secrets";
    const CURE: &str =
        "`clusterrunner secret list` names them; `clusterrunner secret set` sets them again";
    let in_trouble = secrets.iter().filter(|secret| secret.trouble.is_some());
    let mut in_trouble = in_trouble.peekable();
    let all = u64::try_from(secrets.len()).unwrap_or(u64::MAX);
    Some(match (in_trouble.peek(), all) {
        (_, 0) => return None,
        (None, all) => Finding::good(THING, format!("{} of builds", count(all, "value"))),
        (Some(first), _) => {
            let (name, project) = (&first.name, &first.project);
            let trouble = first.trouble.as_deref().unwrap_or_default();
            let others = match in_trouble.count() {
                1 => String::new(),
                number => format!("; so are {} others", number - 1),
            };
            let said = format!("builds can not be given {name} of {project}: {trouble}{others}");
            Finding::bad(THING, said, CURE)
        }
    })
}

/// The certificates that the settings name, by what is wrong with them.
pub(super) fn certificates(flaws: &[Flaw]) -> Finding {
    const THING: &str = "certificates";
    const CURE: &str =
        "`clusterrunner tls show` lists them; `clusterrunner tls init` renews those that it made";
    if flaws.is_empty() {
        return Finding::good(THING, "valid for more than a month");
    }
    let said: Vec<&str> = flaws.iter().map(|flaw| flaw.said.as_str()).collect();
    match flaws.iter().any(|flaw| flaw.is_in_the_way) {
        true => Finding::bad(THING, said.join("; "), CURE),
        false => Finding::odd(THING, said.join("; "), CURE),
    }
}

/// A program that is needed for `purpose`, with the first line of what it says of its version.
pub(super) fn program(
    name: &str,
    version: Option<&str>,
    purpose: &str,
    is_needed: bool,
) -> Finding {
    match version {
        Some(version) => Finding::good(name, version),
        None => {
            let said = format!("is not installed; {purpose}");
            let cure = format!("install the package that has `{name}`");
            match is_needed {
                true => Finding::bad(name, said, cure),
                false => Finding::odd(name, said, cure),
            }
        }
    }
}

/// How far commands can be kept apart on this machine, where its slaves demand `wanted` of all builds. `from_sockets`: whether that is
/// so for sockets with abstract names.
pub(super) fn isolation(
    wanted: IsolationLevel,
    tried: &[(IsolationLevel, Result<(), String>)],
    from_sockets: bool,
) -> Vec<Finding> {
    let found = tried.iter().map(|(level, tried)| {
        let thing = format!("isolation {level}");
        match tried {
            Ok(()) if *level == IsolationLevel::User && !from_sockets => Finding::odd(
                &thing,
                "works here, but commands reach sockets with abstract names",
                "Linux 6.12 with Landlock keeps them away, and so does `isolation_network = False`",
            ),
            Ok(()) => Finding::good(&thing, "works here"),
            Err(why) => {
                let cure = "docs/security.md says what each level needs; a slave of another user may do more";
                match *level <= wanted {
                    true => Finding::bad(&thing, why, cure),
                    false => Finding::odd(&thing, why, cure),
                }
            }
        }
    });
    found.collect()
}

/// The directory where the daemons of this machine keep their files. `free` is in bytes, if the system says it.
pub(super) fn disk(
    directory: &str,
    can_write: Result<(), String>,
    free: Option<u64>,
    reserve: u64,
) -> Finding {
    const MIB: u64 = 1 << 20;
    const TIGHT: u64 = 2 << 30;
    if let Err(error) = can_write {
        let cure = "make it writable for this user, or set `base_directory`";
        return Finding::bad(
            "disk",
            format!("{directory} can not be written: {error}"),
            cure,
        );
    }
    let Some(free) = free else {
        return Finding::good("disk", format!("{directory} can be written"));
    };
    let said = format!("{directory} has {} MiB free", free / MIB);
    if free < reserve {
        let cure = format!(
            "free some: daemons here take no work below {} MiB (`min_free_space`)",
            reserve / MIB
        );
        return Finding::bad("disk", said, cure);
    }
    match free < reserve.saturating_add(TIGHT) {
        true => Finding::odd(
            "disk",
            said,
            "free some: repositories, results and templates lie there",
        ),
        false => Finding::good("disk", said),
    }
}

/// The name under which other machines are told to call this one, and its addresses.
pub(super) fn name(host: &str, addresses: Result<&[String], String>) -> Finding {
    let cure = "set `hostname` to a name or address of this machine that the others know";
    match addresses {
        Ok([]) => Finding::odd("name", format!("{host} has no address"), cure),
        Ok(addresses) => {
            let only_here = addresses
                .iter()
                .all(|one| one.starts_with("127.") || one == "::1");
            let remark = if only_here {
                ", which only this machine reaches"
            } else {
                ""
            };
            Finding::good(
                "name",
                format!("{host} is {}{remark}", addresses.join(", ")),
            )
        }
        Err(error) => Finding::odd("name", format!("{host} has no address: {error}"), cure),
    }
}

/// No master answers. `holder` has the port where one would listen on this machine.
pub(super) fn no_master(
    address: &str,
    is_here: bool,
    holder: Option<&str>,
    error: &str,
) -> Finding {
    if !is_here {
        let cure = "start the master there with `clusterrunner master`, let its port through the firewall, or name \
                    another one with --master-url";
        return Finding::bad(
            "master",
            format!("{address} does not answer: {error}"),
            cure,
        );
    }
    match holder {
        Some(holder) => {
            let cure = "set another `port`, or end that program";
            Finding::odd("master", format!("none runs here. {holder}"), cure)
        }
        None => Finding::odd(
            "master",
            format!("none runs at {address}, and its port is free"),
            "nothing needs mending: `clusterrunner build` starts one, `clusterrunner master` one for a farm",
        ),
    }
}

/// A master answers, with its version.
pub(super) fn master(address: &str, version: &str, own_version: &str) -> Finding {
    let said = format!("{address} answers, version {version}");
    match version == own_version {
        true => Finding::good("master", said),
        false => Finding::odd(
            "master",
            format!("{said}; this program has {own_version}"),
            "run one version on all machines",
        ),
    }
}

/// Whether the master takes what is signed here; `None` where there is nothing to sign with.
pub(super) fn secret(file: &str, takes_it: Option<Result<bool, String>>) -> Finding {
    match takes_it {
        Some(Ok(true)) => Finding::good("secret", "the master takes it"),
        Some(Ok(false)) => Finding::bad(
            "secret",
            "the master refuses it, or the clocks are too far apart",
            format!("copy the line `secret = ...` of the master's settings to {file}"),
        ),
        Some(Err(error)) => Finding::bad("secret", error, "look into the master's log"),
        None => Finding::odd(
            "secret",
            "there is none, so this user can only read",
            format!(
                "a slave that has joined needs none; to do more here, copy the line `secret = ...` of the master's \
                 settings to {file}, or ask with --token"
            ),
        ),
    }
}

/// How many seconds this machine's clock is ahead of the master's, give or take a second, and how old a signature
/// may be.
pub(super) fn clock(ahead: f64, max_age: f64) -> Finding {
    let direction = if ahead < 0.0 { "behind" } else { "ahead of" };
    let said = format!("{:.0} s {direction} the master's", ahead.abs());
    let cure = "let both machines follow a time server, as with chrony or systemd-timesyncd";
    if ahead.abs() <= 2.0 {
        Finding::good("clock", "agrees with the master's")
    } else if ahead.abs() < max_age {
        Finding::odd("clock", said, cure)
    } else {
        let said =
            format!("{said}: signatures are refused from {max_age:.0} s on (`signature_max_age`)");
        Finding::bad("clock", said, cure)
    }
}

/// The master does not list its slaves.
pub(super) fn unknown_slaves(error: &str) -> Finding {
    let cure =
        "with `require_signed_reads` the master needs the secret, a token or the `read_token`";
    Finding::bad(
        "slaves",
        format!("the master does not list them: {error}"),
        cure,
    )
}

/// How many slaves there are for work.
pub(super) fn slaves(slaves: &[SlaveView]) -> Finding {
    let takes_work = |slave: &&SlaveView| {
        slave.is_alive && !slave.is_drained && !slave.is_quarantined && !slave.is_in_shutdown_mode
    };
    let at_work: Vec<&SlaveView> = slaves.iter().filter(takes_work).collect();
    let executors: u64 = at_work
        .iter()
        .map(|slave| u64::from(slave.num_executors))
        .sum();
    let number = u64::try_from(at_work.len()).unwrap_or(u64::MAX);
    let said = format!(
        "{} with {}",
        count(number, "slave"),
        count(executors, "executor")
    );
    match number {
        0 => Finding::bad(
            "slaves",
            "none takes work, so builds wait",
            "start one on some machine: `clusterrunner slave --master-url MASTER:PORT`",
        ),
        _ => Finding::good("slaves", said),
    }
}

/// What the master says of a slave that an operator shut out.
const REVOKED: &str = "key was revoked";

/// A slave, and whether it can be reached from here: `Err` says why not. From the master's machine it must be.
pub(super) fn slave(
    slave: &SlaveView,
    reached: Result<(), String>,
    is_from_master: bool,
) -> Finding {
    let thing = format!("slave {}", slave.id);
    let url = &slave.url;
    if slave.is_stopped {
        let said = format!("{url} was stopped; the master forgets it in time");
        return Finding::good(&thing, said);
    }
    if !slave.is_alive {
        let reason = match &slave.lost_reason {
            None => "the master hears nothing of it",
            Some(reason) => reason.as_str(),
        };
        if reason.contains(REVOKED) {
            return Finding::odd(
                &thing,
                format!("{url} is shut out: {reason}"),
                "`clusterrunner slaves keys` shows when; `clusterrunner slaves revoke --undo` takes it back, and a new key \
                 joins by the way that docs/slaves.md tells",
            );
        }
        return Finding::odd(
            &thing,
            format!("{url} is lost: {reason}"),
            "look into the slave's log; on its machine `clusterrunner doctor --master-url MASTER:PORT` tells more",
        );
    }
    if slave.is_quarantined {
        let reason = slave.quarantine_reason.as_deref().unwrap_or("it is sick");
        let cure = format!(
            "mend that; `clusterrunner undrain {}` tries it at once",
            slave.id
        );
        return Finding::bad(&thing, format!("{url} is quarantined: {reason}"), cure);
    }
    if slave.is_drained {
        let cure = format!("`clusterrunner undrain {}`", slave.id);
        return Finding::odd(&thing, format!("{url} is drained: it takes no work"), cure);
    }
    if slave_address::polls(url) {
        let said = format!(
            "{url} can not be called: the master hears of it, and calls it through its polls"
        );
        return Finding::good(&thing, said);
    }
    match reached {
        Ok(()) => Finding::good(&thing, format!("{url} answers, and the master hears of it")),
        Err(error) if is_from_master => Finding::bad(
            &thing,
            format!("{url} calls the master, which can not call it: {error}"),
            "let the slave's port through its firewall, or set `hostname` in the slave's settings to a name that the \
             master knows",
        ),
        Err(error) => Finding::odd(
            &thing,
            format!("{url} can not be called from here, and only the master has to: {error}"),
            "run `clusterrunner doctor` on the master's machine to see whether the master can",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_what_a_header_can_not_tell() {
        for (ahead, grade) in [
            (0.0, Grade::Good),
            (-2.0, Grade::Good),
            (3.0, Grade::Odd),
            (-299.0, Grade::Odd),
            (300.0, Grade::Bad),
            (-4000.0, Grade::Bad),
        ] {
            assert_eq!(clock(ahead, 300.0).grade, grade, "{ahead}");
        }
        assert!(clock(-10.0, 300.0).said.contains("10 s behind"));
    }

    #[test]
    fn a_disk_is_judged_by_what_daemons_need() {
        const GIB: u64 = 1 << 30;
        let free = |bytes| disk("/b", Ok(()), Some(bytes), GIB).grade;
        assert_eq!(free(GIB - 1), Grade::Bad);
        assert_eq!(free(GIB), Grade::Odd);
        assert_eq!(free(4 * GIB), Grade::Good);
        assert_eq!(
            disk("/b", Err("no".to_owned()), Some(9 * GIB), GIB).grade,
            Grade::Bad
        );
    }

    fn view(change: fn(&mut SlaveView)) -> SlaveView {
        let mut slave: SlaveView = serde_json::from_value(serde_json::json!({
            "url": "s:1", "id": 7, "session_id": null, "num_executors": 4, "num_executors_in_use": 0,
            "current_build_id": null, "is_alive": true, "is_in_shutdown_mode": false,
        }))
        .unwrap();
        change(&mut slave);
        slave
    }

    #[test]
    fn slaves_that_take_no_work_do_not_count_and_say_why() {
        let (fine, lost) = (view(|_| ()), view(|slave| slave.is_alive = false));
        let drained = view(|slave| slave.is_drained = true);
        let sick = view(|slave| slave.is_quarantined = true);
        let stopped = view(|slave| (slave.is_alive, slave.is_stopped) = (false, true));
        let away = [lost.clone(), drained.clone(), sick.clone()];
        assert_eq!(slaves(&away).grade, Grade::Bad);
        assert_eq!(
            slaves(&[fine.clone(), drained.clone()]).said,
            "1 slave with 4 executors"
        );
        for (seen, grade) in [
            (&fine, Grade::Good),
            (&lost, Grade::Odd),
            (&stopped, Grade::Good),
            (&drained, Grade::Odd),
            (&sick, Grade::Bad),
        ] {
            let found = slave(seen, Ok(()), true);
            assert_eq!(
                (found.grade, found.cure.is_some()),
                (grade, grade != Grade::Good)
            );
        }
        let cut_off = || Err("refused".to_owned());
        assert_eq!(slave(&fine, cut_off(), true).grade, Grade::Bad);
        assert_eq!(slave(&fine, cut_off(), false).grade, Grade::Odd);
    }

    #[test]
    fn what_is_missing_is_bad_only_where_it_is_needed() {
        assert_eq!(
            program("bash", None, "runs commands", true).grade,
            Grade::Bad
        );
        assert_eq!(
            program("git", None, "serves pushes", false).grade,
            Grade::Odd
        );
        assert_eq!(no_master("m:1", false, None, "refused").grade, Grade::Bad);
        assert_eq!(no_master("m:1", true, None, "refused").grade, Grade::Odd);
        assert_eq!(secret("f", None).grade, Grade::Odd);
        assert_eq!(secret("f", Some(Ok(false))).grade, Grade::Bad);
        assert_eq!(master("m:1", "1", "2").grade, Grade::Odd);
    }
}
