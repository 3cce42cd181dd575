//! The user that commands run as, and what is given to it.

use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::process::confinement::Account;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user of this name, as the system knows it: files, directories, whatever it asks.
pub(super) fn account_of(name: &str) -> Result<Account, String> {
    if name.starts_with('-') {
        return Err(format!("`run_as` names no user: {name}"));
    }
    let uid = asked("-u", name)?;
    let gid = asked("-g", name)?;
    let groups = asked("-G", name)?;
    let numbers = |text: &str| -> Option<Vec<u32>> {
        let numbers = text.split_whitespace().map(|number| number.parse().ok());
        numbers.collect()
    };
    let account = (|| {
        Some(Account {
            uid: uid.trim().parse().ok()?,
            gid: gid.trim().parse().ok()?,
            groups: numbers(&groups)?,
        })
    })();
    match account {
        Some(Account { uid: 0, .. }) => Err("`run_as` names root".to_owned()),
        Some(account) => Ok(account),
        None => Err(format!("`id {name}` says what is no number")),
    }
}

fn asked(what: &str, name: &str) -> Result<String, String> {
    let asked = Command::new("id").args([what, "--", name]).output();
    let output = asked.map_err(|error| format!("`id` can not be run to find {name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("`run_as` names no user of this machine: {name}")),
    }
}

/// Whether a user may make files in a directory with this owner, group and mode.
pub(super) fn may_write(account: &Account, (uid, gid): (u32, u32), mode: u32) -> bool {
    let is_of_group = account.gid == gid || account.groups.contains(&gid);
    let needed = match (account.uid == uid, is_of_group) {
        (true, _) => 0o300,
        (false, true) => 0o030,
        (false, false) => 0o003,
    };
    mode & needed == needed
}

/// Gives a directory with all in it to a user, also while somebody changes it. No link is followed. A file of several names is
/// not given: another name may lie elsewhere.
pub(super) fn give_tree(directory: &Path, account: &Account) -> io::Result<()> {
    let top = Beneath::open(directory)?;
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let here = match top.directory(&relative) {
            Ok(here) => here,
            // It was there just now; whatever has taken its place is not given.
            Err(_) if !relative.as_os_str().is_empty() => continue,
            Err(error) => return Err(error),
        };
        here.give(account.uid, account.gid)?;
        for (name, is_directory) in here.entries()? {
            if is_directory {
                waiting.push(relative.join(name));
                continue;
            }
            here.give_entry(&name, account.uid, account.gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_write_follows_from_owner_group_and_mode() {
        let account = Account {
            uid: 7,
            gid: 70,
            groups: vec![70, 71],
        };
        for (owner, mode, may) in [
            ((7, 1), 0o755, true),
            ((7, 1), 0o577, false),
            ((1, 70), 0o775, true),
            ((1, 71), 0o775, true),
            ((1, 71), 0o757, false),
            ((1, 1), 0o755, false),
            ((1, 1), 0o1777, true),
        ] {
            assert_eq!(may_write(&account, owner, mode), may, "{owner:?} {mode:o}");
        }
    }
}
