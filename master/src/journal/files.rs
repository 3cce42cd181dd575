//! Looks at the files of a journal without the engine, which writes to the files when it opens them, even to damaged
//! ones.

use super::{Problem, acknowledged};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a new directory gets, and keeps: how large the engine's buffers are, of which there are as many as
/// its threads did not come to free. Values of more than a quarter would become blob files. A full leaf has
/// 17 values, and a few more until it is split.
pub(super) const SEGMENT_SIZE: usize = 1 << 20;

/// The facts and everything else.
pub(super) const DATA: &str = "db";

/// Where the engine notes what it was made with.
pub(super) const SETTINGS: &str = "conf";

/// What the names of the engine's own snapshots begin with. They save it the way through its whole log.
const SNAPSHOT: &str = "snap.";

/// The end of the name of a snapshot that is being written.
pub(super) const GENERATING: &str = ".generating";

/// The head of a segment: CRC-32 (inverted), number of its first byte in the log, number of the last byte that
/// was surely on disk (8 bytes each).
const SEGMENT_HEAD: usize = 20;

/// Whether nothing was ever stored here: not even a start got far enough.
pub(super) fn is_new(directory: &Path) -> io::Result<bool> {
    if !directory.exists() {
        return Ok(true);
    }
    let length = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |file| file.len());
    let has_data = length(DATA) > 0 || !snapshots(directory)?.is_empty();
    Ok(match acknowledged::read(directory) {
        // It is made before all else.
        Ok(0) => !has_data,
        Err(what) if what == acknowledged::MISSING => !has_data && length(SETTINGS) == 0,
        Ok(_) | Err(_) => false,
    })
}

/// What is wrong with the files beside the data.
pub(super) fn problems(directory: &Path) -> io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    if let Err(what) = settings(directory)? {
        problems.push(Problem {
            place: format!("the file `{SETTINGS}`"),
            what: what.to_owned(),
            lost: "nothing: it can be written anew from what the data says".to_owned(),
        });
    }
    let latest = snapshots(directory)?.pop();
    if let Some(latest) = latest.filter(|latest| !is_whole(latest)) {
        let name = latest.file_name().unwrap_or_default().to_string_lossy();
        problems.push(Problem {
            place: format!("the file `{name}`"),
            what: "its checksum does not fit".to_owned(),
            lost: "nothing: what it says can be read from the data".to_owned(),
        });
    }
    Ok(problems)
}

/// Makes right what [`problems`] finds, in a private copy.
pub(super) fn mend(copy: &Path) -> io::Result<()> {
    if settings(copy)?.is_err() {
        let size = segment_size_of_data(&copy.join(DATA))?;
        std::fs::write(copy.join(SETTINGS), settings_of(size))?;
    }
    while let Some(latest) = snapshots(copy)?.pop() {
        if is_whole(&latest) {
            break;
        }
        std::fs::remove_file(latest)?;
    }
    Ok(())
}

/// Removes the engine's snapshots, from a private copy.
pub(super) fn remove_snapshots(copy: &Path) -> io::Result<()> {
    snapshots(copy)?.iter().try_for_each(std::fs::remove_file)
}

/// How large segments are where a directory has some.
pub(super) fn segment_size_of(directory: &Path) -> Option<usize> {
    let settings = std::fs::read(directory.join(SETTINGS)).ok()?;
    parse(&settings)
}

fn parse(settings: &[u8]) -> Option<usize> {
    // Lines of text, and a checksum that is none.
    let settings = String::from_utf8_lossy(settings);
    let size = settings
        .lines()
        .find_map(|line| line.strip_prefix("segment_size: "))?;
    size.parse().ok()
}

/// The settings as the engine writes them: it has no others here.
fn settings_of(segment_size: usize) -> Vec<u8> {
    let text = format!("segment_size: {segment_size}\nuse_compression: false\nversion: 0.34\n");
    let checksum = crc32fast::hash(text.as_bytes()).to_le_bytes();
    [text.as_bytes(), &checksum].concat()
}

