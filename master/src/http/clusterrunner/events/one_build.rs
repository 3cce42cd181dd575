//! What is told of one build: the build itself, its atoms as rows, and its end.

mod changes;
mod look;

pub(super) use changes::BuildChanges;

use super::super::error::ApiError;
use super::super::{Api, shapes};
use super::Farm;
use super::frames::{Audience, Frame};
use super::room::{Changes, Cursor, Looked, Scene};
use crate::coordinator::Gone;
use crate::read::running::RunningInBuild;
use clusterrunner_common::api::{BuildBody, FinishView, RunningAtom};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::Cluster;
use look::{AT_ONCE, Found, MOST, Seen, look};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked which atoms run.
const LOOK_AT_RUNNING: Duration = Duration::from_secs(1);

/// A build and the readers that follow it.
pub(super) struct OneBuild {
    build: BuildId,
    farm: Farm,
    /// The build as it was told last, without when it will end.
    told: Option<Vec<u8>>,
    foretold: Foretold,
    /// What slaves said last of what runs.
    running: RunningInBuild,
    looked_at: Instant,
    /// Whether it shows how far others are, of which no fact of its own tells.
    is_parent: bool,
    /// The rows that were told to run.
    started: BTreeMap<SubjobId, RunningAtom>,
}

/// When the build will end, as it was told last: readers count down from there, and are told anew where that is wrong.
struct Foretold {
    /// Whether it is foretold.
    is_on: bool,
    told: (Option<FinishView>, Instant),
}

impl Foretold {
    fn new() -> Self {
        Self {
            is_on: false,
            told: (None, Instant::now()),
        }
    }

    fn differs(&self, finish: Option<FinishView>, now: Instant) -> bool {
        let (told, at) = self.told;
        let ago = now.duration_since(at).as_secs_f64();
        match (told, finish) {
            (Some(told), Some(finish)) => !told.after(ago).is_about(finish),
            (told, finish) => told.is_some() != finish.is_some(),
        }
    }
}

impl OneBuild {
    pub(super) fn new(build: BuildId, farm: Farm) -> Self {
        Self {
            build,
            farm,
            told: None,
            foretold: Foretold::new(),
            running: RunningInBuild::default(),
            looked_at: Instant::now(),
            is_parent: false,
            started: BTreeMap::new(),
        }
    }

    /// When the build will end, as far as that is known by now. Has another forecast made if it is time.
    fn finish(&self) -> Option<FinishView> {
        let known = || self.farm.forecasts.known(self.build);
        let finish = self.foretold.is_on.then(known).flatten();
        finish.map(shapes::finish)
    }

    fn tell(&mut self, seen: Seen) -> Result<Looked<BuildChanges>, serde_json::Error> {
        let Seen {
            id,
            mut room,
            joining,
            found,
        } = seen;
        let mut build = match found {
            Found::Build(build) => {
                self.is_parent = !build.view.children.is_empty();
                *build
            }
            Found::Archived => {
                return Ok(over(id, room, &joining, vec![Frame::bare("end")]));
            }
            Found::Removed => {
                let gone = Frame::gone("build_deleted", self.build.0);
                return Ok(over(id, room, &joining, vec![gone, Frame::bare("end")]));
            }
        };
        let damages = self.farm.results.damages(self.build);
        build.view.warnings.extend(damages);
        let view = shapes::in_version(build.view.clone(), ApiVersion::V2);
        self.foretold.is_on = shapes::is_foretold(&view);
        let finish = self.finish();
        let mut body = BuildBody { build: view };
        let text = serde_json::to_vec(&body)?;
        body.build.finish = Some(finish);
        let frame = Frame::new(build.audience.clone(), "build", &body)?;
        let is_over = build.is_over && room.changes.is_empty();
        let mut frames = Vec::new();
        if room.missed {
            frames.push(Frame::reload());
        } else {
            frames.extend(build.rows_frame(build.of_room.iter())?);
        }
        // The last one of a series tells of the build.
        let differs =
            self.told.as_ref() != Some(&text) || self.foretold.differs(finish, Instant::now());
        if room.changes.is_empty() && differs {
            frames.push(frame.clone());
            self.told = Some(text);
            self.foretold.told = (finish, Instant::now());
        }
        if is_over {
            frames.push(Frame::bare("end"));
        }
        let of_joining = joining.iter().map(|cursor| {
            let mut first = Vec::new();
            match (cursor.known, cursor.missed) {
                (None, _) => first.push(Frame::bare("begin")),
                (Some(_), true) => first.push(Frame::reload()),
                (Some(_), false) => {}
            }
            let started = build.started.keys();
            let changed = cursor.changes.subjobs.iter();
            let rows: BTreeSet<&SubjobId> = match cursor.missed {
                true => started.collect(),
                false => started.chain(changed).collect(),
            };
            first.extend(build.rows_frame(rows.into_iter())?);
            first.push(frame.clone());
            if is_over {
                first.push(Frame::bare("end"));
            }
            Ok(first)
        });
        let of_joining = of_joining.collect::<Result<_, serde_json::Error>>()?;
        self.started = build.started;
        room.missed = false;
        Ok(Looked {
            id,
            room,
            frames,
            of_joining,
            is_over,
        })
    }
}

