//! What keeps a command of an executor apart from its machine, and what is known at its end.

use super::running::Running;
use super::{RunError, SubjobExecutor};
use crate::containers::BuildContainer;
use crate::isolation::{Enclosed, Enclosure};
use crate::work::RunOrder;
use clusterrunner_common::process::command::Ended;
use clusterrunner_common::work::{IsolationLevel, LimitHit};
use std::path::Path;

impl SubjobExecutor {
    /// What keeps a command apart, if anything is to. `artifacts` is its `$ARTIFACT_DIR`.
    pub(super) fn enclose(
        &self,
        order: &RunOrder,
        artifacts: &Path,
        mark: &str,
    ) -> Result<Option<Enclosure>, RunError> {
        if matches!(
            order.isolation.level,
            IsolationLevel::None | IsolationLevel::Container
        ) {
            return Ok(None);
        }
        let atoms = self.means.data.atoms_file(self.executor);
        // It is there for a batch alone.
        let atoms = atoms.exists().then_some(atoms);
        let secrets = order.variables.secret_files.clone();
        let readable: Vec<_> = atoms.into_iter().chain(secrets).collect();
        let enclosed = Enclosed {
            build: order.hand_out.build,
            project: Some(&order.project_directory),
            writable: &[artifacts],
            readable: &readable,
            mark,
        };
        let enclosure = self.means.isolator.enclose(&order.isolation, enclosed);
        Ok(enclosure?)
    }
}

/// The limit that a command has hit which has ended; an error where it was not even started.
pub(super) fn over(
    (enclosure, container): (&mut Option<Enclosure>, Option<&BuildContainer>),
    running: &mut Running,
    ended: Ended,
) -> Result<Option<LimitHit>, RunError> {
    match enclosure {
        Some(enclosure) => {
            enclosure.check(ended)?;
            Ok(enclosure.hit())
        }
        None => Ok(container.map_or_else(|| running.hit(), BuildContainer::hit)),
    }
}
