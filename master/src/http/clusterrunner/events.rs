//! Events as they happen, for readers that follow: of the whole farm, or of one build. Server-sent events, as browsers
//! read them by themselves.
//!
//! All who follow the same share a [`room`]; what they cost beyond that is a connection. Each event has the number of the
//! last fact of the feed that it tells of, and a reader that comes back with the number goes on there.

mod farm;
mod frames;
mod one_build;
mod room;
#[cfg(test)]
mod tests;

use super::error::ApiError;
use super::{Api, Path};
use crate::coordinator::ClusterHandle;
use crate::read::builds::Builds;
use crate::read::feed::Feed;
use crate::read::forecasts::Forecasts;
use crate::read::running::RunningAtoms;
use crate::read::slave_signs::SlaveSigns;
use crate::store::results::Results;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use clusterrunner_common::http::answers::Trickling;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::process::open_files;
use clusterrunner_core::access::Caller;
use farm::{FarmChanges, WholeFarm};
use frames::{Batch, Frame};
use futures_util::{Stream, stream};
use one_build::{BuildChanges, OneBuild};
use room::{Closed, Cursor, Door, Joined, Room, Scene, join};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The header of a reader that comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many readers there are at most, where the process may have files enough.
const MOST_READERS: usize = 1024;

/// After so long without an event a line is sent that says nothing, so that everybody between knows that the reader is
/// there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// How long a caller that has proved something follows without being looked at: then the stream ends, and the browser
/// comes back with what proves the caller, if it still does.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What a browser is told first: after how many milliseconds it comes back.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// How often a reader looks for a room: one may close just when the reader comes.
const TRIES: usize = 8;

/// What events are read from.
#[derive(Clone, Debug)]
pub(super) struct Farm {
    cluster: ClusterHandle,
    builds: Builds,
    running: RunningAtoms,
    signs: SlaveSigns,
    results: Results,
    forecasts: Forecasts,
}

/// Readers that follow, and what they follow. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(super) feed: Feed,
    pub(super) stop: CancellationToken,
    places: Arc<Semaphore>,
    farm: Doors<(), FarmChanges>,
    builds: Doors<BuildId, BuildChanges>,
}

/// The doors of the rooms that are open.
type Doors<K, C> = Arc<Mutex<HashMap<K, Door<C>>>>;

impl Live {
    /// Readers follow this feed until `stop` at the latest. No more than a quarter of the files that this process may
    /// have open: half of them is for connections.
    #[must_use]
    pub(crate) fn new(feed: Feed, stop: CancellationToken) -> Self {
        let files = open_files::limit().unwrap_or(usize::MAX);
        Self {
            feed,
            stop,
            places: Arc::new(Semaphore::new((files / 4).clamp(1, MOST_READERS))),
            farm: Doors::default(),
            builds: Doors::default(),
        }
    }

    /// The place of one more reader, until it is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| ApiError::TooManyReaders)
    }

    /// Brings a reader into a room, which is opened for it if need be.
    async fn follow<K, S>(
        &self,
        (doors, key): (&Doors<K, S::Changes>, K),
        last: Option<u64>,
        nothing: impl Fn() -> S::Changes,
        scene: impl Fn() -> S,
    ) -> Option<Joined>
    where
        K: Hash + Eq + Copy + Send + 'static,
        S: Scene,
    {
        for _ in 0..TRIES {
            let door = self.door((doors, key), &nothing, &scene);
            let from = last.unwrap_or_else(|| self.feed.latest());
            let cursor = Cursor::new(self.feed.reader_after(from), nothing(), last);
            match join(&door, cursor).await {
                Ok(joined) => return Some(joined),
                Err(Closed) if self.stop.is_cancelled() => return None,
                Err(Closed) => {}
            }
        }
        None
    }

    fn door<K, S>(
        &self,
        (doors, key): (&Doors<K, S::Changes>, K),
        nothing: impl Fn() -> S::Changes,
        scene: impl Fn() -> S,
    ) -> Door<S::Changes>
    where
        K: Hash + Eq + Copy + Send + 'static,
        S: Scene,
    {
        let mut open = lock(doors);
        if let Some(door) = open.get(&key).filter(|door| !door.is_closed()) {
            return door.clone();
        }
        let latest = self.feed.latest();
        let cursor = Cursor::new(self.feed.reader_after(latest), nothing(), None);
        let (room, door) = Room::new(scene(), cursor, latest);
        open.insert(key, door.clone());
        let (doors, stop) = (Arc::clone(doors), self.stop.clone());
        // It ends with its last reader. Were it to break off, its readers' streams would end, and they come back.
        tokio::spawn(async move {
            room.run(stop).await;
            let mut open = lock(&doors);
            if open.get(&key).is_some_and(Door::is_closed) {
                open.remove(&key);
            }
        });
        door
    }
}

