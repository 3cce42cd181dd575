//! What lies on the disk beside the journal: results, the mirrors of repositories, and repositories of projects.

pub mod own_repositories;
pub mod results;
pub mod sources;
