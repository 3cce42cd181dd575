//! Results on their way to the master.
//!
//! What ends while a build's results are on their way gathers in memory and goes with the next upload,
//! so many small results share a request, and a single one does not wait. What is large goes by itself and
//! holds nobody up. What the master does not take at once is a file until it does, which outlives this
//! process.

mod batch;
mod consoles;
mod lanes;

pub(crate) use batch::Finished;
pub(crate) use consoles::EndedConsole;
pub(crate) use lanes::Lanes;

use crate::data_directory::DataDirectory;
use crate::deliver::delivery::{Deliveries, DeliveryEnd, Packed};
use crate::deliver::result_archive::remove_files;
use crate::work::{BROKE_OFF, Command, DeliveryOutcome, HandOut};
use batch::{Batch, PackFailure};
use clusterrunner_common::ids::{BuildId, SessionId};
use clusterrunner_common::lock::lock;
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Batches up to this size are packed at once: that takes less than a hop to a thread that may block.
const TINY: usize = 16 << 10;

/// How long results gather behind an upload that does not come to its end: what has not gone to a file
/// is lost if the process is killed.
const GATHERING: Duration = Duration::from_millis(500);

/// How long small results may be on their way in memory only. The master has nearly all of them sooner, and
/// for these a file would cost more than all the rest.
const UNKEPT: Duration = Duration::from_millis(50);

/// The shortest time from one upload of a build to the next while all executors work: each request costs
/// the master about as much as a hundred results in it. The first after a pause goes at once.
const LULL: Duration = Duration::from_millis(25);

/// The same while an executor has nothing to do: the master may wait for these results to give it some,
/// or to end the build.
const SHORT_LULL: Duration = Duration::from_millis(3);

