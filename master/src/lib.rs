//! The master of a ClusterRunner farm: accepts builds, prepares them, hands their subjobs to
//! slaves, keeps their results.
//!
//! The [core](clusterrunner_core) decides and knows nothing of the world; [`coordinator`] owns it, brings its events
//! to the [`journal`], and has its effects carried out by [`effects`], which report back.
//!
//! A room may use the rooms above it in this list; a test reads the imports.

pub mod journal;

pub mod coordinator;

pub mod store;

mod read;

mod consoles;
mod polls;

pub mod effects;

mod router;

pub mod push;

mod ssh;

mod pools;

mod http;

pub mod notify;

pub mod round_trip;

#[doc(hidden)]
pub mod trial;

mod assembly;

mod options;

pub use assembly::{ServeError, serve};
pub use options::{MasterOptions, is_wrong_setting, run};
