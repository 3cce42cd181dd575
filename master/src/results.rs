//! Where the results of a build lie on the master's disk:
//! `results/<build>/<subjob>.<attempt>.tar.gz` as they came, then `results.tar.gz` and
//! `results.zip`. Nothing is ever unpacked to files.

use crate::cluster::effect::MadeResult;
use crate::cluster::event::{AtomOutcome, AtomTrouble};
use clusterrunner_common::api::{AtomReport, TIMED_OUT_EXIT_CODE};
use clusterrunner_common::artifact::{
    COMMAND_FILE, CONSOLE_FILE, EXIT_CODE_FILE, TIME_FILE, directory_name, parse_directory_name,
};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

/// The largest exit-code or time file that is read.
const MAX_SMALL_FILE: u64 = 64;

/// The results of all builds.
#[derive(Clone, Debug)]
pub struct Results {
    directory: PathBuf,
}

/// What is wrong with an uploaded result. The text goes to the slave and into the log.
#[derive(Debug, thiserror::Error)]
pub enum UnusableResult {
    /// It is not a gzip-compressed tar archive.
    #[error("not a gzip-compressed tar archive: {0}")]
    NotAnArchive(#[source] io::Error),
    /// A member lies outside the directories of the subjob's atoms.
    #[error("the member '{0}' does not belong to an atom of this subjob")]
    StrayMember(String),
    /// What its slave reports beside it contradicts it.
    #[error("the report about atom {0} does not fit the result")]
    ReportMisfit(AtomId),
    /// An atom's exit code is missing or no number.
    #[error("{directory}/{EXIT_CODE_FILE} is missing or holds no number")]
    NoExitCode {
        /// The atom's directory.
        directory: String,
    },
}

impl Results {
    /// Results below `directory`.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn of_build(&self, build: BuildId) -> PathBuf {
        self.directory.join(build.to_string())
    }

    /// The archive of one subjob, as its slave sent it.
    #[must_use]
    pub fn of_subjob(&self, build: BuildId, subjob: SubjobId, attempt: Attempt) -> PathBuf {
        self.of_build(build)
            .join(format!("{subjob}.{attempt}.tar.gz"))
    }

    /// The archive of the whole build as `tar.gz`.
    #[must_use]
    pub fn tar(&self, build: BuildId) -> PathBuf {
        self.of_build(build).join("results.tar.gz")
    }

    /// The archive of the whole build as `zip`.
    #[must_use]
    pub fn zip(&self, build: BuildId) -> PathBuf {
        self.of_build(build).join("results.zip")
    }

