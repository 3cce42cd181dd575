//! Sending the working tree to a farm that does not see this machine's files: what differs from commits that the farm can
//! fetch, as the pack of one commit.

mod elsewhere;
mod git;
mod here;
mod repository;
mod snapshot;
mod tree;

pub(super) use elsewhere::is_elsewhere;
pub(super) use here::Here;

use super::interrupt::Interrupt;
use super::progress::{Progress, Slow};
use super::request::JOB_FILE;
use crate::output;
use crate::output::text::{count, size};
use crate::trouble::Trouble;
use clusterrunner_client::client::SentPack;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::working_trees::MissingRequest;
use clusterrunner_common::git::SentName;
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::{BuildRequest, ProjectSource, WorkingTree};
use snapshot::{Pack, Snapshot, Wanted};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A pack that is sent without asking first what the farm has.
const SMALL_PACK: u64 = 32 << 10;

/// The most objects that are asked about.
const MOST_OBJECTS: usize = 350_000;

const TOO_LARGE: &str = "have .gitignore name what no build needs, push what is committed, or have max_working_tree_bytes \
                         raised in the master's clusterrunner.conf";

/// How the working tree is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending<'a> {
    /// The directory that is built.
    pub(super) directory: &'a Path,
    /// Nothing is left to be fetched from the repository.
    pub(super) whole: bool,
    /// The farm has another disk than this machine.
    pub(super) is_elsewhere: bool,
    /// The clusterrunner.yaml is needed.
    pub(super) needs_job_file: bool,
}

/// Sends what is needed of the working tree, and makes the request one for a build of it. `None` when the user wants an
/// end instead: nothing is left here then, and what the master has got it removes by itself.
pub(super) async fn send(
    client: &Client,
    interrupt: &Interrupt,
    sending: Sending<'_>,
    request: BuildRequest,
) -> Result<Option<BuildRequest>, Trouble> {
    let wanted = Wanted {
        directory: sending.directory,
        whole: sending.whole,
        is_elsewhere: sending.is_elsewhere,
    };
    let Some(taken) = interrupt.unless(Box::pin(Snapshot::take(wanted))).await else {
        return Ok(None);
    };
    let snapshot = taken?;
    if sending.needs_job_file {
        match interrupt.unless(check_job_file(&snapshot)).await {
            None => return Ok(None),
            Some(checked) => checked?,
        }
    }
    for warning in &snapshot.warnings {
        output::note(warning);
    }
    let working_tree = snapshot.working_tree();
    let left = match &snapshot.pack {
        Some(pack) => {
            let looked = interrupt.unless(Box::pin(left(client, &snapshot, pack)));
            match looked.await {
                None => return Ok(None),
                Some(left) => left?,
            }
        }
        None => Left::default(),
    };
    say(&snapshot, working_tree.as_ref(), left.pack.as_ref());
    if let Some(pack) = &left.pack {
        let pack = SentPack {
            url: &snapshot.url,
            commit: &snapshot.commit,
            after: left.after.as_ref(),
            path: &pack.path,
            bytes: pack.bytes,
        };
        let sent = upload(client, &pack);
        match interrupt.unless(Box::pin(sent)).await {
            None => return Ok(None),
            Some(sent) => sent.map_err(refused)?,
        }
    }
    Ok(Some(BuildRequest {
        project: ProjectSource::Git {
            url: snapshot.url.clone(),
            remote: None,
            branch: snapshot.branch.clone(),
            hash: Some(snapshot.commit.clone()),
            project_directory: snapshot.inside.clone(),
        },
        working_tree,
        ..request
    }))
}

/// What is left to be sent once the farm has said what it has.
#[derive(Default)]
struct Left {
    pack: Option<Pack>,
    after: Option<SentName>,
}

