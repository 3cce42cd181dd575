//! Files that others may not write, whatever umask the process was started with.
//!
//! A daemon that is started with umask 000 made directories that everybody could write to, and so do
//! libraries that make files by themselves. So the process narrows its umask, and the commands that it
//! runs get theirs back.

use rustix::fs::Mode;
use rustix::process::umask;
use std::sync::OnceLock;

/// What the process was started with, if that was wider.
static INHERITED: OnceLock<Mode> = OnceLock::new();

/// Sees to it that nothing this process makes from now on can be written by others. To be called at the
/// start of `main`, before there are threads.
pub fn close_to_others() {
    let narrow = Mode::WGRP | Mode::WOTH;
    let inherited = umask(narrow);
    let wanted = inherited | narrow;
    umask(wanted);
    if wanted != inherited {
        INHERITED.get_or_init(|| inherited);
    }
}

/// Takes back what [`close_to_others`] did, for a process that does nothing but run commands.
pub fn widen_again() {
    if let Some(inherited) = INHERITED.get() {
        umask(*inherited);
    }
}

/// The umask that commands are given back, if it is another than this process has.
pub(crate) fn of_commands() -> Option<u32> {
    INHERITED.get().map(|mode| mode.as_raw_mode())
}

/// Has commands given this umask, which the parent of this process was started with.
pub(crate) fn give_commands(umask: u32) {
    INHERITED.get_or_init(|| Mode::from_raw_mode(umask));
}

/// Does something with the umask that the process was started with: starting a daemon, which sees to its
/// own. Nothing else may make files meanwhile.
pub fn with_inherited<T>(act: impl FnOnce() -> T) -> T {
    let Some(inherited) = INHERITED.get() else {
        return act();
    };
    let narrow = umask(*inherited);
    let done = act();
    umask(narrow);
    done
}
