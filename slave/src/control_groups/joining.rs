//! Making room for control groups of the second version. A group that hands controllers on to groups in it has no processes of
//! its own: a slave whose group was given to it alone, as by systemd (`Delegate=yes`), goes into a group within that.

use super::error::ControlGroupError;
use super::hierarchy::{Controller, OWN_GROUP};
use std::fs;
use std::io;
use std::path::Path;

/// Sees to it that groups in this one can have this controller.
///
/// # Errors
/// Why they can not.
pub(super) fn hand_on(parent: &Path, controller: Controller) -> Result<(), ControlGroupError> {
    let has = |file: &str, controller: Controller| {
        let text = fs::read_to_string(parent.join(file)).unwrap_or_default();
        text.split_whitespace().any(|one| one == controller.name())
    };
    if has("cgroup.subtree_control", controller) {
        return Ok(());
    }
    let group = parent.to_owned();
    if !has("cgroup.controllers", controller) {
        return Err(ControlGroupError::NotGiven { group, controller });
    }
    let those = Controller::ALL
        .into_iter()
        .filter(|one| has("cgroup.controllers", *one));
    let order: Vec<String> = those.map(|one| format!("+{}", one.name())).collect();
    let order = order.join(" ");
    let write = || fs::write(parent.join("cgroup.subtree_control"), &order);
    if write().is_ok() {
        return Ok(());
    }
    move_aside(parent)?;
    write().map_err(|source| ControlGroupError::NotDivided { group, source })
}

/// Puts this process, and those that it has started, into a group of their own.
fn move_aside(parent: &Path) -> Result<(), ControlGroupError> {
    let failed = |source: io::Error| ControlGroupError::NotLeft {
        group: parent.to_owned(),
        source,
    };
    let members = fs::read_to_string(parent.join("cgroup.procs")).map_err(failed)?;
    let members: Vec<u32> = members.lines().filter_map(|pid| pid.parse().ok()).collect();
    if let Some(stranger) = members.iter().find(|pid| !is_ours(**pid)) {
        return Err(ControlGroupError::Shared {
            group: parent.to_owned(),
            process: *stranger,
        });
    }
    let own = parent.join(OWN_GROUP);
    if let Err(error) = fs::create_dir(&own)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed(error));
    }
    for pid in members {
        let moved = fs::write(own.join("cgroup.procs"), pid.to_string());
        // It may have ended meanwhile.
        if let Err(error) = moved
            && is_ours(pid)
        {
            return Err(failed(error));
        }
    }
    Ok(())
}

/// Whether a process is this one or below it.
fn is_ours(mut pid: u32) -> bool {
    while pid > 1 {
        if pid == std::process::id() {
            return true;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let group = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(group.path().join(file), text).unwrap();
        write("cgroup.controllers", "cpu pids\n");
        write("cgroup.subtree_control", "");
        let missing = hand_on(group.path(), Controller::Memory)
            .unwrap_err()
            .to_string();
        assert!(missing.contains("controller memory"), "{missing}");
        hand_on(group.path(), Controller::Pids).unwrap();
        let order = fs::read_to_string(group.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(order, "+pids +cpu");
    }

    #[test]
    fn only_a_group_of_ones_own_is_left() {
        let group = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let members = group.path().join("cgroup.procs");
        fs::write(&members, format!("{own}\n1\n")).unwrap();
        let refused = move_aside(group.path()).unwrap_err().to_string();
        assert!(refused.contains("process 1 is there, too"), "{refused}");
        assert!(refused.contains("Delegate=yes"), "{refused}");
        fs::write(&members, format!("{own}\n")).unwrap();
        move_aside(group.path()).unwrap();
        let moved = group.path().join(OWN_GROUP).join("cgroup.procs");
        assert_eq!(fs::read_to_string(moved).unwrap(), own.to_string());
    }
}
