//! Instances: templates that were launched, each one process tree on one slave at a time.

pub mod all_instances;
mod apply;
mod check;
pub(crate) mod decide;
pub mod facts;
pub mod instance;
pub mod orders;
pub mod placing;
pub mod reported;
pub mod reports;
