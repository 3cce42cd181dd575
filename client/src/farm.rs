//! The farm that a command is for: its master, and the daemons of this machine.

mod connection;
mod daemon;
mod local;
mod originals;
mod own;
mod private;
mod probe;
mod starter;

pub(crate) use connection::{client_of, impatient, tell_whom};
pub(crate) use daemon::{Daemon, master_pid_file, slave_pid_files};
pub(crate) use local::{
    connect, connect_for_long, find, find_or_start, is_this_machine, unbracketed,
};
pub(crate) use originals::originals_in;
pub(crate) use own::own_master;
pub(crate) use private::is_private;
