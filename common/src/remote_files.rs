//! `remote_files`: files that a build wants to have in its project directory, fetched by URL.
//!
//! The original runs `curl <url> -o <name>` through a shell. Here nothing is run: http, https and (where the settings
//! allow it) `file://` are read in this process, a server's error page is an error, and no name leads out of the
//! project directory.

mod addresses;
mod download;
mod error;

pub use addresses::{AllowedSources, UnknownSource};
pub use download::NotPublic;
pub use error::RemoteFileError;

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use download::{DownloadError, Downloader, check_literal};
use indexmap::IndexMap;
use reqwest::Url;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use crate::disk::beneath::Beneath;
use crate::disk::regular_file;
use crate::git::redact_url;

/// How much is held in memory at a time while a local file is copied.
const COPY_BUFFER_BYTES: usize = 64 * 1024;

/// What remote files may be and where they may come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoteFileRules {
    /// Whether `file://` URLs are read (setting `allow_local_sources`).
    pub allow_local_sources: bool,
    /// What is reached beside public addresses (setting `remote_files_allow`).
    pub allowed: AllowedSources,
    /// The most bytes of one file (setting `remote_files_max_size`).
    pub max_size: u64,
    /// How long fetching one file may take in all (setting `remote_files_timeout`).
    pub timeout: Duration,
    /// How long a server may send nothing.
    pub idle_timeout: Duration,
}

