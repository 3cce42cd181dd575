//! What ClusterRunner's daemons and its client agree on: identities, API bodies, signing, job
//! configuration, settings, git, running a command, the layout of artifacts.
//!
//! A room may use the rooms above it in this list; a test in `tests/cluster/house.rs` reads the imports.

pub mod clock;
pub mod ids;
pub mod lock;
pub mod turns;

pub mod text;

pub mod disk;

pub mod process;

pub mod job;

pub mod results;

pub mod junit;

pub mod git;

pub mod templates;

pub mod work;

pub mod api;

pub mod remote_files;

pub mod http;

pub mod auth;

pub mod caller;

pub mod logs;

pub mod settings;

pub mod daemon;

pub mod child;
