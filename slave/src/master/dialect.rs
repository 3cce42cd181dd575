//! Which protocol the master speaks.

use clusterrunner_common::lock::lock;
use std::sync::{Arc, Mutex};

/// Whether the master is one of the original: what it says of itself at each connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialect(Arc<Mutex<Option<Original>>>);

/// A master of the original.
#[derive(Clone, Debug)]
pub(crate) struct Original {
    /// The life of its process. Calls name it: in another life, this id may be another slave's.
    pub(crate) session: Option<String>,
}

impl Dialect {
    pub(crate) fn is_original(&self) -> bool {
        self.original().is_some()
    }

    pub(super) fn original(&self) -> Option<Original> {
        let original = lock(&self.0);
        original.clone()
    }

    pub(crate) fn learn(&self, original: Option<Original>) {
        *lock(&self.0) = original;
    }
}
