//! `remote_files`: files that a build wants to have in its project directory, fetched by URL.
//!
//! The original runs `curl <url> -o <name>` through a shell. Here nothing is run: http, https and (where the settings
//! allow it) `file://` are read in this process, a server's error page is an error, and no name leads out of the
//! project directory.

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::{StatusCode, Url};
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::git::redact_url;

/// How long connecting to a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may send nothing. The whole transfer may take as long as it needs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much is held in memory at a time while a local file is copied.
const COPY_BUFFER_BYTES: usize = 64 * 1024;

/// Why a remote file could not be put into the project directory. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum RemoteFileError {
    /// The name is not one of a file inside the project directory.
    #[error("remote file {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The URL can not be used.
    #[error("remote file {name:?}: {url} {reason}")]
    Url {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server answered, but not with the file.
    #[error("remote file {name:?}: {url} answered {status}")]
    Status {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The URL could not be read.
    #[error("remote file {name:?}: could not fetch {url}: {reason}")]
    Fetch {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The file could not be written.
    #[error("remote file {name:?}: could not write {path}: {source}")]
    Write {
        /// The name.
        name: String,
        /// Where it was to be.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Fetches every file of `files` (name in the project directory to URL), one after the other in their order, and
/// overwrites what was there. A file appears whole or not at all; directories in its name are made.
///
/// Redirects are followed. There is no limit on the size, only on how long a server may be silent.
///
/// # Errors
/// The first [`RemoteFileError`]; files before it have been fetched.
pub async fn fetch_remote_files(
    files: &IndexMap<String, String>,
    project_directory: &Path,
    allow_local_sources: bool,
) -> Result<(), RemoteFileError> {
    fetch_remote_files_within(files, project_directory, allow_local_sources, IDLE_TIMEOUT).await
}

/// Like [`fetch_remote_files`], with another limit on a server's silence.
///
/// # Errors
/// As [`fetch_remote_files`].
pub async fn fetch_remote_files_within(
    files: &IndexMap<String, String>,
    project_directory: &Path,
    allow_local_sources: bool,
    idle_timeout: Duration,
) -> Result<(), RemoteFileError> {
    let mut client = None;
    for (name, url) in files {
        let file = RemoteFile { name, url };
        let target = file.target(project_directory).await?;
        match file.source(allow_local_sources)? {
            Source::Http(address) => {
                let client = match &client {
                    Some(client) => client,
                    None => client.insert(file.client(idle_timeout)?),
                };
                file.download(client, address, &target).await?;
            }
            Source::Local(path) => file.copy(&path, &target).await?,
        }
    }
    Ok(())
}

/// What can be known to be wrong with `files` before anything is fetched: names and URLs.
///
/// # Errors
/// The first [`RemoteFileError::Name`] or [`RemoteFileError::Url`].
pub fn check_remote_files(
    files: &IndexMap<String, String>,
    allow_local_sources: bool,
) -> Result<(), RemoteFileError> {
    for (name, url) in files {
        let file = RemoteFile { name, url };
        file.parts()?;
        file.source(allow_local_sources)?;
    }
    Ok(())
}

struct RemoteFile<'a> {
    name: &'a str,
    url: &'a str,
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

    /// Where the file goes. Directories in between are made, and none of them may be a symbolic link that leads out.
    async fn target(&self, project_directory: &Path) -> Result<PathBuf, RemoteFileError> {
        let (parts, last) = self.parts()?;
        let root = fs::canonicalize(project_directory)
            .await
            .map_err(self.not_written(project_directory))?;
        let mut directory = root.clone();
        for part in parts {
            directory.push(part);
            match fs::create_dir(&directory).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.not_written(&directory)(error));
                }
                _ => {}
            }
            directory = fs::canonicalize(&directory)
                .await
                .map_err(self.not_written(&directory))?;
            if !directory.starts_with(&root) {
                return Err(self.bad_name(
                    "the name leads out of the project directory through a symbolic link",
                ));
            }
        }
        // If the file itself is a link, it is replaced and not followed.
        Ok(directory.join(last))
    }

    fn source(&self, allow_local_sources: bool) -> Result<Source, RemoteFileError> {
        let refused = |reason| RemoteFileError::Url {
            name: self.name.to_owned(),
            url: redact_url(self.url),
            reason,
        };
        let url = Url::parse(self.url).map_err(|_| refused("is not a URL"))?;
        match url.scheme() {
            "http" | "https" => Ok(Source::Http(url)),
            "file" if allow_local_sources => {
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

    fn client(&self, idle_timeout: Duration) -> Result<reqwest::Client, RemoteFileError> {
        // Fails if the program has chosen a provider before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        reqwest::Client::builder()
            .user_agent(concat!("clusterrunner/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            .build()
            .map_err(|error| self.failed(describe(error)))
    }

    async fn download(
        &self,
        client: &reqwest::Client,
        url: Url,
        target: &Path,
    ) -> Result<(), RemoteFileError> {
        let mut response = client
            .get(url)
            .send()
            .await
            .map_err(|error| self.failed(describe(error)))?;
        // Redirects have been followed; what is left of 3xx has no file either.
        if !response.status().is_success() {
            return Err(RemoteFileError::Status {
                name: self.name.to_owned(),
                url: redact_url(self.url),
                status: response.status(),
            });
        }
        let (temporary, mut file) = self.temporary(target)?;
        let not_written = self.not_written(target);
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed(describe(error)))?
        {
            file.write_all(&chunk).await.map_err(&not_written)?;
        }
        self.put_in_place(temporary, file, target).await
    }

    async fn copy(&self, from: &Path, target: &Path) -> Result<(), RemoteFileError> {
        let unreadable = |error: io::Error| self.failed(error.to_string());
        let metadata = fs::metadata(from).await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.failed("it is not a file".to_owned()));
        }
        let mut source = fs::File::open(from).await.map_err(unreadable)?;
        let (temporary, mut file) = self.temporary(target)?;
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        loop {
            match read_some(&mut source, &mut buffer)
                .await
                .map_err(unreadable)?
            {
                [] => break,
                chunk => file
                    .write_all(chunk)
                    .await
                    .map_err(self.not_written(target))?,
            }
        }
        self.put_in_place(temporary, file, target).await
    }

    /// A file beside the target, so that renaming it stays on one disk; removed if the fetch fails or is dropped.
    fn temporary(&self, target: &Path) -> Result<(NamedTempFile, fs::File), RemoteFileError> {
        let not_written = self.not_written(target);
        let directory = target.parent().unwrap_or(Path::new("/"));
        let temporary = tempfile::Builder::new()
            .prefix(".remote-file-")
            // What curl gives, after the umask; a temporary file would be private.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(&not_written)?;
        let file = temporary.as_file().try_clone().map_err(&not_written)?;
        Ok((temporary, fs::File::from_std(file)))
    }

    async fn put_in_place(
        &self,
        temporary: NamedTempFile,
        mut file: fs::File,
        target: &Path,
    ) -> Result<(), RemoteFileError> {
        let not_written = self.not_written(target);
        // tokio's file writes behind our back until it is flushed.
        file.flush().await.map_err(&not_written)?;
        drop(file);
        temporary
            .persist(target)
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

/// The whole chain of reasons, without the URL, which may hold a password.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text = format!("{text}: {reason}");
        source = reason.source();
    }
    text
}
