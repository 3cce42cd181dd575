//! Repositories: which ones may be used, a bare mirror of each, and work trees at exactly one commit.
//!
//! A [`Mirror`] is the only way in. [`Mirror::fetch`] brings it up to date and settles the one commit that a build is
//! about; [`Mirror::check_out`] puts exactly that commit into a directory. A commit can also be taken from another
//! machine's mirror: [`Mirror::packs_for`] there, [`Mirror::take_commit`] here. Everything runs inside this process through
//! libgit2, never through a shell; the only program started is `ssh`, for ssh URLs, with an argument vector.
//!
//! All functions **block**: call them through `spawn_blocking`, never directly from async code (they would panic
//! there, since network waits run on a small runtime of their own). Every one that may take long takes a
//! [`CancellationToken`] and ends soon after it fires, also while a server is silent.
//!
//! What is left to others: when to fetch, which mirror and work tree belong to which build, and that a mirror has **one
//! user at a time** (a mirror may therefore treat lock files it finds as left behind by a killed process).
//!
//! Not supported: Git LFS (pointer files stay pointers), partial clones, the dumb http protocol, stored passwords
//! (credentials stand in the URL, or ssh keys are used) and repositories with SHA-256 object names.
//!
//! [`CancellationToken`]: tokio_util::sync::CancellationToken

mod address;
mod commit_id;
mod conversation;
mod error;
mod limits;
mod local_source;
mod mirror;
mod mirror_files;
mod mirror_packs;
mod odd_files;
mod options;
mod own;
mod packs;
mod remote_refs;
mod sent;
mod sent_name;
mod sent_pack;
mod submodules;
mod taking;
mod tracked;
mod tracking_refs;
mod transport;
mod tree_check;
mod tree_names;
mod trial;
mod trouble;
mod url;
mod url_error;
mod work_tree;

pub use commit_id::{CommitId, InvalidCommitId};
/// The id of any object, in the form of those of commits.
pub type ObjectId = CommitId;
pub use error::{GitError, SubmoduleProblem};
pub use limits::GitLimits;
pub(crate) use limits::MAXIMUM_TREE_DEPTH;
pub use mirror::{Mirror, Revision};
pub(crate) use mirror_files::warm_up;
pub use options::GitOptions;
pub use own::{ArchiveError, CodeError, NewCommit, OwnRepository, UNDER_WAY, push_ref};
pub use packs::{PackHeader, PackRequest, Packs};
pub use sent_name::SentName;
pub use sent_pack::{SentPack, SentPackError, check_sent_pack, missing_objects};
pub use taking::{PackError, PackSource};
pub use tree_check::TreeError;
#[doc(hidden)]
pub use trial::try_trees;
pub use url::GitUrl;
pub use url_error::GitUrlError;
pub(crate) use url_error::redact_url;
