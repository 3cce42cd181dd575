//! The first process behind the walls. When it ends, so does all that is there.

use super::confined::{Confined, Word, leave_streams};
use super::{NOT_CONFINED_EXIT_CODE, Walls, calls, failed, filter, scope, walls};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, setrlimit, umask, wait};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};
use std::io::{PipeWriter, Write as _};

/// Puts the walls up, starts the command, and waits for all that lose their parents.
pub(super) fn be(walls: &Walls, confined: Confined, mut to_say: PipeWriter) -> ! {
    let command = match start(walls, &confined, &to_say) {
        Ok(command) => command,
        Err(reason) => fail(reason, &mut to_say),
    };
    drop(confined);
    leave_streams();
    if walls.account.is_some() {
        // Only now: it took power to start a command that is another user.
        keep_to_itself(walls).ok();
    }
    let mut status = None;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, ended))) if pid == command => {
                status = Some(ended.as_raw());
                break;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    let is_alone = is_alone();
    let status = status.unwrap_or(libc::SIGKILL);
    to_say
        .write_all(&Word::Ended { status, is_alone }.bytes())
        .ok();
    drop(to_say);
    if !is_alone {
        // Until the last one has gone, or who started all of this ends it.
        while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    }
    std::process::exit(0);
}

/// Whether nothing is left. What has ended already is waited for.
fn is_alone() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn fail(reason: String, to_say: &mut PipeWriter) -> ! {
    to_say.write_all(&Word::Failed(reason).bytes()).ok();
    std::process::exit(NOT_CONFINED_EXIT_CODE)
}

fn start(walls: &Walls, confined: &Confined, to_say: &PipeWriter) -> Result<Pid, String> {
    if !walls.network {
        let up = calls::bring_loopback_up();
        up.map_err(|error| failed("bring its own loopback up", None, error))?;
    }
    // The command's user is to get through to what is put back over the covers.
    let inherited = umask(Mode::WGRP | Mode::WOTH);
    let put_up = walls::put_up(walls);
    umask(inherited);
    put_up?;
    let cannot = |error: Errno| failed("keep it from getting more rights", None, error);
    set_no_new_privs(true).map_err(cannot)?;
    if walls.account.is_none() {
        // Before there is a command: it never sees this process as it was.
        let kept = keep_to_itself(walls);
        kept.map_err(|error| failed("keep itself from the command", None, error))?;
    }
    let child = calls::fork().map_err(|error| failed("start a process", None, error))?;
    if let Some(child) = child {
        return Ok(child);
    }
    let left = leave_rest()
        .and_then(|()| become_user(walls))
        .and_then(|()| narrow(walls));
    let reason = match left {
        Ok(()) => confined.become_it(),
        Err(reason) => reason,
    };
    let mut to_say = to_say;
    to_say.write_all(&Word::Failed(reason).bytes()).ok();
    std::process::exit(NOT_CONFINED_EXIT_CODE)
}

/// Leaves what walls do not keep away: keys of the slave's session, and whoever takes what is left of processes that crash, who
/// reads it as root.
fn leave_rest() -> Result<(), String> {
    let left = calls::leave_keyring();
    left.map_err(|error| failed("leave the keyring of the slave", None, error))?;
    let limit = |bytes| {
        let both = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(Resource::Core, both)
    };
    // With this limit, and no other, the system gives it neither to a file nor to a program. Who has less may not have it
    // without power; with none a program of the machine still gets it.
    let limited = limit(1).or_else(|_| limit(0));
    limited.map_err(|error| failed("keep crashes to itself", None, error))
}

/// Keeps the command from what it needs no rights for. Nothing of ours may come behind it.
fn narrow(walls: &Walls) -> Result<(), String> {
    let left = scope::leave_abstract_sockets();
    left.map_err(|error| failed("keep it from sockets with abstract names", None, error))?;
    let refused = filter::refuse_calls(filter::Openings {
        nested_sandboxes: walls.nested_sandboxes,
        network: walls.network,
    });
    refused.map_err(|error| failed("keep it from calls of the system", None, error))
}

/// What is left of power goes with this.
fn become_user(walls: &Walls) -> Result<(), String> {
    let failed = |error: Errno| failed("become the user of the commands", None, error);
    if let Some(account) = &walls.account {
        if account.uid == 0 {
            return Err("`run_as` names root".to_owned());
        }
        let groups: Vec<Gid> = account
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        set_thread_groups(&groups).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        set_thread_res_gid(gid, gid, gid).map_err(failed)?;
        set_thread_res_uid(uid, uid, uid).map_err(failed)?;
    }
    give_up_capabilities().map_err(failed)
}

fn give_up_capabilities() -> rustix::io::Result<()> {
    keep_capabilities(CapabilitySet::empty())
}

/// Nothing here is to be of use to whoever gets hold of this process, and a command that is the same user is not to: it would
/// say in its name how the command has ended. Who has no capability may neither trace a process that has one nor open what
/// that has open. This one allows nothing within a namespace. (A process that is not dumpable would be hidden from the slave,
/// too, which finds it by its environment.)
fn keep_to_itself(walls: &Walls) -> rustix::io::Result<()> {
    keep_capabilities(match walls.account {
        Some(_) => CapabilitySet::empty(),
        None => CapabilitySet::WAKE_ALARM,
    })
}

fn keep_capabilities(permitted: CapabilitySet) -> rustix::io::Result<()> {
    let kept = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, kept)
}
