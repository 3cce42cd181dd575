//! Gives projects to slaves: the objects of a build's commit from the master's mirror, as packs.
//!
//! What slaves ask for at the same time is mostly the same, so what was made for one is retained for a while for the others.

use crate::store::own_repositories::OwnRepositories;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::{
    CommitId, GitError, GitOptions, GitUrlError, InvalidCommitId, Mirror, PackHeader, PackRequest,
};
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::{ProjectSource, Repository};
use futures_util::stream::{self, Stream};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// How many answers are retained for slaves that ask the same.
const RETAINED: usize = 16;

/// How many packs they may hold open together; a process has some 1,000 files.
const KEPT_OPEN: usize = 128;

/// How many packs are made at a time; each takes a processor and memory.
const MADE_AT_A_TIME: usize = 2;

/// How often a slave is told that its packs are still being made; slaves give up who hear nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// How long a slave may take no bytes: one that died leaves no trace on its connection.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How much is read at a time.
const CHUNK: usize = 256 << 10;

/// Why a project can not be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The settings say so.
    #[error(
        "Slaves fetch projects for themselves here: get_project_from_master = False in the master's clusterrunner.conf."
    )]
    NotGiven,
    /// It has no repository.
    #[error("The project of this build is a directory: there is nothing to fetch.")]
    NoRepository,
    /// Its repository may not be used any more.
    #[error(transparent)]
    Url(#[from] GitUrlError),
    /// It has no commit.
    #[error(transparent)]
    Commit(#[from] InvalidCommitId),
}

/// Gives projects. Clones share what is retained.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// Where mirrors of repositories lie.
    pub mirrors: PathBuf,
    /// The repositories that projects have here.
    pub own: OwnRepositories,
    /// How repositories may be named.
    pub git: GitOptions,
    /// Where packs are made, in files without names.
    pub scratch: PathBuf,
    /// Whether any are given.
    pub are_given: bool,
    /// The space that is left there.
    pub space: DiskSpace,
    /// The end of the master.
    pub stop: CancellationToken,
    kept: Kept,
    making: Arc<Semaphore>,
}

/// Those asked for last, newest first.
type Kept = Arc<Mutex<VecDeque<(Question, Arc<OnceCell<Answer>>)>>>;

/// Slaves that ask the same get the same.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    mirror: PathBuf,
    commit: CommitId,
    request: PackRequest,
}

#[derive(Clone, Debug)]
struct Answer {
    /// As it goes out, line end and all.
    header: Vec<u8>,
    packs: Arc<Vec<(File, u64)>>,
}

impl Sources {
    /// Nothing given yet.
    #[must_use]
    pub(crate) fn new(
        directory: &Path,
        own: OwnRepositories,
        git: GitOptions,
        are_given: bool,
        space: DiskSpace,
        stop: CancellationToken,
    ) -> Self {
        Self {
            mirrors: directory.join("repos"),
            own,
            git,
            scratch: directory.to_owned(),
            are_given,
            space,
            stop,
            kept: Kept::default(),
            making: Arc::new(Semaphore::new(MADE_AT_A_TIME)),
        }
    }

    /// What a slave gets for a build of this project at this commit, which may be one that a client has sent: bytes as
    /// [`PackSource`](clusterrunner_common::git::PackSource) reads them.
    ///
    /// # Errors
    /// See [`SourceError`]; what is found out later is told in the stream.
    pub(crate) fn give(
        &self,
        (project, is_sent): (&ProjectSource, bool),
        commit: &str,
        request: PackRequest,
    ) -> Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + use<>, SourceError> {
        let repository = project.repository().ok_or(SourceError::NoRepository)?;
        let url = repository.url(self.git.allow_local_sources)?;
        let commit: CommitId = commit.parse()?;
        let directory = match repository {
            // Slaves can not reach it otherwise.
            Repository::Own(project) => self.own.directory_of(project),
            Repository::Url(_) if is_sent => self.mirrors.join(url.sent_directory_name()),
            Repository::Url(_) if !self.are_given => return Err(SourceError::NotGiven),
            Repository::Url(_) => self.mirrors.join(url.directory_name()),
        };
        let mirror = Mirror::new(directory, url, self.git.clone());
        let (sender, mut receiver) = mpsc::channel(2);
        let sources = self.clone();
        tokio::spawn(async move {
            // The slave has left, or the master ends.
            tokio::select! {
                () = sources.stop.cancelled() => {}
                _gone = sources.send(mirror, commit, request, &sender) => {}
            }
        });
        Ok(stream::poll_fn(move |context| receiver.poll_recv(context)))
    }

