//! Results from their end on: gathered, packed, delivered.
//!
//! Results that finish during an upload of their build join the next one, so many small results share a
//! request, and a single one does not wait. A large one goes by itself and delays no other. What the
//! master does not take at once is spooled to a file until it does.

use super::delivery::{Deliveries, DeliveryEnd};
use super::lanes::{Lane, Lanes};
use super::packed_console::{self, EndedConsole};
use super::parcel::{Finished, PackFailure, Parcel};
use super::result_archive::Taker;
use crate::data_directory::DataDirectory;
use crate::work::{BROKE_OFF, Command, DeliveryOutcome, HandOut};
use clusterrunner_common::ids::{AtomId, BuildId, SessionId, SubjobId};
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

/// Parcels up to this size are packed at once: that takes less than a hop to a thread that may block.
const TINY: usize = 16 << 10;

/// How long results gather behind an upload of their build while all executors work: each request costs the
/// master about as much as a hundred results in it. The first after a pause goes at once.
const LINGER: Duration = Duration::from_millis(25);

/// The same while an executor has nothing to do: the master may wait for these results to give it some,
/// or to end the build.
const SHORT_LINGER: Duration = Duration::from_millis(3);

/// An upload that takes longer than this is slow: its results are spooled to a file. Nearly all take less, and for
/// these a file would cost more than all the rest.
const SLOW: Duration = LINGER.saturating_mul(2);

/// How long results gather behind a slow upload. While the master is busy or away, each request should carry many.
const GATHERING: Duration = Duration::from_millis(500);

