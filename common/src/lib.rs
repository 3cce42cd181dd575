//! What ClusterRunner's daemons and its client agree on.

pub mod git;
pub mod remote_files;
