//! What lies on the disk beside the journal: results, the mirrors of repositories, repositories of projects, the
//! snapshots of templates, and what instances print.

pub mod binder_key;
pub mod instance_logs;
pub mod own_repositories;
pub mod results;
pub mod sources;
pub mod templates;