/// Takes results in, packs and delivers them, and tells how that ended.
pub(crate) struct Outbox {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) session: SessionId,
    /// Cancelled when the process is to end: what is not delivered then is spooled for the next one.
    pub(crate) ending: CancellationToken,
    /// Hears how packing and delivering ended.
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
        if is_original || finished.goes_alone() {
            self.send_off(lane, vec![finished], false, stop);
            return;
        }
        lane.gather(finished);
        if lane.num_turns == 0 || lane.is_full() {
            let gathered = lane.take();
            self.send_off(lane, gathered, true, stop);
        }
    }

    /// What gathered of a build, whose deliveries were told to stop, goes to its end. Does not block.
    pub(crate) fn cancel(self: &Arc<Self>, build: BuildId, stop: &CancellationToken) {
        if let Some(lane) = self.lock().builds.get_mut(&build) {
            let gathered = lane.take();
            self.send_off(lane, gathered, true, stop);
        }
    }

    /// Forgets a build of which nothing is under way any more.
    pub(crate) fn forget(&self, build: BuildId) {
        self.lock().builds.remove(&build);
    }

    /// The console of an atom that has ended, of the newest attempt whose result is here. Blocks.
    pub(crate) fn console(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    ) -> Option<EndedConsole> {
        packed_console::find(&self.lanes, &self.data, build, (subjob, atom))
    }

    /// Says whether an executor has nothing to do now.
    pub(crate) fn note_idle(&self, is_idle: bool) {
        self.is_idle
            .send_if_modified(|known| std::mem::replace(known, is_idle) != is_idle);
    }

    /// Makes a parcel and has it delivered. Small ones have the turn: the next of them waits until it is over.
    fn send_off(
        self: &Arc<Self>,
        lane: &mut Lane,
        finished: Vec<Finished>,
        is_small: bool,
        stop: &CancellationToken,
    ) {
        let incarnation = finished.first().and_then(|one| one.incarnation.as_ref());
        let api = &self.deliveries.api;
        let master = incarnation.and_then(|of| api.lineage.last_of(of));
        let of = (&self.session, master);
        let Some(parcel) = Parcel::of(finished, is_small, &self.data, of, &api.clock, stop) else {
            return;
        };
        let parcel = Arc::new(parcel);
        lane.enter(&parcel);
        let mut turn = is_small.then(|| {
            lane.num_turns += 1;
            Turn {
                lane: lane.number,
                begun: Instant::now(),
            }
        });
        let outbox = Arc::clone(self);
        let bring = async move {
            let bringing = AssertUnwindSafe(outbox.bring(&parcel, &mut turn)).catch_unwind();
            let ends = bringing.await.unwrap_or_else(|_| {
                tracing::error!(build.id = %parcel.build, "delivering results panicked");
                all(&parcel, &DeliveryOutcome::Rejected(BROKE_OFF.to_owned()))
            });
            (outbox.tell)(Command::DeliveriesEnded(ends));
            if let Some(turn) = turn {
                let linger = outbox.linger(turn.begun);
                parcel.stop.run_until_cancelled(linger).await;
                outbox.end_turn(&turn, &parcel);
            }
        };
        self.tasks.spawn_on(bring, &self.runtime);
    }

    /// Waits until the next upload of a build may begin, whose last began then.
    async fn linger(&self, begun: Instant) {
        tokio::time::sleep_until(begun + SHORT_LINGER).await;
        let mut is_idle = self.is_idle.subscribe();
        let idle = is_idle.wait_for(|is_idle| *is_idle);
        // In either case the wait is over.
        tokio::time::timeout_at(begun + LINGER, idle).await.ok();
    }

    /// The next parcel does not wait for this one any more: what gathered behind it goes.
    fn end_turn(self: &Arc<Self>, turn: &Turn, parcel: &Parcel) {
        let mut lanes = self.lock();
        let lane = lanes.builds.get_mut(&parcel.build);
        let Some(lane) = lane.filter(|lane| lane.number == turn.lane) else {
            return;
        };
        lane.num_turns -= 1;
        if lane.num_turns == 0 {
            let gathered = lane.take();
            self.send_off(lane, gathered, true, &parcel.stop);
        }
    }

    /// Packs a parcel and delivers it, or spools it for the next life.
    async fn bring(
        self: &Arc<Self>,
        parcel: &Arc<Parcel>,
        turn: &mut Option<Turn>,
    ) -> Vec<(HandOut, DeliveryOutcome)> {
        match self.pack(parcel).await {
            Ok(None) => {}
            Ok(Some(text)) => {
                let build = Some(parcel.build);
                (self.tell)(Command::Note { build, text });
            }
            Err(PackFailure::Trouble(reason)) if !parcel.stop.is_cancelled() => {
                self.is_gone(parcel).await;
                return all(parcel, &DeliveryOutcome::Rejected(reason));
            }
            Err(PackFailure::Unwanted | PackFailure::Trouble(_)) => {
                self.is_gone(parcel).await;
                return all(parcel, &DeliveryOutcome::Over);
            }
        }
        (self.tell)(Command::Packed(parcel.hand_outs.clone()));
        let ends = self.deliver(parcel, turn).await;
        let stays = match &ends {
            // It asks us for consoles until it has the whole build.
            Some(_) => self.deliveries.api.dialect.is_original(),
            None => parcel.stop.is_cancelled() && self.ending.is_cancelled() && self.hold(parcel),
        };
        if !stays {
            self.is_gone(parcel).await;
        }
        let mut ends: HashMap<_, _> = ends.into_iter().flatten().collect();
        let hand_outs = parcel.hand_outs.iter();
        let ends = hand_outs.map(|hand_out| match ends.remove(hand_out) {
            Some(DeliveryEnd::Rejected(reason)) => (*hand_out, DeliveryOutcome::Rejected(reason)),
            // Those that were not wanted any more were left out.
            Some(DeliveryEnd::Taken | DeliveryEnd::Unwanted(_)) | None => {
                (*hand_out, DeliveryOutcome::Over)
            }
        });
        ends.collect()
    }

    async fn pack(&self, parcel: &Arc<Parcel>) -> Result<Option<String>, PackFailure> {
        let taker = match self.deliveries.api.dialect.is_original() {
            true => Taker::Original,
            false => Taker::Ours,
        };
        if parcel.size() <= TINY {
            return parcel.pack(taker, &self.ending);
        }
        let (parcel, ending) = (Arc::clone(parcel), self.ending.clone());
        let packing = spawn_blocking(move || parcel.pack(taker, &ending));
        let packed = packing.await;
        packed.unwrap_or_else(|error| Err(PackFailure::Trouble(error.to_string())))
    }

    /// Delivers until the build's deliveries are told to stop. A slow delivery loses its turn.
    async fn deliver(
        self: &Arc<Self>,
        parcel: &Arc<Parcel>,
        turn: &mut Option<Turn>,
    ) -> Option<Vec<(HandOut, DeliveryEnd)>> {
        let delivering = self.deliveries.deliver(parcel);
        let delivering = parcel.stop.run_until_cancelled(delivering);
        let slow = tokio::time::sleep(SLOW);
        tokio::pin!(delivering);
        tokio::select! {
            ended = &mut delivering => return ended,
            () = slow => {}
        }
        tokio::select! {
            ended = &mut delivering => return ended,
            () = spool(parcel) => {}
        }
        if let Some(Turn { begun, .. }) = turn {
            tokio::select! {
                ended = &mut delivering => return ended,
                () = tokio::time::sleep_until(*begun + GATHERING) => {}
            }
        }
        if let Some(turn) = turn.take() {
            self.end_turn(&turn, parcel);
        }
        delivering.await
    }

    /// Removes a parcel and its file.
    async fn is_gone(&self, parcel: &Parcel) {
        if parcel.let_go()
            && let Err(error) = tokio::fs::remove_file(&parcel.file).await
        {
            let path = parcel.file.display();
            tracing::warn!(%path, %error, "could not remove a result");
        }
        self.lock().forget(parcel);
    }

    /// Spools results for the next life of this slave. Says whether that worked.
    fn hold(&self, parcel: &Parcel) -> bool {
        let Some(first) = parcel.note.first() else {
            return false;
        };
        match parcel.spool().and_then(|()| self.data.hold(first)) {
            Ok(()) => true,
            Err(error) => {
                let path = parcel.file.display();
                tracing::warn!(%path, %error, "could not spool a result");
                false
            }
        }
    }
}

/// What the next parcel of a build waits for.
#[derive(Debug)]
struct Turn {
    lane: u64,
    begun: Instant,
}

/// The same end for all of a parcel.
fn all(parcel: &Parcel, outcome: &DeliveryOutcome) -> Vec<(HandOut, DeliveryOutcome)> {
    let hand_outs = parcel.hand_outs.iter();
    hand_outs
        .map(|hand_out| (*hand_out, outcome.clone()))
        .collect()
}

/// Has results be a file, as they are not taken at once. If that fails they stay in memory, where they are
/// no worse off.
async fn spool(parcel: &Arc<Parcel>) {
    let parcel = Arc::clone(parcel);
    let spooled = spawn_blocking(move || parcel.spool()).await;
    let spooled = spooled
        .map_err(io::Error::other)
        .and_then(|spooled| spooled);
    if let Err(error) = spooled {
        tracing::warn!(%error, "a result that waits could not be written to a file");
    }
}