/// Nothing comes after these.
fn over(
    id: u64,
    room: Cursor<BuildChanges>,
    joining: &[Cursor<BuildChanges>],
    frames: Vec<Frame>,
) -> Looked<BuildChanges> {
    Looked {
        id,
        room,
        of_joining: vec![frames.clone(); joining.len()],
        frames,
        is_over: true,
    }
}

impl Scene for OneBuild {
    type Changes = BuildChanges;

    fn has_news(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_AT_RUNNING {
            return false;
        }
        self.looked_at = Instant::now();
        let running = self.farm.running.of(self.build);
        let differs =
            running != self.running || self.foretold.differs(self.finish(), Instant::now());
        self.running = running;
        differs || self.is_parent
    }

    fn is_much(changes: &BuildChanges) -> bool {
        changes.subjobs.len() > AT_ONCE && changes.subjobs.len() <= MOST
    }

    async fn look(
        &mut self,
        room: Cursor<BuildChanges>,
        joining: Vec<Cursor<BuildChanges>>,
    ) -> Result<Looked<BuildChanges>, Gone> {
        let (id, running) = (self.build, self.farm.running.of(self.build));
        let told = std::mem::take(&mut self.started);
        let look = move |cluster: &Cluster| look(cluster, id, &running, &told, (room, joining));
        let seen = self.farm.cluster.read(look).await?;
        self.tell(seen).map_err(|error| {
            tracing::error!(build.id = id.0, %error, "an event could not be written");
            Gone
        })
    }
}

/// What there is to tell of a build that is archived. A reader that does not know its end yet reads it anew.
pub(super) async fn of_archived(
    api: &Api,
    id: BuildId,
    last: Option<u64>,
) -> Result<Vec<Frame>, ApiError> {
    let (audience, mut view) = {
        let look = move |cluster: &Cluster| Audience::of_project(cluster.project_of(id));
        let audience = api.cluster.read(look).await?;
        (
            audience,
            shapes::ended_build(&api.builds.archived(id).await?),
        )
    };
    view.warnings.extend(api.results.damages(id));
    let first = match last {
        None => Some(Frame::bare("begin")),
        Some(last) => {
            let reader = api.live.feed.reader_after(last);
            let mut cursor = Cursor::new(reader, BuildChanges::of(id), Some(last));
            cursor.catch_up();
            let has_missed = cursor.missed || !cursor.changes.subjobs.is_empty();
            has_missed.then(Frame::reload)
        }
    };
    let build = shapes::in_version(view, ApiVersion::V2);
    let build = Frame::new(audience, "build", &BuildBody { build });
    let build = build.map_err(|error| ApiError::Disk {
        what: "Writing an answer",
        source: error.into(),
    })?;
    Ok(first
        .into_iter()
        .chain([build, Frame::bare("end")])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_anew_when_they_would_count_down_to_something_else() {
        let finish = |median: f64| {
            let (low, high) = (median - 0.1, median + 0.1);
            Some(FinishView { median, low, high })
        };
        let mut foretold = Foretold::new();
        let began = Instant::now();
        foretold.told = (None, began);
        let after = |seconds| began + Duration::from_secs(seconds);
        assert!(!foretold.differs(None, began) && foretold.differs(finish(100.0), began));
        foretold.told = (finish(100.0), began);
        for (seconds, median, differs) in [
            (0, 100.0, false),
            (0, 96.0, false),
            (0, 94.0, true),
            (90, 100.0, true),
            (90, 10.0, false),
            (90, 9.5, false),
            (90, 8.0, true),
            (180, 0.5, false),
        ] {
            let found = foretold.differs(finish(median), after(seconds));
            assert_eq!(found, differs, "{median} after {seconds} s");
        }
        assert!(foretold.differs(None, after(1)));
    }
}