impl Api {
    fn farm(&self) -> Farm {
        Farm {
            cluster: self.cluster.clone(),
            builds: self.builds.clone(),
            running: self.running.clone(),
            signs: self.signs.clone(),
            results: self.results.clone(),
            forecasts: self.forecasts.clone(),
        }
    }
}

/// What happens on the farm.
pub(super) async fn of_farm(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = last_event(&headers)?;
    let place = api.live.place()?;
    let scene = || WholeFarm::new(api.farm());
    let rooms = (&api.live.farm, ());
    let joined = api.live.follow(rooms, last, FarmChanges::default, scene);
    let joined = joined.await.ok_or(crate::coordinator::Gone)?;
    Ok(answer(&api.live, caller, joined, place))
}

/// What happens to a build.
pub(super) async fn of_build(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<BuildId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = last_event(&headers)?;
    let place = api.live.place()?;
    let is_live = api.builds.live(id, |_, _| Ok::<_, ApiError>(()));
    let is_live = is_live.await?.is_some();
    let joined = match is_live {
        true => {
            let scene = || OneBuild::new(id, api.farm());
            let rooms = (&api.live.builds, id);
            let nothing = || BuildChanges::of(id);
            let joined = api.live.follow(rooms, last, nothing, scene).await;
            joined.ok_or(crate::coordinator::Gone)?
        }
        false => archived(&api, id, last).await?,
    };
    Ok(answer(&api.live, caller, joined, place))
}

/// What there is to tell of a build that is archived.
async fn archived(api: &Api, id: BuildId, last: Option<u64>) -> Result<Joined, ApiError> {
    let latest = api.live.feed.latest();
    let frames = one_build::of_archived(api, id, last).await?;
    let first = Batch {
        id: latest,
        before: last.unwrap_or(latest),
        frames,
    };
    let (_, next) = broadcast::channel(1);
    Ok(Joined { first, next })
}

/// The number of the last fact that a reader knows, if it comes back.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(given) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let number = given
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| {
        ApiError::invalid(
            "Header 'Last-Event-ID' must be the number in the line 'id:' of an event, or left out.",
        )
    })
}

fn answer(live: &Live, caller: Caller, joined: Joined, place: OwnedSemaphorePermit) -> Response {
    let mut waiting = VecDeque::from([Bytes::from_static(RETRY)]);
    waiting.extend(joined.first.pieces(caller));
    let reading = Reading {
        waiting,
        next: Some(joined.next),
        until: (caller != Caller::Nobody).then(|| Instant::now() + LONGEST),
        feed: live.feed.clone(),
        stop: live.stop.clone(),
        caller,
        _place: place,
    };
    let mut response = Response::new(Body::from_stream(reading.into_stream()));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers leave this one alone.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response.extensions_mut().insert(Trickling(4 << 10));
    response
}

/// A reader and what it is sent.
struct Reading {
    /// What is to be sent next.
    waiting: VecDeque<Bytes>,
    /// None when nothing comes any more.
    next: Option<broadcast::Receiver<Arc<Batch>>>,
    /// When it ends at the latest.
    until: Option<Instant>,
    feed: Feed,
    stop: CancellationToken,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

impl Reading {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut reading| async move {
            let bytes = reading.next_bytes().await?;
            Some((Ok(bytes), reading))
        })
    }

    async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            let next = self.next.as_mut()?;
            let until = self.until;
            let end = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                () = self.stop.cancelled() => return None,
                () = end => return None,
                told = timeout(SIGN_OF_LIFE, next.recv()) => told,
            };
            match told {
                Err(_) => return Some(Bytes::from_static(b": \n\n")),
                Ok(Ok(batch)) => self.waiting.extend(batch.pieces(self.caller)),
                Ok(Err(RecvError::Lagged(_))) => {
                    let id = self.feed.latest();
                    let batch = Batch {
                        id,
                        before: id,
                        frames: vec![Frame::reload()],
                    };
                    self.waiting.extend(batch.pieces(self.caller));
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    }
}
