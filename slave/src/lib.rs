//! The slave of a ClusterRunner farm: sets builds up and runs their atoms.
//!
//! `work` decides and knows nothing of the world; `coordinator` owns it and has its decisions
//! carried out by the rooms `run`, `deliver`, `setup` and `source`, which report back to it. `assembly`
//! constructs them all and joins them.
//!
//! A room may use the rooms above it in this list; `tests/cluster/house.rs` reads the imports.

mod work;

mod instances;

mod data_directory;

mod control_groups;

mod isolation;
mod secret_files;

mod containers;

mod build_template;

mod master;

mod run;

mod deliver;

mod source;

mod templates;

mod setup_cache;

mod setup;

mod browse_files;

mod keeper;

mod supervisor;

mod coordinator;

mod connection;

mod http;

mod polling;

#[doc(hidden)]
pub mod trial;

mod withdrawal;

mod assembly;

pub mod options;

pub use assembly::{ServeError, serve, serve_until_told};
pub use data_directory::DataDirectoryError;
pub use isolation::isolation_here;
pub use options::{SlaveOptions, is_wrong_setting, run};

use browse_files::BROWSE_FILES;
use clusterrunner_common::process::confinement::{CONFINE, confine};
use clusterrunner_common::work::product_build::BUILD_TEMPLATE;
use keeper::KEEP_INSTANCE;
use setup_cache::HANDLE_ENTRY;
use std::ffi::OsStr;
use std::process::ExitCode;
use templates::UNPACK_SNAPSHOT;

/// The first argument of a process that fetches a project, see [`hidden`].
pub(crate) const FETCH_PROJECT: &str = "fetch-project";

/// What a process is that the slave starts of its own program, by its first argument. Not for users.
#[must_use]
pub fn hidden(first: &OsStr) -> Option<fn() -> ExitCode> {
    match first.to_str()? {
        BUILD_TEMPLATE => Some(build_template::build_template),
        FETCH_PROJECT => Some(source::fetch_project),
        UNPACK_SNAPSHOT => Some(templates::unpack_snapshot),
        HANDLE_ENTRY => Some(setup_cache::handle_entry),
        KEEP_INSTANCE => Some(keeper::keep_instance),
        CONFINE => Some(confine),
        BROWSE_FILES => Some(browse_files::browse_files),
        _ => None,
    }
}
