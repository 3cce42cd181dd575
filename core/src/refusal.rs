//! Why a command means nothing.

use crate::accounts::refusal::AccountRefusal;
use crate::apps::command::AppRefusal;
use crate::builds::details::Unfit;
use crate::builds::status::StatusRefusal;
use crate::instances::instance::InstanceRefusal;
use crate::slaves::keys::KeyRefused;
use crate::templates::refusal::TemplateRefusal;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};

/// Why a command means nothing now. Nothing has changed. API families say it in their own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is about users or projects.
    #[error(transparent)]
    Account(#[from] AccountRefusal),
    /// No such build.
    #[error("build {0} is unknown")]
    UnknownBuild(BuildId),
    /// There was such a build, but nothing of it is kept any more.
    #[error("build {0} was removed")]
    ForgottenBuild(BuildId),
    /// What a user says of a build or a project can not be said.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No such subjob in the build.
    #[error("subjob {0} is unknown")]
    UnknownSubjob(SubjobId),
    /// No such slave, or one that was given up: it must connect again.
    #[error("slave {0} is unknown or was given up")]
    UnknownSlave(SlaveId),
    /// An order names a slave that is not listed.
    #[error("slave {0} is not listed")]
    NoSuchSlave(SlaveId),
    /// A slave of the original can not take the place of one that signs and is alive.
    #[error("a slave that signs is alive at {0}")]
    AddressTaken(String),
    /// A result came from an address at which no slave of the original ever was.
    #[error("no slave of the original is known at {0}")]
    UnknownAddress(String),
    /// What came without a full signature is about a slave that signs fully.
    #[error("slave {0} signs fully, this report is not signed")]
    NotLegacy(SlaveId),
    /// What came belongs to another incarnation of the journal.
    #[error("the incarnation is {current}, not {given}")]
    OtherIncarnation {
        /// The incarnation of the master's journal.
        current: String,
        /// The incarnation that came.
        given: String,
    },
    /// The slave was started again since.
    #[error("the slave's life {0} is over")]
    SessionExpired(SessionId),
    /// The hand-out does not count any more: the subjob was given to another slave, is finished, or its
    /// build is over.
    #[error("attempt {attempt} of subjob {subjob} of build {build} no longer counts")]
    StaleAttempt {
        /// The build of the hand-out.
        build: BuildId,
        /// The subjob that was handed out.
        subjob: SubjobId,
        /// The number of the hand-out.
        attempt: Attempt,
    },
    /// The hand-out is another slave's.
    #[error(
        "attempt {attempt} of subjob {subjob} of build {build} was handed out to another slave"
    )]
    OthersHandOut {
        /// The build of the hand-out.
        build: BuildId,
        /// The subjob that was handed out.
        subjob: SubjobId,
        /// The number of the hand-out.
        attempt: Attempt,
    },
    /// A key or a join token is of no use.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// A status can not be posted.
    #[error(transparent)]
    Status(#[from] StatusRefusal),
    /// It is about templates.
    #[error(transparent)]
    Template(#[from] TemplateRefusal),
    /// It is about instances.
    #[error(transparent)]
    Instance(#[from] InstanceRefusal),
    /// It is about apps.
    #[error(transparent)]
    App(#[from] AppRefusal),
}
