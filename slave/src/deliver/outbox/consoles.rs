//! The consoles of atoms whose results are on their way to the master.

use super::{Batch, Outbox};
use crate::deliver::result_archive::open_console;
use crate::work::{AtomConsole, AtomEnd};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::results::artifact::{CONSOLE_FILE, directory_name};
use clusterrunner_common::results::block::content_of;
use std::fs::File;
use std::io::{self, BufReader, Seek as _};
use std::path::Path;
use std::sync::Arc;

/// The whole console of an atom that has ended.
#[derive(Debug)]
pub(crate) enum EndedConsole {
    /// In memory.
    Memory(Vec<u8>),
    /// A file, from its beginning.
    File(File),
}

impl Outbox {
    /// The console of an atom that has ended, of the newest attempt whose result is here. Blocks.
    pub(crate) fn console(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    ) -> Option<EndedConsole> {
        let batch = {
            let lanes = self.lock();
            let lane = lanes.builds.get(&build)?;
            let mut gathered = lane.gathered.iter().rev();
            match gathered.find(|finished| finished.hand_out.subjob == subjob) {
                // It has no files, or it would not gather.
                Some(finished) => return in_memory(&finished.atoms, atom),
                None => Arc::clone(lane.batches.get(&subjob)?),
            }
        };
        let atoms = batch.finished();
        let atoms = atoms.iter().flat_map(|finished| finished.iter().rev());
        let atoms = atoms.filter(|finished| finished.hand_out.subjob == subjob);
        let found = atoms
            .map(|finished| in_memory(&finished.atoms, atom))
            .next();
        // Between the two looks, files may have gone into the packed one.
        found
            .flatten()
            .or_else(|| self.in_file(&batch.file()?, build, subjob, atom))
    }

    fn in_file(
        &self,
        packed: &Path,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    ) -> Option<EndedConsole> {
        let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
        let copied = regular_file::open_itself(packed).and_then(|packed| {
            let mut console = self.data.scratch_file(build)?;
            content_of(BufReader::new(packed), 0, u64::MAX, &name, |content| {
                io::copy(content, &mut console)
            })?;
            console.rewind()?;
            Ok(console)
        });
        match copied {
            Ok(console) => Some(EndedConsole::File(console)),
            Err(error) => {
                tracing::debug!(path = %packed.display(), %error, "a console could not be read");
                None
            }
        }
    }

    /// A batch is on its way no more, and its file not there.
    pub(super) fn is_gone(&self, batch: &Batch) {
        batch.lies_in(None);
        let mut lanes = self.lock();
        let Some(lane) = lanes.builds.get_mut(&batch.build) else {
            return;
        };
        for hand_out in &batch.hand_outs {
            let newest = lane.batches.get(&hand_out.subjob);
            if newest.is_some_and(|newest| std::ptr::eq(Arc::as_ptr(newest), batch)) {
                lane.batches.remove(&hand_out.subjob);
            }
        }
    }
}

fn in_memory(atoms: &[AtomEnd], atom: AtomId) -> Option<EndedConsole> {
    let atom = atoms.get(usize::try_from(atom.0).ok()?)?;
    match &atom.console {
        AtomConsole::Memory(text) => Some(EndedConsole::Memory(text.clone())),
        AtomConsole::File(path) => Some(EndedConsole::File(open_console(path).ok()??)),
    }
}
