//! A project whose directory is gone: an atom can remove it. That atom's own result stands. The slave sets the build
//! up again for later atoms and tells the master in a note at the build's end.

use super::{Effect, MAX_RENEWALS, Stage, Waiting, Work};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::ProjectSource;

const NOTE: &str = "an atom or another process removed the project's directory; the build was set up again for the \
                    atoms after it";

impl Work {
    /// A hand-out could not be started without its project: it waits again, until that is there.
    pub(super) fn project_is_gone(
        &mut self,
        id: BuildId,
        waiting: Waiting,
        effects: &mut Vec<Effect>,
    ) {
        let hand_out = waiting.subjob.of(id);
        let is_wanted = self.step_that_counts(hand_out).is_some();
        let Some(build) = self.builds.get_mut(&id).filter(|_| is_wanted) else {
            return self.step_ended(hand_out, None, effects);
        };
        let is_ours = !matches!(build.order.source, ProjectSource::Directory { .. });
        match &build.stage {
            Stage::Ready(project) if is_ours && build.renewals < MAX_RENEWALS => {
                build.stage = Stage::Renewing(project.clone());
            }
            Stage::Renewing(_) => {}
            Stage::Ready(_) | Stage::SettingUp | Stage::Ending { .. } => {
                let reason = "the project's directory is gone".to_owned();
                return self.step_ended(hand_out, Some(reason), effects);
            }
        }
        build.active.remove(&hand_out);
        let number = self.num_arrived;
        self.num_arrived += 1;
        self.num_waiting += 1;
        build.places.insert(hand_out.subjob, number);
        build.waiting.insert(number, waiting);
    }

    /// Sets a build up again as soon as nothing of it runs.
    pub(super) fn renew_if_settled(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        if build.num_running > 0
            || self.hunts.are_of(id)
            || !matches!(build.stage, Stage::Renewing(_))
        {
            return;
        }
        build.stage = Stage::SettingUp;
        build.renewals += 1;
        effects.push(Effect::SetUpAgain(build.order.clone()));
        self.note(Some(id), NOTE.to_owned());
    }
}
