//! What stands beside the state of the cluster.

use std::ops::{Deref, DerefMut};

/// A value that is no part of the state, so that clusters that differ only in it are equal: what the scheduler has yet to look
/// at, what costs no more than time when it is forgotten, and copies. Snapshots do not have it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside<T>(T);

impl<T> PartialEq for Beside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Beside<T> {}

impl<T> Deref for Beside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Beside<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
