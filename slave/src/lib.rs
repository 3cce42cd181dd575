//! The slave of a ClusterRunner farm: sets builds up and runs their atoms.
//!
//! `work` decides and knows nothing of the world; `coordinator` owns it and has its decisions
//! carried out by the rooms `run`, `deliver`, `setup` and `source`, which report back to it. `assembly`
//! constructs them all and joins them.
//!
//! A room may use the rooms above it in this list; `tests/cluster/house.rs` reads the imports.

mod work;

mod data_directory;

#[expect(dead_code, unused_imports, reason = "its users are about to come")]
mod containers;

mod build_template;

mod master;

mod run;

mod deliver;

mod source;

mod setup;

mod coordinator;

mod connection;

mod http;

#[doc(hidden)]
pub mod trial;

mod withdrawal;

mod assembly;

pub mod options;

pub use build_template::build_template;

pub use assembly::{ServeError, serve, serve_until_told};
pub use data_directory::DataDirectoryError;
pub use options::{SlaveOptions, is_wrong_setting, run};
pub use source::fetch_project;

/// The first argument of a process that makes a template, see [`build_template`].
pub use clusterrunner_common::api::product_build::BUILD_TEMPLATE;

/// The first argument of a process that fetches a project, see [`fetch_project`].
pub const FETCH_PROJECT: &str = "fetch-project";
