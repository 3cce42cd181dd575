//! The user that commands run as, and what is given to it.

use clusterrunner_common::process::confinement::Account;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
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

/// Gives a directory with all in it to a user. No link is followed. A file of several names is not given: another name may lie
/// elsewhere.
pub(super) fn give_tree(directory: &Path, account: &Account) -> io::Result<()> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        give(&directory, &fs::symlink_metadata(&directory)?, account)?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                waiting.push(entry.path());
            } else if found.nlink() == 1 {
                give(&entry.path(), &found, account)?;
            }
        }
    }
    Ok(())
}

fn give(path: &Path, found: &Metadata, account: &Account) -> io::Result<()> {
    if (found.uid(), found.gid()) == (account.uid, account.gid) {
        return Ok(());
    }
    lchown(path, Some(account.uid), Some(account.gid))
}