    async fn send(
        &self,
        mirror: Mirror,
        commit: CommitId,
        request: PackRequest,
        to: &mpsc::Sender<io::Result<Vec<u8>>>,
    ) -> Option<()> {
        let answering = self.answer(mirror, commit, request);
        tokio::pin!(answering);
        let answer = loop {
            tokio::select! {
                answer = &mut answering => break answer,
                () = to.closed() => return None,
                () = tokio::time::sleep(SIGN_OF_LIFE) => pass_on(to, Ok(b"\n".to_vec())).await?,
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                tracing::warn!(error = reason, "could not give a slave its project");
                let mut line = serde_json::json!({"error": reason}).to_string();
                line.push('\n');
                return pass_on(to, Ok(line.into_bytes())).await;
            }
        };
        pass_on(to, Ok(answer.header)).await?;
        for pack in 0..answer.packs.len() {
            let mut offset = 0;
            loop {
                let packs = Arc::clone(&answer.packs);
                let read =
                    tokio::task::spawn_blocking(move || read_chunk(&packs, pack, offset)).await;
                match read.map_err(io::Error::other).and_then(|read| read) {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => {
                        offset += chunk.len() as u64;
                        pass_on(to, Ok(chunk)).await?;
                    }
                    // The slave must not take it for the end.
                    Err(error) => return pass_on(to, Err(error)).await,
                }
            }
        }
        Some(())
    }

    async fn answer(
        &self,
        mirror: Mirror,
        commit: CommitId,
        request: PackRequest,
    ) -> Result<Answer, String> {
        let question = Question {
            mirror: mirror.directory().to_owned(),
            commit: commit.clone(),
            request: request.clone(),
        };
        let cell = self.cell(question);
        let made = cell.get_or_try_init(|| async {
            let _turn = self
                .making
                .acquire()
                .await
                .map_err(|error| error.to_string())?;
            let what = "packing a project for slaves";
            if !self.space.wait_for(0, what, &self.stop).await {
                return Err("the master ends".to_owned());
            }
            // If no slave waits for it any more, it is given up.
            let cancel = self.stop.child_token();
            let guard = cancel.clone().drop_guard();
            let scratch = self.scratch.clone();
            let making = tokio::task::spawn_blocking(move || {
                mirror.packs_for(&commit, &request, &scratch, &cancel)
            });
            let packs = making.await.map_err(|error| error.to_string())?;
            drop(guard);
            let packs = packs.map_err(|error: GitError| error.to_string())?;
            let header = line(&packs.header).map_err(|error| error.to_string())?;
            let lengths = packs.header.packs.iter().copied();
            let packs = packs.files.into_iter().zip(lengths).collect();
            Ok(Answer {
                header,
                packs: Arc::new(packs),
            })
        });
        made.await.cloned()
    }

    fn cell(&self, question: Question) -> Arc<OnceCell<Answer>> {
        let mut kept = lock(&self.kept);
        let known = kept.iter().position(|(known, _)| *known == question);
        let found = known.and_then(|index| kept.remove(index));
        let found = found.unwrap_or_else(|| (question, Arc::default()));
        let cell = Arc::clone(&found.1);
        kept.push_front(found);
        let mut open = 0;
        let fitting = kept.iter().take(RETAINED).take_while(|(_, cell)| {
            open += cell.get().map_or(1, |answer| answer.packs.len());
            open <= KEPT_OPEN
        });
        // The slave that asks now is served, and so are those that wait for the same.
        let fitting = fitting.count().max(1);
        kept.truncate(fitting);
        cell
    }
}

/// `None` when no slave takes it.
async fn pass_on(to: &mpsc::Sender<io::Result<Vec<u8>>>, bytes: io::Result<Vec<u8>>) -> Option<()> {
    match tokio::time::timeout(IDLE_LIMIT, to.send(bytes)).await {
        Ok(Ok(())) => Some(()),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn line(header: &PackHeader) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(header)?;
    line.push(b'\n');
    Ok(line)
}

fn read_chunk(packs: &[(File, u64)], pack: usize, offset: u64) -> io::Result<Vec<u8>> {
    let Some((file, length)) = packs.get(pack) else {
        return Ok(Vec::new());
    };
    let wanted = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
    let mut chunk = vec![0; wanted];
    file.read_exact_at(&mut chunk, offset)?;
    Ok(chunk)
}
