//! What the world must be asked to do. An effect carries all that is needed to carry it out, and
//! carrying it out twice does no harm: after a restart, what was under way is asked for again.

use crate::accounts::secrets::SealedId;
use crate::instances::instance::Purpose;
use clusterrunner_common::ids::{
    Attempt, BuildId, Generation, Incarnation, InstanceId, ProjectId, SessionId, SlaveId, SubjobId,
};
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_common::work::{BatchTerms, BuildRequest, SetupJob};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the archive of a build is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveContent {
    /// Each subjob and the hand-out whose result counts, in order.
    pub results: Vec<(SubjobId, Attempt)>,
    /// The failed hand-outs after which their subjobs were run again, in order.
    pub failed_attempts: Vec<(SubjobId, Attempt)>,
    /// Names of the artifact directories of failed atoms, in order.
    pub failures: Vec<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Fetch a project, read its job, find its atoms.
    Prepare {
        /// The build that is prepared.
        build: BuildId,
        /// What to build.
        request: Box<BuildRequest>,
    },
    /// Stop preparing or archiving a build, if that is under way.
    Abandon {
        /// The build that nothing more is done for.
        build: BuildId,
    },
    /// Make the archives of a build.
    Archive {
        /// The build that is archived.
        build: BuildId,
        /// Each subjob and the hand-out whose result counts, in order.
        results: Vec<(SubjobId, Attempt)>,
        /// The failed hand-outs after which their subjobs were run again, in order.
        failed_attempts: Vec<(SubjobId, Attempt)>,
        /// Names of the artifact directories of failed atoms, in order.
        failures: Vec<String>,
        /// Those of the results that no slave brought.
        made: Vec<MadeResult>,
        /// The result with the template that the build is to leave; none where it is to leave none, or leaves none since
        /// its atom failed or an equal template is used again.
        product: Option<(SubjobId, Attempt)>,
    },
    /// Make the result of a subjob that no slave could run.
    MakeResult {
        /// The build that the subjob is of.
        build: BuildId,
        /// What to make.
        made: MadeResult,
    },
    /// Clear away what the archive of a build does not need.
    ClearResults {
        /// The build whose leftover results go.
        build: BuildId,
    },
    /// Remove all that is on the disk of a build that is forgotten.
    RemoveBuild {
        /// The forgotten build.
        build: BuildId,
    },
    /// A slave is there to be called.
    OpenSlave {
        /// The slave that may be called.
        slave: SlaveId,
        /// `host:port` at which it is called.
        url: String,
        /// The life of its process that the calls are for.
        session: SessionId,
        /// The incarnation of the journal that it is registered under.
        incarnation: Option<Incarnation>,
        /// Whether it is to be called as the original calls.
        is_legacy: bool,
    },
    /// A slave is not to be called any more.
    CloseSlave {
        /// The slave that is no longer called.
        slave: SlaveId,
    },
    /// Tell a slave to end, after all that was said to it before.
    EndSlave {
        /// The slave that is told to end.
        slave: SlaveId,
    },
    /// Call a slave.
    Call {
        /// The slave that is called.
        slave: SlaveId,
        /// The build that the call is about.
        build: BuildId,
        /// What to say.
        call: SlaveCall,
    },
    /// Tell a slave what it is to run: always all of it. A later one takes the place of those before.
    OrderInstances {
        /// The slave.
        slave: SlaveId,
        /// All instances that it is to run.
        instances: Vec<WantedInstance>,
        /// What it is to fetch before anything asks for it.
        preloads: Vec<TemplateContent>,
    },
    /// Remove a snapshot that no template consists of any more.
    RemoveSnapshot {
        /// The digest of the snapshot.
        digest: String,
    },
    /// Remove what an instance printed that is forgotten.
    RemoveInstanceLog {
        /// The instance.
        instance: InstanceId,
    },
}

/// An instance that a slave is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedInstance {
    /// The instance.
    pub id: InstanceId,
    /// The number of its placement.
    pub generation: Generation,
    /// Its public id.
    pub key: String,
    /// The name of its template.
    pub template_name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The template that it runs; none where it runs an image that its slave pulls.
    pub content: Option<TemplateContent>,
    /// The reference of that image.
    pub image: Option<String>,
    /// The command; empty for the default start of the template.
    pub command: Vec<String>,
    /// Variables beside those of the template.
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Its weight when processes of its slave compete for processors, up to 1024; none for the usual one.
    pub cpu_shares: Option<u32>,
    /// How long it has to live until it counts as up although its port does not answer, in milliseconds; none where its port
    /// must answer.
    pub settles_after_ms: Option<u64>,
}

/// A result that the master makes itself, since no slave lived to bring one.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeResult {
    /// Of which subjob.
    pub subjob: SubjobId,
    /// The hand-out that it stands for.
    pub attempt: Attempt,
    /// One for each atom, in order.
    pub atoms: Vec<MadeAtom>,
}

/// What is in the artifact directory of an atom that no slave could run.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeAtom {
    /// What was to be run.
    pub command: String,
    /// The exit code that is recorded.
    pub exit_code: i32,
    /// In place of what it would have printed.
    pub console: String,
}

/// What a slave can be told about a build.
#[derive(Clone, Debug, PartialEq)]
pub enum SlaveCall {
    /// Set it up.
    SetUp(Box<SetUp>),
    /// Run a subjob.
    Start {
        /// Which subjob.
        subjob: SubjobId,
        /// The number of the hand-out.
        attempt: Attempt,
        /// Its atoms, such as `export TEST="x";`; the index is the atom's id.
        atoms: Vec<String>,
        /// The job's command, shared by all hand-outs of the build.
        command: Arc<str>,
        /// How long each atom may run; absent for no limit.
        timeout_s: Option<u64>,
        /// Whether it may run in one process with others.
        batch: Option<BatchTerms>,
        /// Whether another that may do so follows at once, so that both go to the slave together.
        is_followed: bool,
    },
    /// It ended early: bring what these had printed to disk, as far as they run there.
    KeepConsoles(Vec<HeldSubjob>),
    /// Stop all work on it and clear it away.
    TearDown,
}

/// What a slave needs in order to set a build up.
#[derive(Clone, Debug, PartialEq)]
pub struct SetUp {
    /// What was asked for: all of it for a slave of the original, which reads the job itself; else where the project and
    /// its files come from.
    pub request: BuildRequest,
    /// `BUILD_EXECUTOR_INDEX` of the slave's executor 0.
    pub start_index: u32,
    /// The commit to check out (git only).
    pub commit: Option<String>,
    /// What the build's commands find in their environment.
    pub variables: BuildVariables,
    /// What was read from the job.
    pub job: SetupJob,
    /// The secrets that the build's commands are given.
    pub secrets: Vec<WantedSecret>,
}

/// A secret that a build is given, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSecret {
    /// The project that has it.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// Its sealed value; none where it was removed since the build was prepared.
    pub sealed: Option<SealedId>,
    /// Whether the build gets a file with it.
    pub as_file: bool,
}

/// What a slave had of a build that ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSubjob {
    /// Which subjob.
    pub subjob: SubjobId,
    /// The hand-out.
    pub attempt: Attempt,
    /// The commands of its atoms, in order.
    pub commands: Vec<String>,
}