    /// A new file for something that is still coming in, in the build's own directory so that it
    /// can be renamed. Removed when dropped, unless it was kept.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn incoming(&self, build: BuildId) -> io::Result<Incoming> {
        let directory = self.of_build(build);
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("incoming-{}", hex(&random_bytes::<8>())));
        let file = File::create_new(&path)?;
        Ok(Incoming { path, file })
    }

    /// How many bytes there are of a build.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn size(&self, build: BuildId) -> io::Result<u64> {
        let mut bytes = 0;
        for file in entries(&self.of_build(build))? {
            bytes += file.metadata()?.len();
        }
        Ok(bytes)
    }

    /// Removes all that there is of a build; nothing where there is nothing. Whoever reads one of its
    /// files goes on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, build: BuildId) -> io::Result<()> {
        match std::fs::remove_dir_all(self.of_build(build)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what an earlier process left half written, and directories of which nothing is left.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_incoming(&self) -> io::Result<()> {
        if !self.directory.exists() {
            return Ok(());
        }
        for build in std::fs::read_dir(&self.directory)? {
            let build = build?.path();
            for file in std::fs::read_dir(&build)? {
                let file = file?;
                if file.file_name().to_string_lossy().starts_with("incoming-") {
                    std::fs::remove_file(file.path())?;
                }
            }
            match std::fs::remove_dir(build) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the subjobs' archives once the build's archives hold them, or nobody is to have them;
    /// how many there were.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_subjobs(&self, build: BuildId) -> io::Result<usize> {
        let mut removed = 0;
        for file in entries(&self.of_build(build))? {
            let name = file.file_name();
            if !matches!(name.to_str(), Some("results.tar.gz" | "results.zip")) {
                std::fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Opens the console output of an atom with a result: from its subjob's archive, or from the
    /// build's once that took its place.
    ///
    /// # Errors
    /// The disk refuses, or there is no such file (`NotFound`).
    pub fn console(
        &self,
        build: BuildId,
        subjob: SubjobId,
        attempt: Attempt,
        atom: AtomId,
    ) -> io::Result<File> {
        let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
        match File::open(self.of_subjob(build, subjob, attempt)) {
            Ok(archive) => console_from_tar(archive, &name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                console_from_zip(File::open(self.zip(build))?, &name)
            }
            Err(error) => Err(error),
        }
    }
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn console_from_tar(archive: File, name: &str) -> io::Result<File> {
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(archive)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.to_str() == Some(name) {
            return spooled(&mut entry);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn console_from_zip(archive: File, name: &str) -> io::Result<File> {
    let mut archive = zip::ZipArchive::new(BufReader::new(archive))?;
    match archive.by_name(name) {
        Ok(mut entry) => spooled(&mut entry),
        Err(zip::result::ZipError::FileNotFound) => Err(io::ErrorKind::NotFound.into()),
        Err(error) => Err(error.into()),
    }
}

/// Compressed text can not be searched from its end, so it is laid out in a nameless file.
fn spooled(text: &mut impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(text, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Writes the result of a subjob that no slave could run, in the layout in which slaves send theirs.
///
/// # Errors
/// The disk refuses.
pub fn make(results: &Results, build: BuildId, made: &MadeResult) -> io::Result<()> {
    let incoming = results.incoming(build)?;
    let gzip = GzEncoder::new(BufWriter::new(incoming.file()), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (id, atom) in (0..).map(AtomId).zip(&made.atoms) {
        let directory = directory_name(made.subjob, id);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, format!("{directory}/"), io::empty())?;
        let exit_code = format!("{}\n", atom.exit_code);
        for (name, content) in [
            (COMMAND_FILE, atom.command.as_str()),
            (CONSOLE_FILE, atom.console.as_str()),
            (EXIT_CODE_FILE, exit_code.as_str()),
            (TIME_FILE, "0.0\n"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(
                &mut header,
                format!("{directory}/{name}"),
                content.as_bytes(),
            )?;
        }
    }
    tar.into_inner()?.finish()?.flush()?;
    incoming.keep(&results.of_subjob(build, made.subjob, made.attempt))
}

/// A file that is still being written. Removed when dropped, unless it was kept.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
}

impl Incoming {
    /// The file, to write to or to read from its start.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings it to disk under its lasting name; a file of that name is replaced.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(self, name: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, name)?;
        match name.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After `keep` there is nothing of this name any more.
        std::fs::remove_file(&self.path).ok();
    }
}

/// Reads how each atom of a subjob ended from the archive that its slave sent, and checks that it
/// holds nothing else.
///
/// # Errors
/// See [`UnusableResult`].
pub fn outcomes(
    archive: impl Read,
    subjob: SubjobId,
    num_atoms: usize,
) -> Result<Vec<AtomOutcome>, UnusableResult> {
    let mut exit_codes: BTreeMap<AtomId, i32> = BTreeMap::new();
    let mut durations: BTreeMap<AtomId, u64> = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries().map_err(UnusableResult::NotAnArchive)? {
        let mut entry = entry.map_err(UnusableResult::NotAnArchive)?;
        let path = entry
            .path()
            .map_err(UnusableResult::NotAnArchive)?
            .into_owned();
        let stray = || UnusableResult::StrayMember(path.display().to_string());
        let (owner, rest) = atom_of(&path).ok_or_else(stray)?;
        if owner.0 != subjob || owner.1.0 as usize >= num_atoms {
            return Err(stray());
        }
        let mut read_small = || {
            let mut text = String::new();
            let read = (&mut entry).take(MAX_SMALL_FILE).read_to_string(&mut text);
            read.ok().map(|_| text.trim().to_owned())
        };
        if rest == Path::new(EXIT_CODE_FILE) {
            let code = read_small().and_then(|text| text.parse().ok());
            let code = code.ok_or_else(|| no_exit_code(subjob, owner.1))?;
            exit_codes.insert(owner.1, code);
        } else if rest == Path::new(TIME_FILE) {
            let seconds = read_small().and_then(|text| text.parse::<f64>().ok());
            durations.insert(owner.1, seconds.map_or(0, milliseconds));
        }
    }
    let atoms = (0..num_atoms)
        .filter_map(|index| u32::try_from(index).ok())
        .map(AtomId);
    atoms
        .map(|atom| {
            let exit_code = *exit_codes
                .get(&atom)
                .ok_or_else(|| no_exit_code(subjob, atom))?;
            let duration_ms = durations.get(&atom).copied().unwrap_or(0);
            Ok(AtomOutcome {
                exit_code,
                duration_ms,
                trouble: None,
            })
        })
        .collect()
}

/// Adds what the slave says beside the archive.
///
/// # Errors
/// [`UnusableResult::ReportMisfit`]: an atom that is not there, or has another exit code than one
/// that timed out.
pub fn add_reports(
    outcomes: &mut [AtomOutcome],
    reports: &[AtomReport],
) -> Result<(), UnusableResult> {
    for report in reports {
        let misfit = UnusableResult::ReportMisfit(report.id);
        let Some(after_s) = report.timed_out_after_s else {
            continue;
        };
        match outcomes.get_mut(report.id.0 as usize) {
            Some(outcome) if outcome.exit_code == TIMED_OUT_EXIT_CODE => {
                outcome.trouble = Some(AtomTrouble::TimedOut { after_s });
            }
            Some(_) | None => return Err(misfit),
        }
    }
    Ok(())
}

fn no_exit_code(subjob: SubjobId, atom: AtomId) -> UnusableResult {
    let directory = directory_name(subjob, atom);
    UnusableResult::NoExitCode { directory }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and a wrong duration does no harm"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Whose file a member of an archive is, and its path inside that atom's directory. `None` for a
/// path that is absolute, climbs, or does not begin with an artifact directory.
pub(crate) fn atom_of(path: &Path) -> Option<((SubjobId, AtomId), &Path)> {
    let is_plain = |part| matches!(part, Component::Normal(_));
    if !path.components().all(is_plain) {
        return None;
    }
    let directory = path.components().next()?;
    let owner = parse_directory_name(directory.as_os_str().to_str()?)?;
    Some((owner, path.strip_prefix(directory).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in members {
            let mut header = tar::Header::new_gnu();
            // Written raw, since the builder itself refuses paths that climb.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn check_unusable(archive: &[u8], error: &str) {
        let found = outcomes(archive, SubjobId(3), 1).unwrap_err().to_string();
        assert!(found.contains(error), "{found}");
    }

    #[test]
    fn exit_codes_and_times_are_read() {
        let archive = archive(&[
            ("artifact_3_1/clusterrunner_exit_code", "-9\n"),
            ("artifact_3_0/clusterrunner_exit_code", "0\n"),
            ("artifact_3_0/clusterrunner_time", "1.25\n"),
            ("artifact_3_0/sub/clusterrunner_exit_code", "not ours"),
        ]);
        let expected = [
            AtomOutcome {
                exit_code: 0,
                duration_ms: 1250,
                trouble: None,
            },
            AtomOutcome {
                exit_code: -9,
                duration_ms: 0,
                trouble: None,
            },
        ];
        assert_eq!(outcomes(&*archive, SubjobId(3), 2).unwrap(), expected);
    }

    #[test]
    fn a_report_must_fit_the_archive() {
        let outcome = |exit_code| AtomOutcome {
            exit_code,
            duration_ms: 0,
            trouble: None,
        };
        let report = |id| AtomReport {
            id: AtomId(id),
            timed_out_after_s: Some(7),
        };
        let mut outcomes = [outcome(1), outcome(TIMED_OUT_EXIT_CODE)];
        add_reports(&mut outcomes, &[report(1)]).unwrap();
        let trouble = outcomes[1].trouble.unwrap();
        assert_eq!(trouble, AtomTrouble::TimedOut { after_s: 7 });
        assert_eq!(outcomes[0], outcome(1));
        for misfit in [0, 2] {
            add_reports(&mut outcomes, &[report(misfit)]).unwrap_err();
        }
    }

    #[test]
    fn an_archive_that_is_damaged_or_holds_others_files_is_unusable() {
        check_unusable(b"plain text", "not a gzip");
        check_unusable(
            &archive(&[]),
            "artifact_3_0/clusterrunner_exit_code is missing",
        );
        check_unusable(
            &archive(&[("artifact_3_0/clusterrunner_exit_code", "zero")]),
            "holds no number",
        );
        for stray in [
            "/etc/passwd",
            "../x",
            "artifact_3_0/../../x",
            "artifact_4_0/x",
            "artifact_3_1/x",
            "x",
        ] {
            check_unusable(&archive(&[(stray, "")]), "does not belong");
        }
        let mut torn = archive(&[("artifact_3_0/clusterrunner_exit_code", "0")]);
        torn.truncate(torn.len() / 2);
        check_unusable(&torn, "not a gzip");
    }
}
