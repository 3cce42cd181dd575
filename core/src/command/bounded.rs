//! Commands without long reasons.

use super::Command;
use crate::builds::bounded_text::bounded;

impl Command {
    /// The same command, its text bounded.
    pub(crate) fn bounded(mut self) -> Self {
        if let Self::ReportPreparationFailed { reason, .. }
        | Self::ReportArchivingFailed { reason, .. }
        | Self::ReportSetupFailed { reason, .. }
        | Self::Withhold { reason, .. }
        | Self::ReportRefusal { reason, .. }
        | Self::ReportUnusable { reason, .. }
        | Self::ReportSlaveDied { reason, .. }
        | Self::GiveSlaveUp { reason, .. } = &mut self
        {
            *reason = bounded(std::mem::take(reason));
        }
        self
    }
}
