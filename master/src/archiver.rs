//! Makes the archives of a build from its subjobs' results: one pass, stream to stream.

use crate::cluster::command::Command;
use crate::cluster::effect::MadeResult;
use crate::results::{Results, atom_of, make};
use clusterrunner_common::artifact::FAILURES_FILE;
use clusterrunner_common::disk_space::{DiskSpace, is_disk_full};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tar::EntryType;
use tokio_util::sync::CancellationToken;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Fast: the network is mostly quicker than a thorough compressor.
const TAR_COMPRESSION: Compression = Compression::new(1);
const ZIP_COMPRESSION: i64 = 1;
/// Mode of files that we make ourselves.
const FILE_MODE: u32 = 0o644;
/// The size of a tar header's field for a name.
const SHORT_NAME: usize = 100;
const BUFFER: usize = 64 << 10;
/// What archives have beside their members, generously.
const FRAMES: u64 = 256 << 10;
/// The pause after the disk was found full.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Makes both archives and says how it went; `None` if it was told to stop. Waits while the disk has
/// no place for them.
pub async fn archive(
    results: Results,
    space: DiskSpace,
    build: BuildId,
    subjobs: Vec<(SubjobId, Attempt)>,
    failures: Vec<String>,
    made: Vec<MadeResult>,
    stop: CancellationToken,
) -> Option<Command> {
    let (subjobs, failures, made) = (Arc::new(subjobs), Arc::new(failures), Arc::new(made));
    let what = format!("archiving build {build}");
    let done = loop {
        let work = tokio::task::spawn_blocking({
            let (results, stop) = (results.clone(), stop.clone());
            let (subjobs, failures) = (Arc::clone(&subjobs), Arc::clone(&failures));
            let (made, space) = (Arc::clone(&made), space.clone());
            move || {
                // Once more: whoever made them first may not have come to its end.
                for made in made.iter() {
                    make(&results, build, made)?;
                }
                let needed = needed_space(&results, build, &subjobs)?;
                if space.check(needed).is_err() {
                    return Ok(Some(needed));
                }
                write_archives(&results, build, &subjobs, &failures, &stop).map(|()| None)
            }
        });
        let done = work.await;
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(Some(needed)) if space.wait_for(needed, &what, &stop).await => {}
            // Somebody else took the space meanwhile; what was written of the archives is gone.
            Err(error) if is_disk_full(&error) && !stop.is_cancelled() => {
                tracing::warn!(build.id = build.0, %error, "the archives found no place; trying on");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            done => break done,
        }
    };
    match done.map(|_| ()) {
        _ if stop.is_cancelled() => None,
        Ok(()) => Some(Command::ReportArchived { build }),
        Err(error) => Some(Command::ReportArchivingFailed {
            build,
            reason: format!("The archives of the results could not be made: {error}."),
        }),
    }
}

/// About what both archives will take: each is as large as its parts are together, with room for the
/// frames.
fn needed_space(
    results: &Results,
    build: BuildId,
    subjobs: &[(SubjobId, Attempt)],
) -> io::Result<u64> {
    let mut sum: u64 = 0;
    for (subjob, attempt) in subjobs {
        sum += std::fs::metadata(results.of_subjob(build, *subjob, *attempt))?.len();
    }
    Ok(sum.saturating_mul(2).saturating_add(FRAMES))
}

type TarWriter<'a> = tar::Builder<GzEncoder<BufWriter<&'a File>>>;

struct Archives<'a> {
    tar: TarWriter<'a>,
    zip: ZipWriter<zip::write::StreamWriter<BufWriter<&'a File>>>,
    buffer: Vec<u8>,
}

/// Writes both archives in the original's layout and brings them to disk under their names.
fn write_archives(
    results: &Results,
    build: BuildId,
    subjobs: &[(SubjobId, Attempt)],
    failures: &[String],
    stop: &CancellationToken,
) -> io::Result<()> {
    let (tar_file, zip_file) = (results.incoming(build)?, results.incoming(build)?);
    let mut archives = Archives::new(tar_file.file(), zip_file.file())?;
    for (subjob, attempt) in subjobs {
        if stop.is_cancelled() {
            return Ok(());
        }
        let archive = File::open(results.of_subjob(build, *subjob, *attempt))?;
        archives.add_subjob(BufReader::new(archive))?;
    }
    if !failures.is_empty() {
        archives.add_file(FAILURES_FILE, failures.join("\n").as_bytes())?;
    }
    archives.finish()?;
    tar_file.keep(&results.tar(build))?;
    // The zip is what clients wait for, so it comes last: both are there then.
    zip_file.keep(&results.zip(build))
}

