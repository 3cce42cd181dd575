//! What lies on the disk beside the journal: results, the sealed secrets of builds, the mirrors of repositories, repositories of projects, the
//! snapshots of templates, what instances print, the logs of apps, and working trees that clients have sent.

pub(crate) mod app_logs;
pub(crate) mod build_secrets;
pub(crate) mod instance_logs;
mod log_files;
pub(crate) mod own_keys;
pub mod own_repositories;
pub mod results;
pub(crate) mod sources;
pub(crate) mod templates;
pub mod working_trees;
