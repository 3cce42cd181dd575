//! The process in front of a command.

use super::confined::{Confined, LONGEST_WORD, Word, leave_streams};
use super::{ConfinementOrder, NOT_CONFINED_EXIT_CODE, calls, failed, first};
use crate::process::descriptors;
use rustix::process::{Pid, WaitOptions, getegid, geteuid, waitpid};
use std::fs;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

/// All that the process in front of a command does. Its further arguments are the order, the command's program, and the
/// arguments of that.
#[must_use]
pub fn confine() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let order = arguments.next();
    let order = order.and_then(|order| serde_json::from_slice(order.as_bytes()).ok());
    let (Some(order), Some(program)) = (order, arguments.next()) else {
        return ExitCode::FAILURE;
    };
    let order: ConfinementOrder = order;
    let confined = Confined::new(program, arguments.collect());
    let ended = confined.and_then(|confined| {
        let kept = descriptors::keep_from_programs();
        kept.map_err(|error| failed("keep its open files from the command", None, error))?;
        enter(&order)?;
        run(&order, confined)
    });
    match ended {
        Ok(code) => code,
        Err(reason) => {
            if let Err(error) = fs::write(&order.report, &reason) {
                eprintln!("clusterrunner: {reason}; {error}");
            }
            exit_code(NOT_CONFINED_EXIT_CODE)
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Has this process, and so all that it starts, in the control groups.
fn enter(order: &ConfinementOrder) -> Result<(), String> {
    for group in &order.groups {
        let entered = fs::write(group, "0");
        entered.map_err(|error| failed("enter the control group", Some(group), error))?;
    }
    Ok(())
}

fn run(order: &ConfinementOrder, confined: Confined) -> Result<ExitCode, String> {
    let Some(walls) = &order.walls else {
        // There is nobody to come back to.
        return Err(confined.become_it());
    };
    calls::ignore_signals(true);
    let network = if walls.network { 0 } else { libc::CLONE_NEWNET };
    let others = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | network;
    match &walls.account {
        Some(_) => unshare(others, "namespaces (they need root)")?,
        None => enter_user_namespace(others)?,
    }
    let (said, to_say) = io::pipe().map_err(|error| failed("make a pipe", None, error))?;
    let child = calls::fork().map_err(|error| failed("start a process", None, error))?;
    let Some(child) = child else {
        drop(said);
        first::be(walls, confined, to_say);
    };
    drop(to_say);
    leave_streams();
    follow(child, said)
}

fn unshare(flags: i32, what: &str) -> Result<(), String> {
    let error = match calls::unshare(flags) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let setting = |name: &str| {
        let value = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let forbids = |(name, value): &(String, String)| {
        value
            == if name.starts_with("kernel/apparmor") {
                "1"
            } else {
                "0"
            }
    };
    let settings = [
        setting("user/max_user_namespaces"),
        setting("kernel/unprivileged_userns_clone"),
        setting("kernel/apparmor_restrict_unprivileged_userns"),
    ];
    let settings = settings.into_iter().flatten().filter(forbids);
    let why: String = settings
        .map(|(name, value)| format!(" ({} = {value})", name.replace('/', ".")))
        .collect();
    Err(format!("this machine allows no {what}{why}: {error}"))
}

/// In it this process may do what root may, and outside of it no more than before.
fn enter_user_namespace(others: i32) -> Result<(), String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid == 0 {
        return Err("a slave that runs as root needs `run_as`, a user for the commands".to_owned());
    }
    unshare(libc::CLONE_NEWUSER | others, "unprivileged user namespaces")?;
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {uid} 1")),
        ("gid_map", format!("{gid} {gid} 1")),
    ];
    for (name, text) in maps {
        let written = fs::write(format!("/proc/self/{name}"), text);
        written.map_err(|error| failed("map users into a user namespace", None, error))?;
    }
    Ok(())
}

/// Waits for the command, and ends as it did.
fn follow(child: Pid, mut said: PipeReader) -> Result<ExitCode, String> {
    let mut word = [0; LONGEST_WORD];
    let length = loop {
        match said.read(&mut word) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read.unwrap_or(0),
        }
    };
    match Word::read(&word[..length]) {
        Some(Word::Failed(reason)) => Err(reason),
        Some(Word::Ended { status, is_alone }) => {
            if is_alone {
                // So that what was used is known to who waits for this process.
                waitpid(Some(child), WaitOptions::empty()).ok();
            }
            Ok(end_as(status))
        }
        // It was killed, with all.
        None => {
            waitpid(Some(child), WaitOptions::empty()).ok();
            Ok(end_as(libc::SIGKILL))
        }
    }
}

fn end_as(status: i32) -> ExitCode {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        calls::end_by(signal);
        return exit_code(128 + signal);
    }
    exit_code(libc::WEXITSTATUS(status))
}