impl<'a> Archives<'a> {
    fn new(tar_file: &'a File, zip_file: &'a File) -> io::Result<Self> {
        let gzip = GzEncoder::new(BufWriter::with_capacity(BUFFER, tar_file), TAR_COMPRESSION);
        let mut archives = Self {
            tar: tar::Builder::new(gzip),
            zip: ZipWriter::new_stream(BufWriter::with_capacity(BUFFER, zip_file)),
            buffer: vec![0; BUFFER],
        };
        let mut root = tar::Header::new_gnu();
        root.set_entry_type(EntryType::Directory);
        root.set_mode(0o755);
        root.set_size(0);
        append(&mut archives.tar, root, b"./", None, io::empty())?;
        Ok(archives)
    }

    /// The tar keeps files, directories and links that stay inside their atom's directory; the zip
    /// regular files only. Links are never followed here.
    fn add_subjob(&mut self, archive: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let Some((_, inside)) = atom_of(&path) else {
                continue;
            };
            let mut header = entry.header().clone();
            let name = [b"./", path.as_os_str().as_encoded_bytes()].concat();
            match header.entry_type() {
                EntryType::Directory => {
                    let name = [name.strip_suffix(b"/").unwrap_or(&name), b"/"].concat();
                    append(&mut self.tar, header, &name, None, io::empty())?;
                }
                EntryType::Symlink => {
                    let target = entry.link_name()?.unwrap_or_default().into_owned();
                    if stays_inside(inside, &target) {
                        header.set_size(0);
                        append(&mut self.tar, header, &name, Some(&target), io::empty())?;
                    }
                }
                EntryType::Regular | EntryType::Continuous => {
                    let mode = header.mode().unwrap_or(FILE_MODE) & 0o777;
                    header.set_size(entry.size());
                    self.start_zip_file(&path.to_string_lossy(), mode, entry.size())?;
                    let mut both = Both {
                        source: &mut entry,
                        zip: &mut self.zip,
                    };
                    append(&mut self.tar, header, &name, None, &mut both)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add_file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(FILE_MODE);
        header.set_size(content.len() as u64);
        append(
            &mut self.tar,
            header,
            format!("./{name}").as_bytes(),
            None,
            content,
        )?;
        self.start_zip_file(name, FILE_MODE, content.len() as u64)?;
        self.zip.write_all(content)
    }

    fn start_zip_file(&mut self, name: &str, mode: u32, size: u64) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .compression_level(Some(ZIP_COMPRESSION))
            .large_file(size >= u64::from(u32::MAX))
            .unix_permissions(mode);
        self.zip.start_file(name, options).map_err(io::Error::from)
    }

    fn finish(self) -> io::Result<()> {
        drop(self.buffer);
        self.tar.into_inner()?.finish()?.flush()?;
        self.zip
            .finish()
            .map_err(io::Error::from)?
            .into_inner()
            .flush()
    }
}

/// Adds a member under exactly this name: the builder's own functions take the `./` away that every
/// member has in the original's archives. Names and link targets that do not fit the header go
/// before it, in the form of GNU tar.
fn append(
    tar: &mut TarWriter<'_>,
    mut header: tar::Header,
    name: &[u8],
    target: Option<&Path>,
    content: impl Read,
) -> io::Result<()> {
    let target = target.map(|target| target.as_os_str().as_encoded_bytes());
    for (text, kind) in [
        (Some(name), EntryType::GNULongName),
        (target, EntryType::GNULongLink),
    ] {
        if let Some(text) = text.filter(|text| text.len() >= SHORT_NAME) {
            let mut long = tar::Header::new_gnu();
            long.set_path("././@LongLink")?;
            long.set_entry_type(kind);
            long.set_size(text.len() as u64 + 1);
            long.set_cksum();
            tar.append(&long, text.chain(&[0][..]))?;
        }
    }
    let fields = header.as_old_mut();
    write_field(&mut fields.name, name);
    write_field(&mut fields.linkname, target.unwrap_or_default());
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.prefix.fill(0);
    }
    header.set_cksum();
    tar.append(&header, content)
}

fn write_field(field: &mut [u8; SHORT_NAME], text: &[u8]) {
    field.fill(0);
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}

/// What is read for the tar goes into the zip as well.
struct Both<'a, R, W> {
    source: R,
    zip: &'a mut W,
}

