//! Who gives which command.

use super::Command;
use crate::actor::Actor;
use crate::builds::hand_out::HandOut;
use crate::slaves::key_facts::Joining;

impl Command {
    /// The actor that gives the command.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::QueueBuild { by, .. }
            | Self::QueueBuildOf { by, .. }
            | Self::Account { by, .. }
            | Self::Project { by, .. }
            | Self::App { by, .. }
            | Self::SlaveKey { by, .. }
            | Self::SignIn { by, .. }
            | Self::CancelBuild { by, .. }
            | Self::NoteOnBuild { by, .. }
            | Self::DescribeBuild { by, .. }
            | Self::DeleteBuild { by, .. }
            | Self::PostStatus { by, .. }
            | Self::DeleteTemplate { by, .. }
            | Self::DrainSlave { by, .. }
            | Self::UndrainSlave { by, .. }
            | Self::Launch { by, .. }
            | Self::StopInstance { by, .. }
            | Self::Preload { by, .. }
            | Self::ShutDownSlaves { by, .. } => *by,
            // It has no registration yet.
            Self::ConnectSlave { key, .. } => match key.map(|key| key.joins) {
                None | Some(Some(Joining::Secret)) => Actor::SecretHolder,
                Some(Some(Joining::Token(token))) => Actor::JoinToken(token),
                Some(None) => Actor::SlaveKey,
            },
            Self::ConnectLegacySlave { .. } => Actor::Nobody,
            Self::ReportStopped { slave }
            | Self::WarnOfBuild { slave, .. }
            | Self::ReportInstances { slave, .. }
            | Self::ReportSetUp { slave, .. }
            | Self::ReportSetupFailed { slave, .. }
            | Self::ReportRefusal { slave, .. }
            | Self::ReportTornDown { slave, .. }
            | Self::ReportFinished {
                hand_out: HandOut { slave, .. },
                ..
            }
            | Self::ReportUnusable {
                hand_out: HandOut { slave, .. },
                ..
            } => Actor::Slave(*slave),
            Self::ReportPrepared { .. }
            | Self::ReportPreparationFailed { .. }
            | Self::ReportPreparationStopped { .. }
            | Self::GiveSlaveUp { .. }
            | Self::Withhold { .. }
            | Self::ReportSlaveDied { .. }
            | Self::ReportSlaveStartedAgain { .. }
            | Self::ReportEnding { .. }
            | Self::ReportCutOff { .. }
            | Self::ReportHunted { .. }
            | Self::ReportHunting { .. }
            | Self::ReportArchived { .. }
            | Self::ReportArchivingFailed { .. }
            | Self::ReportKept { .. }
            | Self::ForgetBuilds { .. }
            | Self::ReportCleared { .. }
            | Self::ForgetSlaves
            | Self::CullInstances { .. }
            | Self::ForgetInstances
            | Self::ForgetTemplates { .. }
            | Self::ReportDamagedSnapshot { .. }
            | Self::Start { .. }
            | Self::BeginIncarnation { .. } => Actor::Master,
        }
    }
}