/// The inner error says what is wrong with them.
fn settings(directory: &Path) -> io::Result<Result<(), &'static str>> {
    let found = match std::fs::read(directory.join(SETTINGS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("it is missing")),
        found => found?,
    };
    if found.is_empty() {
        return Ok(Err("it is empty"));
    }
    let is_right = parse(&found).is_some_and(|size| settings_of(size) == found);
    Ok(is_right.then_some(()).ok_or("its checksum does not fit"))
}

/// The engine's snapshots, the one that counts last.
fn snapshots(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(SNAPSHOT) && !name.ends_with(GENERATING) {
            found.push(directory.join(&*name));
        }
    }
    found.sort();
    Ok(found)
}

/// Its end is the length of what is before, and the CRC-32 of that.
fn is_whole(snapshot: &Path) -> bool {
    let Ok(bytes) = std::fs::read(snapshot) else {
        return false;
    };
    let Some((rest, checksum)) = bytes.split_last_chunk::<4>() else {
        return false;
    };
    let Some((content, length)) = rest.split_last_chunk::<8>() else {
        return false;
    };
    // The engine looks at the length only where it compresses, which it does not here.
    !content.is_empty()
        && u64::from_le_bytes(*length) == content.len() as u64
        && crc32fast::hash(content) == u32::from_le_bytes(*checksum)
}

/// How large the segments of a data file are: as today, or as earlier where no head is where it would have to be
/// today.
fn segment_size_of_data(data: &Path) -> io::Result<usize> {
    const EARLIER: usize = 2 * SEGMENT_SIZE;
    let file = match File::open(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SEGMENT_SIZE),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut odd = (SEGMENT_SIZE as u64..length).step_by(EARLIER);
    let is_earlier = length > SEGMENT_SIZE as u64 && !odd.any(|at| has_head(&file, at));
    Ok(if is_earlier { EARLIER } else { SEGMENT_SIZE })
}

fn has_head(data: &File, at: u64) -> bool {
    let mut head = [0; SEGMENT_HEAD];
    let read = data.read_exact_at(&mut head, at);
    let Some((checksum, rest)) = head.split_first_chunk::<4>() else {
        return false;
    };
    read.is_ok() && crc32fast::hash(rest) == !u32::from_le_bytes(*checksum)
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::*;

    #[test]
    fn settings_are_written_anew_as_the_engine_wrote_them() {
        for size in [SEGMENT_SIZE, 2 * SEGMENT_SIZE] {
            let directory = tempfile::tempdir().unwrap();
            let engine = sled::Config::new()
                .path(directory.path())
                .segment_size(size);
            let db = engine.open().unwrap();
            for key in 0..1000_u64 {
                db.insert(key.to_be_bytes(), vec![7; 5000]).unwrap();
            }
            db.flush().unwrap();
            drop(db);
            assert_eq!(settings(directory.path()).unwrap(), Ok(()));
            let path = directory.path().join(SETTINGS);
            let good = std::fs::read(&path).unwrap();
            assert_eq!(good, settings_of(size));
            let mut bad = good.clone();
            bad[14] ^= 1;
            for damaged in [&bad[..], &good[..30], b""] {
                std::fs::write(&path, damaged).unwrap();
                assert_eq!(problems(directory.path()).unwrap().len(), 1);
                mend(directory.path()).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), good);
            }
        }
    }

    #[test]
    fn a_directory_is_new_until_something_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        assert!(is_new(&journal).unwrap());
        std::fs::create_dir(&journal).unwrap();
        assert!(is_new(&journal).unwrap());
        drop(Store::open(&journal).unwrap());
        assert!(!is_new(&journal).unwrap());
        // A start died before it came to the engine.
        for name in [DATA, SETTINGS] {
            std::fs::remove_file(journal.join(name)).unwrap();
        }
        assert!(is_new(&journal).unwrap());
        std::fs::write(journal.join(SETTINGS), "segment").unwrap();
        assert!(is_new(&journal).unwrap());
        std::fs::remove_file(journal.join("acknowledged")).unwrap();
        assert!(!is_new(&journal).unwrap());
    }
}
