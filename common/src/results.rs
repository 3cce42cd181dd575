//! Results: the names of artifacts, and the blocks in which results travel and are stored.

pub mod artifact;
pub mod block;
pub mod links;
pub mod tar_reader;
