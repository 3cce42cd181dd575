//! Processes: commands and all that they start, and what this process sets for itself at its start.

pub mod allocator;
pub mod command;
pub mod confinement;
pub mod console;
pub mod descriptors;
pub mod first;
pub mod guardian;
pub mod open_files;
pub mod ports;
pub mod stop_signals;
pub mod sweeper;
pub mod terminal;
pub mod umask;
pub mod variables;
