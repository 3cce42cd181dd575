//! What lies on the disk beside the journal: results, and the mirrors of repositories.

pub mod results;
pub mod sources;
