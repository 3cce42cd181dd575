//! What lies on the disk beside the journal: results, the mirrors of repositories, repositories of projects, the
//! snapshots of templates, what instances print, and the logs of apps.

pub mod app_logs;
pub mod binder_key;
pub mod instance_logs;
pub mod own_repositories;
pub mod results;
pub mod sources;
pub mod templates;
