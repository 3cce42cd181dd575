//! A log file that is set aside when it is full: `x.log` becomes `x.log.1`, that `x.log.2`, up to five.

use crate::lock::lock;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use tracing_subscriber::fmt::MakeWriter;

/// How many full files are kept, as in the original.
const BACKUPS: u32 = 5;

/// The file behind the log. It is shared by all threads; a line is never split between two files.
#[derive(Debug)]
pub(crate) struct RotatingFile(Mutex<Current>);

#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
}

impl RotatingFile {
    /// Opens the file for appending and makes its directory. `max_size` is in bytes.
    ///
    /// # Errors
    /// When the directory or the file can not be made.
    pub(crate) fn open(path: &Path, max_size: u64) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self(Mutex::new(Current {
            path: path.to_owned(),
            file,
            size,
            max_size,
        })))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // A panic of another thread while it wrote leaves at worst half a line.
        lock(&self.0)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Current {
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..BACKUPS).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// One line of the log on its way into the file.
#[derive(Debug)]
pub(crate) struct LineWriter<'a>(MutexGuard<'a, Current>);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let current = &mut *self.0;
        let length = line.len() as u64;
        // A file that can not be set aside grows on: a log that is too long is better than none. It is
        // tried again after as many bytes, not at every line.
        if current.size > 0 && current.size + length > current.max_size && current.rotate().is_err()
        {
            current.size = 0;
        }
        let written = current.file.write(line)?;
        current.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file.flush()
    }
}

impl<'a> MakeWriter<'a> for RotatingFile {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self.current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &RotatingFile, line: &str) {
        file.make_writer().write_all(line.as_bytes()).unwrap();
    }

    fn read(directory: &Path, name: &str) -> Option<String> {
        fs::read_to_string(directory.join(name)).ok()
    }

    #[test]
    fn keeps_five_full_files_and_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let file = RotatingFile::open(&directory.join("a/x.log"), 10).unwrap();
        for line in 0..9 {
            write(&file, &format!("line {line}\n"));
        }
        assert_eq!(read(directory, "a/x.log").unwrap(), "line 8\n");
        for number in 1..=5 {
            assert_eq!(
                read(directory, &format!("a/x.log.{number}")).unwrap(),
                format!("line {}\n", 8 - number)
            );
        }
        assert_eq!(fs::read_dir(directory.join("a")).unwrap().count(), 6);
        write(&file, "much longer than the limit\n");
        assert_eq!(
            read(directory, "a/x.log").unwrap(),
            "much longer than the limit\n"
        );
    }

    #[test]
    fn appends_after_a_restart_and_counts_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        write(&RotatingFile::open(&path, 10).unwrap(), "1234\n");
        let file = RotatingFile::open(&path, 10).unwrap();
        write(&file, "5678\n");
        assert_eq!(read(directory.path(), "x.log").unwrap(), "1234\n5678\n");
        write(&file, "9\n");
        assert_eq!(read(directory.path(), "x.log.1").unwrap(), "1234\n5678\n");
        assert_eq!(read(directory.path(), "x.log").unwrap(), "9\n");
    }

    #[test]
    fn goes_on_where_it_can_not_rotate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        // A directory that is not empty can not be replaced by another.
        fs::create_dir_all(directory.path().join("x.log.4/full")).unwrap();
        fs::create_dir_all(directory.path().join("x.log.5/full")).unwrap();
        let file = RotatingFile::open(&path, 5).unwrap();
        write(&file, "1234\n");
        write(&file, "5678\n");
        assert_eq!(read(directory.path(), "x.log").unwrap(), "1234\n5678\n");
    }
}
