//! Uploads of results (`multipart/form-data`), as slaves send them.

use clusterrunner_master::trial::upload;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be made")
});

/// An upload is read to its end, or refused; its parts are no longer than it is.
///
/// # Panics
/// Something else happens.
pub fn uploads(body: &[u8]) {
    let read = RUNTIME.block_on(upload("X", body.to_vec()));
    match read {
        // A report is written anew, numbers in another form.
        Ok((_, file)) => assert!(file <= body.len()),
        Err(reason) => assert!(!reason.is_empty()),
    }
}