/// Asks what the farm lacks, where the answer can save more than the question costs.
async fn left(client: &Client, snapshot: &Snapshot, pack: &Pack) -> Result<Left, Trouble> {
    let whole = Left {
        pack: Some(pack.clone()),
        after: None,
    };
    if pack.bytes <= SMALL_PACK {
        return Ok(whole);
    }
    let objects = snapshot.objects().await?;
    if objects.len() > MOST_OBJECTS {
        return Ok(whole);
    }
    let commit = snapshot.commit.parse();
    let request = MissingRequest {
        url: snapshot.url.clone(),
        commit: commit.map_err(|error| Trouble::new(format!("git printed no commit: {error}")))?,
        objects,
    };
    let answer = client.missing_of_working_tree(&request).await;
    let answer = answer.map_err(refused)?;
    if answer.is_here {
        return Ok(Left::default());
    }
    let left = match (answer.after, answer.missing) {
        (Some(after), Some(missing)) => Left {
            pack: Some(snapshot.pack_of(&missing).await?),
            after: Some(after),
        },
        _ => whole,
    };
    match &left.pack {
        Some(pack) if pack.bytes > answer.max_bytes => Err(too_large(pack.bytes, answer.max_bytes)),
        _ => Ok(left),
    }
}

async fn upload(client: &Client, pack: &SentPack<'_>) -> Result<(), ClientError> {
    let shown = Arc::new(Mutex::new(Progress::start(Slow(u32::MAX))));
    let bytes = pack.bytes.max(1);
    let sent = client.send_working_tree(pack, move |sent| {
        let words = format!("sending: {} % of {}", sent * 100 / bytes, size(bytes));
        lock(&shown).show(&words);
    });
    sent.await.map(drop)
}

/// What the master would say, before all is sent.
fn too_large(bytes: u64, most: u64) -> Trouble {
    let (bytes, most) = (size(bytes), size(most));
    Trouble::usage(format!(
        "the pack of the working tree has {bytes}, and the master takes {most} (setting max_working_tree_bytes)"
    ))
    .hint(TOO_LARGE)
}

/// What git leaves out is not on the farm, also where it is the job file.
async fn check_job_file(snapshot: &Snapshot) -> Result<(), Trouble> {
    let path = match &snapshot.inside {
        Some(inside) => format!("{inside}/{JOB_FILE}"),
        None => JOB_FILE.to_owned(),
    };
    match snapshot.has(&path).await? {
        true => Ok(()),
        false => Err(Trouble::usage(format!(
            "{path} would not be sent: git ignores it, or does not track it"
        ))
        .hint("take it out of .gitignore, or add it with `git add --force`")),
    }
}

fn say(snapshot: &Snapshot, working_tree: Option<&WorkingTree>, pack: Option<&Pack>) {
    let base = snapshot.base.as_deref();
    let base = base.map(|base| base.get(..7).unwrap_or(base));
    let bytes = pack.map(|pack| size(pack.bytes));
    let line = match (working_tree, base, bytes) {
        (None, Some(base), _) => {
            format!("Nothing differs from {base}, which is in {}.", snapshot.url)
        }
        (Some(tree), Some(base), Some(bytes)) if tree.files == 0 => {
            format!("Sending commit {base} ({bytes}), which was not pushed.")
        }
        (Some(tree), Some(base), Some(bytes)) => {
            let files = count(tree.files, "changed file");
            format!("Sending {files} ({bytes}) on top of {base}.")
        }
        (Some(tree), None, Some(bytes)) => {
            let files = count(tree.files, "file");
            format!("Sending {files} ({bytes}).")
        }
        (Some(tree), _, None) => format!("The farm has the {tree} already."),
        (None, None, _) => return,
    };
    output::tell(line);
}

fn refused(error: ClientError) -> Trouble {
    let status = error.status().map(|status| status.as_u16());
    let trouble = Trouble::from(error);
    match status {
        Some(404 | 405) => trouble.hint(
            "the master is of a version that takes no working trees: update it, or push and use `build git`; where all \
             machines have the directory, `build directory --project-directory DIR` names it",
        ),
        Some(413) => trouble.hint(TOO_LARGE),
        _ => trouble,
    }
}