/// Takes results in, packs and delivers them, and tells how that ended.
pub(crate) struct Outbox {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) session: SessionId,
    /// Cancelled when the process is to end: what is not delivered then is kept for the next one.
    pub(crate) ending: CancellationToken,
    /// To whom it is told.
    pub(crate) tell: Box<dyn Fn(Command) + Send + Sync>,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
    pub(crate) lanes: Mutex<Lanes>,
    /// Whether an executor has nothing to do.
    pub(crate) is_idle: watch::Sender<bool>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        lock(&self.lanes)
    }

    /// Takes a result; `stop` ends all deliveries of its build. Does not block.
    pub(crate) fn put(self: &Arc<Self>, finished: Finished, stop: &CancellationToken) {
        let is_original = self.deliveries.api.dialect.is_original();
        let mut lanes = self.lock();
        let lane = lanes.of(finished.hand_out.build);
        let batch = if is_original || finished.goes_alone() {
            lane.enter(Batch::alone(finished, lane.number, stop))
        } else {
            lane.gather(finished);
            match lane.num_turns == 0 || lane.is_full() {
                true => lane.take(stop, true),
                false => None,
            }
        };
        drop(lanes);
        self.send_off(batch);
    }

    /// What gathered of a build, whose deliveries were told to stop, goes to its end. Does not block.
    pub(crate) fn cancel(self: &Arc<Self>, build: BuildId, stop: &CancellationToken) {
        let mut lanes = self.lock();
        let batch = lanes.builds.get_mut(&build);
        let batch = batch.and_then(|lane| lane.take(stop, false));
        drop(lanes);
        self.send_off(batch);
    }

    /// Forgets a build of which nothing is under way any more.
    pub(crate) fn forget(&self, build: BuildId) {
        self.lock().builds.remove(&build);
    }

    /// Nobody waits for this batch any more: what gathered behind it goes.
    fn end_turn(self: &Arc<Self>, batch: &Batch) {
        if !batch.end_turn() {
            return;
        }
        let mut lanes = self.lock();
        let lane = lanes.builds.get_mut(&batch.build);
        let lane = lane.filter(|lane| lane.number == batch.lane);
        let next = lane.and_then(|lane| {
            lane.num_turns -= 1;
            match lane.num_turns == 0 && !lane.gathered.is_empty() {
                true => lane.take(&batch.stop, true),
                false => None,
            }
        });
        drop(lanes);
        self.send_off(next);
    }

    /// Says whether an executor has nothing to do now.
    pub(crate) fn note_idle(&self, is_idle: bool) {
        self.is_idle
            .send_if_modified(|known| std::mem::replace(known, is_idle) != is_idle);
    }

    /// Waits until the next upload of a build may begin, whose last began then.
    async fn lull(&self, begun: Instant) {
        tokio::time::sleep_until(begun + SHORT_LULL).await;
        let mut is_idle = self.is_idle.subscribe();
        let idle = is_idle.wait_for(|is_idle| *is_idle);
        // In either case the wait is over.
        tokio::time::timeout_at(begun + LULL, idle).await.ok();
    }

    fn send_off(self: &Arc<Self>, batch: Option<Arc<Batch>>) {
        let Some(batch) = batch else { return };
        let outbox = Arc::clone(self);
        let bring = async move {
            let begun = Instant::now();
            let bringing = AssertUnwindSafe(outbox.bring(&batch)).catch_unwind();
            let ends = bringing.await.unwrap_or_else(|_| {
                tracing::error!(build.id = %batch.build, "delivering results panicked");
                let broke_off = DeliveryOutcome::Rejected(BROKE_OFF.to_owned());
                batch.all(&broke_off)
            });
            (outbox.tell)(Command::DeliveriesEnded(ends));
            if batch.has_turn() {
                let lull = outbox.lull(begun);
                batch.stop.run_until_cancelled(lull).await;
                outbox.end_turn(&batch);
            }
        };
        self.tasks.spawn_on(bring, &self.runtime);
    }

    /// Packs a batch and delivers it, or keeps it for the next life.
    async fn bring(self: &Arc<Self>, batch: &Arc<Batch>) -> Vec<(HandOut, DeliveryOutcome)> {
        let over = || batch.all(&DeliveryOutcome::Over);
        let packed = if batch.weight() <= TINY {
            Ok(self.pack(batch))
        } else {
            let (outbox, batch) = (Arc::clone(self), Arc::clone(batch));
            spawn_blocking(move || outbox.pack(&batch)).await
        };
        let packed = match packed {
            Ok(Ok(packed)) => Arc::new(packed),
            Ok(Err(PackFailure::Unwanted)) => return over(),
            Ok(Err(PackFailure::Trouble(_))) if batch.stop.is_cancelled() => return over(),
            Ok(Err(PackFailure::Trouble(reason))) => {
                return batch.all(&DeliveryOutcome::Rejected(reason));
            }
            Err(error) => return batch.all(&DeliveryOutcome::Rejected(error.to_string())),
        };
        (self.tell)(Command::Packed(batch.hand_outs.clone()));
        let ends = self.deliver(batch, &packed).await;
        let is_delivered = ends.is_some();
        let keeps = match is_delivered {
            // It asks us for consoles until it has the whole build.
            true => self.deliveries.api.dialect.is_original(),
            false => batch.stop.is_cancelled() && self.ending.is_cancelled() && self.hold(&packed),
        };
        if !keeps {
            if packed.let_go()
                && let Err(error) = tokio::fs::remove_file(&packed.file).await
            {
                let path = packed.file.display();
                tracing::warn!(%path, %error, "could not remove a result");
            }
            self.is_gone(batch);
        }
        let Some(ends) = ends else { return over() };
        let mut ends: HashMap<HandOut, DeliveryEnd> = ends.into_iter().collect();
        let hand_outs = batch.hand_outs.iter();
        let ends = hand_outs.map(|hand_out| match ends.remove(hand_out) {
            Some(DeliveryEnd::Rejected(reason)) => (*hand_out, DeliveryOutcome::Rejected(reason)),
            // Those that nobody wanted any more were left out.
            Some(DeliveryEnd::Taken | DeliveryEnd::Unwanted(_)) | None => {
                (*hand_out, DeliveryOutcome::Over)
            }
        });
        ends.collect()
    }

    /// Delivers until the build's deliveries are told to stop.
    async fn deliver(
        self: &Arc<Self>,
        batch: &Arc<Batch>,
        packed: &Arc<Packed>,
    ) -> Option<Vec<(HandOut, DeliveryEnd)>> {
        let first_try_failed = CancellationToken::new();
        let delivering = self.deliveries.deliver(packed, &first_try_failed);
        let delivering = batch.stop.run_until_cancelled(delivering);
        let begun = Instant::now();
        tokio::pin!(delivering);
        tokio::select! {
            ended = &mut delivering => return ended,
            () = tokio::time::sleep_until(begun + UNKEPT) => {}
        }
        tokio::select! {
            ended = &mut delivering => return ended,
            () = keep(batch, packed) => {}
        }
        tokio::select! {
            ended = &mut delivering => return ended,
            () = first_try_failed.cancelled() => {}
            () = tokio::time::sleep_until(begun + GATHERING) => {}
        }
        self.end_turn(batch);
        delivering.await
    }

    /// Packs a batch, and removes what its atoms left. Blocks.
    fn pack(&self, batch: &Batch) -> Result<Packed, PackFailure> {
        let Some(finished) = batch.finished() else {
            return Err(PackFailure::Unwanted);
        };
        let api = &self.deliveries.api;
        let incarnation = finished.first().and_then(|one| one.incarnation.as_ref());
        let master = incarnation.and_then(|of| api.lineage.last_of(of));
        let packed = if incarnation.is_some() && master.is_none() {
            // That incarnation is gone, and with it whoever would want it.
            Err(PackFailure::Unwanted)
        } else {
            batch.pack(
                &finished,
                &self.data,
                (&self.session, master),
                api.dialect.is_original(),
                &self.ending,
            )
        };
        // Before others may work in the same directories.
        for finished in finished.iter() {
            remove_files(&finished.atoms);
        }
        match &packed {
            Ok(packed) if packed.is_file() => batch.lies_in(Some(packed.file.clone())),
            Ok(_) => {}
            Err(_) => self.is_gone(batch),
        }
        packed
    }

    /// Puts results aside for the next life. Says whether that worked.
    fn hold(&self, packed: &Packed) -> bool {
        let Some(first) = packed.note.first() else {
            return false;
        };
        match packed.keep().and_then(|()| self.data.hold(first)) {
            Ok(()) => true,
            Err(error) => {
                let path = packed.file.display();
                tracing::warn!(%path, %error, "could not keep a result");
                false
            }
        }
    }
}

/// Has results be a file, as they are not taken at once. If that fails they stay in memory, where they are
/// no worse off.
async fn keep(batch: &Arc<Batch>, packed: &Arc<Packed>) {
    let (batch, packed) = (Arc::clone(batch), Arc::clone(packed));
    let kept = spawn_blocking(move || {
        packed.keep()?;
        if packed.is_file() {
            batch.lies_in(Some(packed.file.clone()));
        }
        Ok(())
    });
    let kept: io::Result<()> = kept.await.map_err(io::Error::other).and_then(|kept| kept);
    if let Err(error) = kept {
        tracing::warn!(%error, "a result that waits could not be written to a file");
    }
}
