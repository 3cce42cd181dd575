//! The output of a set-up or teardown, on its way through the mask of its build's secrets to its file.

use crate::run::pump::Pump;
use clusterrunner_common::process::console::ConsoleCap;
use clusterrunner_common::text::masking::Mask;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::task::spawn_blocking;

/// A thread that copies what a command prints.
#[derive(Debug)]
pub(super) struct Masked {
    is_over: Arc<AtomicBool>,
    copying: JoinHandle<()>,
}

impl Masked {
    /// Where a command prints whose output is to go to `file`, of which no more than `max_output` bytes are kept: the file
    /// itself where nothing is masked.
    ///
    /// # Errors
    /// There is no pipe, or no thread.
    pub(super) fn to(
        file: File,
        mask: &Arc<Mask>,
        max_output: Option<u64>,
    ) -> io::Result<(File, Option<Self>)> {
        if mask.is_empty() {
            return Ok((file, None));
        }
        let watched = file.try_clone()?;
        let (mut pump, output) = Pump::to(file, mask)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let copy = move || {
            let mut cap = max_output.map(ConsoleCap::new);
            pump.copy_until(&told, || {
                if let Some(cap) = &mut cap {
                    cap.look(&watched, || watched.try_clone());
                }
            });
        };
        let thread = std::thread::Builder::new().name("masked-output".to_owned());
        let copying = thread.spawn(copy)?;
        Ok((output, Some(Self { is_over, copying })))
    }

    /// The command has ended: what it has printed is in the file when this returns.
    pub(super) async fn end(masked: Option<Self>) {
        let Some(Self { is_over, copying }) = masked else {
            return;
        };
        is_over.store(true, Ordering::Relaxed);
        let joined = spawn_blocking(move || copying.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("some of what a set-up or teardown printed may be missing");
        }
    }
}
