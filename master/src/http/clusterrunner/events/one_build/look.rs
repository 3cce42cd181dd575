//! What one look at the cluster takes along of a build.

use super::BuildChanges;
use crate::http::clusterrunner::events::frames::{Audience, Frame};
use crate::http::clusterrunner::events::room::Cursor;
use crate::http::clusterrunner::shapes::{self, AtomRow};
use crate::read::running::{RunningInBuild, Runs};
use clusterrunner_common::api::{BuildView, RunningAtom};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::{Build, BuildState};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How many subjobs a look takes along: about half a millisecond of the coordinator's time.
pub(super) const AT_ONCE: usize = 512;

/// Where more subjobs than these have changed at once, readers are told to read anew.
pub(super) const MOST: usize = 2_000;

/// What one look takes along.
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) room: Cursor<BuildChanges>,
    pub(super) joining: Vec<Cursor<BuildChanges>>,
    pub(super) found: Found,
}

pub(super) enum Found {
    Build(Box<SeenBuild>),
    /// It has left memory: all was told before.
    Archived,
    /// Nobody is shown it any more.
    Removed,
}

pub(super) struct SeenBuild {
    pub(super) view: BuildView,
    pub(super) audience: Audience,
    pub(super) is_over: bool,
    pub(super) rows: BTreeMap<SubjobId, Vec<AtomRow>>,
    /// Of these subjobs the room is told.
    pub(super) of_room: BTreeSet<SubjobId>,
    pub(super) started: BTreeMap<SubjobId, RunningAtom>,
}

impl SeenBuild {
    pub(super) fn rows_frame<'a>(
        &self,
        subjobs: impl Iterator<Item = &'a SubjobId>,
    ) -> Result<Option<Frame>, serde_json::Error> {
        let rows = subjobs.filter_map(|id| self.rows.get(id)).flatten();
        let rows: Vec<&AtomRow> = rows.collect();
        let frame = || Frame::new(self.audience.clone(), "atoms", &json!({ "rows": rows }));
        (!rows.is_empty()).then(frame).transpose()
    }
}

/// Takes along what has changed.
pub(super) fn look(
    cluster: &Cluster,
    id: BuildId,
    running: &RunningInBuild,
    told: &BTreeMap<SubjobId, RunningAtom>,
    (mut room, mut joining): (Cursor<BuildChanges>, Vec<Cursor<BuildChanges>>),
) -> Seen {
    room.catch_up();
    joining.iter_mut().for_each(Cursor::catch_up);
    let found = match cluster.build(id).filter(|_| !cluster.is_deleted(id)) {
        Some(build) => {
            let seen = look_at(cluster, build, (running, told), &mut room, &mut joining);
            Found::Build(Box::new(seen))
        }
        None if cluster.is_ended(id) && !cluster.is_deleted(id) => Found::Archived,
        None => Found::Removed,
    };
    Seen {
        id: cluster.lineage().position(),
        room,
        joining,
        found,
    }
}

fn look_at(
    cluster: &Cluster,
    build: &Build,
    (running, told): (&RunningInBuild, &BTreeMap<SubjobId, RunningAtom>),
    room: &mut Cursor<BuildChanges>,
    joining: &mut [Cursor<BuildChanges>],
) -> SeenBuild {
    let mut started = BTreeMap::new();
    let known: BTreeSet<SubjobId> = told.keys().copied().chain(running.subjobs()).collect();
    for subjob in known {
        let atom = match running.runs(cluster, build, subjob) {
            Runs::Atom(atom) => Some(atom),
            Runs::No | Runs::CutOff | Runs::Unsaid => None,
        };
        if told.get(&subjob) != atom.as_ref() {
            room.changes.subjobs.insert(subjob);
        }
        started.extend(atom.map(|atom| (subjob, atom)));
    }
    if room.missed || room.changes.subjobs.len() > MOST {
        room.missed = true;
        room.changes.subjobs.clear();
    }
    room.changes.itself = false;
    let rest = match room.changes.subjobs.iter().nth(AT_ONCE).copied() {
        Some(next) => room.changes.subjobs.split_off(&next),
        None => BTreeSet::new(),
    };
    let of_room = std::mem::replace(&mut room.changes.subjobs, rest);
    let mut wanted: BTreeSet<SubjobId> = of_room.iter().chain(started.keys()).copied().collect();
    for cursor in joining {
        // Those who come together share what one look may take along.
        if cursor.changes.subjobs.len() + wanted.len() > MOST {
            cursor.missed = true;
        } else if !cursor.missed {
            wanted.extend(&cursor.changes.subjobs);
        }
    }
    let rows = wanted.into_iter().filter_map(|id| {
        let runs = running.runs(cluster, build, id);
        let rows = shapes::atom_rows(build, id, build.subjob(id)?, runs);
        Some((id, rows))
    });
    SeenBuild {
        rows: rows.collect(),
        view: shapes::build_at(cluster, build, running, Timestamp::now()),
        audience: Audience::of_project(cluster.project_of(build.id)),
        is_over: is_told_to_the_end(cluster, build),
        of_room,
        started,
    }
}

/// Whether nothing of a build will change. What slaves ran of a build that ended early becomes known when they have
/// cleared it away.
fn is_told_to_the_end(cluster: &Cluster, build: &Build) -> bool {
    let mut slaves = cluster.called_slaves();
    build.state == BuildState::Finished
        || build.is_over() && !slaves.any(|slave| slave.builds.contains_key(&build.id))
}