impl<R: Read, W: Write> Read for Both<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.zip.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Whether a link at `inside` (relative to its atom's directory) points into that directory.
fn stays_inside(inside: &Path, target: &Path) -> bool {
    let mut depth = inside.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            std::path::Component::Normal(_) => depth += 1,
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::AtomId;

    const BUILD: BuildId = BuildId(7);

    fn add_subjob(results: &Results, subjob: u32, content: &[u8]) {
        let incoming = results.incoming(BUILD).unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(incoming.file(), Compression::fast()));
        let directory = format!("artifact_{subjob}_0");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, format!("{directory}/"), io::empty())
            .unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_size(content.len() as u64);
        let name = format!("{directory}/clusterrunner_console_output");
        tar.append_data(&mut header, name, content).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        let long = format!("{directory}/{}", "long".repeat(40));
        tar.append_data(&mut header, long, &b"abc"[..]).unwrap();
        for (name, target) in [
            ("inside", "clusterrunner_console_output"),
            ("outside", "../../etc"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, format!("{directory}/{name}"), target)
                .unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        incoming
            .keep(&results.of_subjob(BUILD, SubjobId(subjob), Attempt(1)))
            .unwrap();
    }

    fn tar_names(results: &Results) -> Vec<String> {
        let file = File::open(results.tar(BUILD)).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let entries = archive.entries().unwrap();
        let name = |entry: io::Result<tar::Entry<'_, _>>| {
            String::from_utf8(entry.unwrap().path_bytes().to_vec()).unwrap()
        };
        entries.map(name).collect()
    }

    #[tokio::test]
    async fn both_archives_have_the_originals_layout() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned());
        let long = b"line\n".repeat(100_000);
        add_subjob(&results, 0, b"hello\n");
        add_subjob(&results, 1, &long);
        let subjobs = vec![(SubjobId(0), Attempt(1)), (SubjobId(1), Attempt(1))];
        let failures = vec!["artifact_1_0".to_owned()];
        let stop = CancellationToken::new();
        let space = DiskSpace::new(directory.path(), 0);
        let made = Vec::new();
        let command = archive(results.clone(), space, BUILD, subjobs, failures, made, stop).await;
        assert_eq!(command, Some(Command::ReportArchived { build: BUILD }));
        assert_eq!(
            tar_names(&results),
            [
                "./",
                "./artifact_0_0/",
                "./artifact_0_0/clusterrunner_console_output",
                &format!("./artifact_0_0/{}", "long".repeat(40)),
                "./artifact_0_0/inside",
                "./artifact_1_0/",
                "./artifact_1_0/clusterrunner_console_output",
                &format!("./artifact_1_0/{}", "long".repeat(40)),
                "./artifact_1_0/inside",
                "./failures.txt",
            ]
        );
        let mut zip = zip::ZipArchive::new(File::open(results.zip(BUILD)).unwrap()).unwrap();
        let names: Vec<String> = zip
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        assert_eq!(
            names,
            [
                "artifact_0_0/clusterrunner_console_output",
                &format!("artifact_0_0/{}", "long".repeat(40)),
                "artifact_1_0/clusterrunner_console_output",
                &format!("artifact_1_0/{}", "long".repeat(40)),
                "failures.txt",
            ]
        );
        let mut failures = String::new();
        zip.by_name("failures.txt")
            .unwrap()
            .read_to_string(&mut failures)
            .unwrap();
        assert_eq!(failures, "artifact_1_0");

        let console = |from_zip: bool| {
            if from_zip {
                results.remove_subjobs(BUILD).unwrap();
            }
            let found = results.console(BUILD, SubjobId(1), Attempt(1), AtomId(0));
            let mut text = Vec::new();
            found.unwrap().read_to_end(&mut text).unwrap();
            text
        };
        assert_eq!(console(false), long);
        assert_eq!(console(true), long);
        let left = std::fs::read_dir(directory.path().join("7"))
            .unwrap()
            .count();
        assert_eq!(left, 2, "only the two archives are left");
    }

    #[test]
    fn a_link_may_not_leave_its_atoms_directory() {
        let inside = |at: &str, target: &str| stays_inside(Path::new(at), Path::new(target));
        assert!(inside("link", "file"));
        assert!(inside("a/link", "../file"));
        assert!(!inside("link", "../file"));
        assert!(!inside("a/link", "../../file"));
        assert!(!inside("link", "/etc/passwd"));
    }
}
