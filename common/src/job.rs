//! Jobs: the file in a repository that describes them, and its grammar.

pub mod config;
pub mod file;
pub mod isolation;
pub mod matrix;
pub mod reports;
pub mod setup_cache;
pub mod warm;
pub mod worker;