impl Default for RemoteFileRules {
    fn default() -> Self {
        Self {
            allow_local_sources: false,
            allowed: AllowedSources::default(),
            max_size: 1 << 30,
            timeout: Duration::from_secs(1800),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Fetches every file of `files` (name in the project directory to URL), one after the other in their order, and
/// overwrites what was there. A file appears whole or not at all; directories in its name are made.
///
/// Redirects are followed, each as if it were a new URL.
///
/// # Errors
/// The first [`RemoteFileError`]; files before it have been fetched.
pub async fn fetch_remote_files(
    files: &IndexMap<String, String>,
    project_directory: &Path,
    rules: &RemoteFileRules,
) -> Result<(), RemoteFileError> {
    let mut downloader = None;
    for (name, url) in files {
        let file = RemoteFile { name, url, rules };
        let fetched = file.fetch(project_directory, &mut downloader);
        let Ok(fetched) = tokio::time::timeout(rules.timeout, fetched).await else {
            return Err(RemoteFileError::TooSlow {
                name: name.clone(),
                url: redact_url(url),
                timeout: rules.timeout,
            });
        };
        fetched?;
    }
    Ok(())
}

/// What can be known to be wrong with `files` before anything is fetched: names, URLs, and addresses in URLs.
///
/// # Errors
/// The first [`RemoteFileError::Name`], [`RemoteFileError::Url`] or [`RemoteFileError::NotPublic`].
pub fn check_remote_files(
    files: &IndexMap<String, String>,
    rules: &RemoteFileRules,
) -> Result<(), RemoteFileError> {
    for (name, url) in files {
        let file = RemoteFile { name, url, rules };
        file.parts()?;
        if let Source::Http(url) = file.source()? {
            check_literal(&url, &rules.allowed)
                .map_err(|error| file.not_downloaded(DownloadError::NotPublic(error)))?;
        }
    }
    Ok(())
}

/// The place of a file, pinned: what becomes of the names on the way to it does not matter.
struct Target {
    /// Must live as long as `path` is used.
    directory: Beneath,
    path: PathBuf,
    /// For messages.
    shown: PathBuf,
}

/// What the system says where a directory was expected, and links are not followed.
fn is_link(error: &io::Error) -> bool {
    let links = [Errno::NOTDIR, Errno::LOOP];
    Errno::from_io_error(error).is_some_and(|error| links.contains(&error))
}

struct RemoteFile<'a> {
    name: &'a str,
    url: &'a str,
    rules: &'a RemoteFileRules,
}

enum Source {
    Http(Url),
    Local(PathBuf),
}

impl<'a> RemoteFile<'a> {
    fn bad_name(&self, reason: &'static str) -> RemoteFileError {
        RemoteFileError::Name {
            name: self.name.to_owned(),
            reason,
        }
    }

    async fn fetch(
        &self,
        project_directory: &Path,
        downloader: &mut Option<Downloader>,
    ) -> Result<(), RemoteFileError> {
        let target = self.target(project_directory).await?;
        match self.source()? {
            Source::Http(address) => {
                let downloader = match downloader {
                    Some(downloader) => downloader,
                    None => {
                        let new = Downloader::new(self.rules);
                        downloader.insert(new.map_err(|error| self.not_downloaded(error))?)
                    }
                };
                self.download(downloader, address, &target).await
            }
            Source::Local(path) => self.copy(path, &target).await,
        }
    }

    fn not_downloaded(&self, error: DownloadError) -> RemoteFileError {
        let (name, url) = (self.name.to_owned(), redact_url(self.url));
        match error {
            DownloadError::NotPublic(source) => RemoteFileError::NotPublic { name, url, source },
            DownloadError::Status(status) => RemoteFileError::Status { name, url, status },
            other => RemoteFileError::Fetch {
                name,
                url,
                reason: other.to_string(),
            },
        }
    }

    fn failed(&self, reason: String) -> RemoteFileError {
        RemoteFileError::Fetch {
            name: self.name.to_owned(),
            url: redact_url(self.url),
            reason,
        }
    }

    fn not_written(&self, path: &Path) -> impl Fn(io::Error) -> RemoteFileError {
        let (name, path) = (self.name.to_owned(), path.to_owned());
        move |source| RemoteFileError::Write {
            name: name.clone(),
            path: path.clone(),
            source,
        }
    }

    /// The directories that the name goes through, and the file's own name.
    fn parts(&self) -> Result<(Vec<&'a OsStr>, &'a OsStr), RemoteFileError> {
        let mut parts = Vec::new();
        for part in Path::new(self.name).components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir => {
                    return Err(self.bad_name("the name must not contain \"..\""));
                }
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.bad_name("the name must be relative"));
                }
            }
        }
        if self.name.contains('\0') || self.name.ends_with('/') {
            return Err(self.bad_name("the name is not a file's"));
        }
        let last = parts
            .pop()
            .ok_or_else(|| self.bad_name("the name is empty"))?;
        Ok((parts, last))
    }

    /// Where the file goes. Directories in between are made, and none of them may be a symbolic link.
    async fn target(&self, project_directory: &Path) -> Result<Target, RemoteFileError> {
        let (parts, last) = self.parts()?;
        let inside: PathBuf = parts.into_iter().collect();
        let shown = project_directory.join(&inside).join(last);
        let root = project_directory.to_owned();
        let opened = spawn_blocking(move || Beneath::open(&root)?.make(&inside)).await;
        match opened.unwrap_or_else(|error| Err(io::Error::other(error))) {
            // If the file itself is a link, it is replaced and not followed.
            Ok(directory) => Ok(Target {
                path: directory.path().join(last),
                directory,
                shown,
            }),
            Err(error) if is_link(&error) => {
                Err(self.bad_name("the name goes through a symbolic link or a file"))
            }
            Err(error) => Err(self.not_written(&shown)(error)),
        }
    }

    fn source(&self) -> Result<Source, RemoteFileError> {
        let refused = |reason| RemoteFileError::Url {
            name: self.name.to_owned(),
            url: redact_url(self.url),
            reason,
        };
        let url = Url::parse(self.url).map_err(|_| refused("is not a URL"))?;
        match url.scheme() {
            "http" | "https" => Ok(Source::Http(url)),
            "file" if self.rules.allow_local_sources => {
                let path = url
                    .to_file_path()
                    .map_err(|()| refused("is not the URL of a local file"))?;
                Ok(Source::Local(path))
            }
            "file" => Err(refused(
                "is on the local disk, which is not allowed here; the setting allow_local_sources = True allows it",
            )),
            _ => Err(refused(
                "can not be used: only http, https and file URLs can",
            )),
        }
    }

    async fn download(
        &self,
        downloader: &Downloader,
        url: Url,
        target: &Target,
    ) -> Result<(), RemoteFileError> {
        let answer = downloader.get(url).await;
        let mut response = answer.map_err(|error| self.not_downloaded(error))?;
        let mut left = self.rules.max_size;
        if response
            .content_length()
            .is_some_and(|length| length > left)
        {
            return Err(self.too_large());
        }
        let (temporary, mut file) = self.temporary(target)?;
        let not_written = self.not_written(&target.shown);
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed(describe(&error.without_url())))?
        {
            left = self.after(left, chunk.len())?;
            file.write_all(&chunk).await.map_err(&not_written)?;
        }
        self.put_in_place(temporary, file, target).await
    }

    /// How many bytes may still come after these.
    fn after(&self, left: u64, length: usize) -> Result<u64, RemoteFileError> {
        left.checked_sub(length as u64)
            .ok_or_else(|| self.too_large())
    }

    fn too_large(&self) -> RemoteFileError {
        RemoteFileError::TooLarge {
            name: self.name.to_owned(),
            url: redact_url(self.url),
            max_size: self.rules.max_size,
        }
    }

    async fn copy(&self, from: PathBuf, target: &Target) -> Result<(), RemoteFileError> {
        let unreadable = |error: io::Error| self.failed(error.to_string());
        let opened = spawn_blocking(move || regular_file::open(&from)).await;
        let opened = opened.map_err(io::Error::other).and_then(|opened| opened);
        let mut source = fs::File::from_std(opened.map_err(unreadable)?);
        let (temporary, mut file) = self.temporary(target)?;
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        let mut left = self.rules.max_size;
        loop {
            match read_some(&mut source, &mut buffer)
                .await
                .map_err(unreadable)?
            {
                [] => break,
                chunk => {
                    left = self.after(left, chunk.len())?;
                    file.write_all(chunk)
                        .await
                        .map_err(self.not_written(&target.shown))?;
                }
            }
        }
        self.put_in_place(temporary, file, target).await
    }

    /// A file beside the target, so that renaming it stays on one disk; removed if the fetch fails or is dropped.
    fn temporary(&self, target: &Target) -> Result<(NamedTempFile, fs::File), RemoteFileError> {
        let not_written = self.not_written(&target.shown);
        let temporary = tempfile::Builder::new()
            .prefix(".remote-file-")
            // As curl gives it with the usual umask; a temporary file would be private.
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(target.directory.path())
            .map_err(&not_written)?;
        let file = temporary.as_file().try_clone().map_err(&not_written)?;
        Ok((temporary, fs::File::from_std(file)))
    }

    async fn put_in_place(
        &self,
        temporary: NamedTempFile,
        mut file: fs::File,
        target: &Target,
    ) -> Result<(), RemoteFileError> {
        let not_written = self.not_written(&target.shown);
        // tokio's file writes behind our back until it is flushed.
        file.flush().await.map_err(&not_written)?;
        drop(file);
        temporary
            .persist(&target.path)
            .map(drop)
            .map_err(|error| not_written(error.error))
    }
}

async fn read_some<'b>(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let length = source.read(buffer).await?;
    Ok(&buffer[..length])
}

/// The whole chain of reasons. The error must be without the URL, which may hold a password.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text = format!("{text}: {reason}");
        source = reason.source();
    }
    text
}
