//! The consoles of atoms whose results are on their way to the master.

use super::lanes::Lanes;
use super::parcel::Parcel;
use crate::data_directory::DataDirectory;
use crate::deliver::result_archive::open_console;
use crate::work::{AtomConsole, AtomEnd};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::results::artifact::{CONSOLE_FILE, directory_name};
use clusterrunner_common::results::block::content_of;
use std::fs::File;
use std::io::{self, BufReader, Seek as _};
use std::sync::{Arc, Mutex};

/// The whole console of an atom that has ended.
#[derive(Debug)]
pub(crate) enum EndedConsole {
    /// In memory.
    Memory(Vec<u8>),
    /// A file, from its beginning.
    File(File),
}

/// The console of an atom that has ended, of the newest attempt whose result is here. Blocks.
pub(super) fn find(
    lanes: &Mutex<Lanes>,
    data: &DataDirectory,
    build: BuildId,
    (subjob, atom): (SubjobId, AtomId),
) -> Option<EndedConsole> {
    let parcel = {
        let lanes = lock(lanes);
        let lane = lanes.builds.get(&build)?;
        let mut gathered = lane.gathered.iter().rev();
        match gathered.find(|finished| finished.hand_out.subjob == subjob) {
            // It has no files, or it would not gather.
            Some(finished) => return in_memory(&finished.atoms, atom),
            None => Arc::clone(lane.parcels.get(&subjob)?),
        }
    };
    let finished = parcel.finished();
    let mut finished = finished.iter().flat_map(|all| all.iter().rev());
    let found = finished.find(|one| one.hand_out.subjob == subjob);
    // Between the two looks, files may have gone into the packed one.
    found
        .and_then(|one| in_memory(&one.atoms, atom))
        .or_else(|| match parcel.is_file() {
            true => in_file(data, &parcel, subjob, atom),
            false => None,
        })
}

fn in_file(
    data: &DataDirectory,
    parcel: &Parcel,
    subjob: SubjobId,
    atom: AtomId,
) -> Option<EndedConsole> {
    let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
    let copied = regular_file::open_itself(&parcel.file).and_then(|packed| {
        let mut console = data.scratch_file(parcel.build)?;
        content_of(BufReader::new(packed), 0, u64::MAX, &name, |content| {
            io::copy(content, &mut console)
        })?;
        console.rewind()?;
        Ok(console)
    });
    match copied {
        Ok(console) => Some(EndedConsole::File(console)),
        Err(error) => {
            tracing::debug!(path = %parcel.file.display(), %error, "a console could not be read");
            None
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
