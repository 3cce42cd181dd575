//! The end of a build: what runs is stopped, then what it left is cleaned up.

use super::{Build, Effect, EndingStage, Stage, Work, setup_failed, torn_down};
use clusterrunner_common::ids::BuildId;

impl Work {
    pub(super) fn tear_down(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        match self.builds.get_mut(&id).map(|build| &mut build.stage) {
            // The answer or the report was lost: saying it again lets the master go on.
            None => effects.push(torn_down(id, None)),
            Some(Stage::Ending {
                report_idle, next, ..
            }) => {
                *report_idle = true;
                *next = None;
            }
            Some(Stage::SettingUp | Stage::Ready(_) | Stage::Renewing(_)) => {
                self.end_build(id, true, effects);
            }
        }
    }

    /// Cancels what runs, drops what waits. Undelivered results are dropped too: a master tears a
    /// build down only when it has every result of this slave, or wants no more of them.
    pub(super) fn end_build(&mut self, id: BuildId, report_idle: bool, effects: &mut Vec<Effect>) {
        let dropped = self.drop_waiting(id);
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        let is_running = build.active.values().any(|step| step.uses_files());
        let (stage, unfinished) = match std::mem::replace(&mut build.stage, Stage::SettingUp) {
            Stage::SettingUp => (EndingStage::SetupStops, true),
            Stage::Ready(project) | Stage::Renewing(project) => (
                EndingStage::HandOutsStop(Some(project)),
                dropped || is_running,
            ),
            already @ Stage::Ending { .. } => {
                build.stage = already;
                return;
            }
        };
        build.stage = Stage::Ending {
            stage,
            report_idle,
            next: None,
        };
        effects.push(Effect::CancelBuild(id));
        if unfinished || self.stopping {
            effects.push(Effect::Hurry(id));
        }
        self.clean_up_if_settled(id, effects);
    }

    /// Says whether there was any.
    pub(super) fn drop_waiting(&mut self, id: BuildId) -> bool {
        let Some(build) = self.builds.get_mut(&id) else {
            return false;
        };
        let dropped = std::mem::take(&mut build.waiting).len();
        build.places.clear();
        self.num_waiting -= dropped;
        dropped > 0
    }

    pub(super) fn clean_up_if_settled(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        if !build.active.is_empty() || self.hunts.are_of(id) {
            return;
        }
        if let Stage::Ending { stage, .. } = &mut build.stage
            && let EndingStage::HandOutsStop(project) = stage
        {
            let project = project.take();
            *stage = EndingStage::CleaningUp;
            effects.push(Effect::CleanUp { build: id, project });
        }
    }

    pub(super) fn clean_up_ended(
        &mut self,
        id: BuildId,
        trouble: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Build {
            stage: Stage::Ending {
                report_idle, next, ..
            },
            mut notes,
            ..
        }) = self.builds.remove(&id)
        else {
            return;
        };
        match next {
            Some(order) => {
                // While the process stops, no order waits for it.
                if let Err(refusal) = self.set_up(order, effects)
                    && !self.stopping
                {
                    effects.push(setup_failed(id, refusal.to_string()));
                }
            }
            None if report_idle && !self.stopping => {
                notes.extend(trouble);
                let told = (!notes.is_empty()).then(|| notes.join("\n"));
                effects.push(torn_down(id, told));
            }
            None => {}
        }
    }

    pub(super) fn end_all(&mut self, effects: &mut Vec<Effect>) {
        for id in self.builds.keys().copied().collect::<Vec<_>>() {
            match self.builds.get_mut(&id).map(|build| &mut build.stage) {
                Some(Stage::Ending {
                    report_idle, next, ..
                }) => {
                    *report_idle = false;
                    *next = None;
                    effects.push(Effect::Hurry(id));
                }
                _ => self.end_build(id, false, effects),
            }
        }
    }
}
