//! What ClusterRunner's daemons and its client agree on: identities, API bodies, signing, job
//! configuration, settings, git, running a command, the layout of artifacts.

pub mod allocator;
pub mod api;
pub mod artifact;
pub mod auth;
pub mod build_request;
pub mod caller;
pub mod clock;
pub mod command;
pub mod console;
pub mod daemon;
pub mod disk_space;
pub mod event_log;
pub mod git;
pub mod host_name;
pub mod http;
pub mod ids;
pub mod job_config;
pub mod job_file;
pub mod json;
pub mod kept_projects;
pub mod labels;
pub mod logging;
mod nearest;
pub mod open_files;
pub mod printable;
pub mod regular_file;
pub mod remote_files;
pub mod result_block;
pub mod retention;
pub mod secret;
pub mod settings;
pub mod signed;
pub mod sweeper;
pub mod tar_reader;
pub mod terminal;
pub mod tls;
