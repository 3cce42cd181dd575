//! What reports say of the tests of a build's atoms.

use super::{Results, StoredTests};
use clusterrunner_common::ids::BuildId;
use std::io;

impl Results {
    /// The tests of the atoms of a build that left reports, as far as their results are here. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn tests(&self, build: BuildId) -> io::Result<StoredTests> {
        StoredTests::open(&self.stores.of_build(build))
    }
}
