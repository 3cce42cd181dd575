//! What the cluster can be asked or told.

mod actor;
mod bounded;

use super::accounts::command::{AccountCommand, ProjectCommand};
use crate::accounts::sign_ins::SignInFact;
use crate::actor::Actor;
use crate::apps::command::AppCommand;
use crate::builds::details::{Merge, NewDetails};
use crate::builds::hand_out::HandOut;
use crate::builds::hunted::HuntedRun;
use crate::builds::mishaps::CutRun;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::builds::status::PostedStatus;
use crate::instances::instance::NewInstance;
use crate::instances::reported::ReportedInstances;
use crate::lifetime::testimony::Testimony;
use crate::slaves::keys::{KeyCommand, OfferedKey};
use crate::templates::bounds::TemplateBounds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::retention::BuildBounds;
use clusterrunner_common::ids::{
    Attempt, BuildId, ExecutorIndex, Incarnation, InstanceId, ProjectId, SessionId, SlaveId,
    SubjobId,
};
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_common::work::{BuildRequest, FinishedAttempt};
use std::collections::{BTreeMap, BTreeSet};

/// An order or a report. It may be wrong, late or repeated: [`super::Cluster::decide`] judges it.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A checked request for a build came in.
    QueueBuild {
        /// The actor that submits the build, and so owns it.
        by: Actor,
        /// What to build.
        request: Box<BuildRequest>,
    },
    /// A checked request for a build of a project that is there came in.
    QueueBuildOf {
        /// The actor that submits the build.
        by: Actor,
        /// The project; its owner owns the build, too.
        project: ProjectId,
        /// What to build.
        request: Box<BuildRequest>,
        /// What is said of the build.
        details: NewDetails,
    },
    /// An order about users.
    Account {
        /// The actor that gives it.
        by: Actor,
        /// The order.
        command: AccountCommand,
    },
    /// An order about projects.
    Project {
        /// The actor that gives it; what it makes is its own.
        by: Actor,
        /// The order.
        command: ProjectCommand,
    },
    /// An order about apps.
    App {
        /// The actor that gives it; what it makes is its own.
        by: Actor,
        /// The order.
        command: AppCommand,
    },
    /// An order about keys of slaves and join tokens.
    SlaveKey {
        /// The actor that gives it.
        by: Actor,
        /// The order.
        command: KeyCommand,
    },
    /// Somebody signs in to the page or out, or could not.
    SignIn {
        /// The actor.
        by: Actor,
        /// What is told of it.
        fact: SignInFact,
    },
    /// A user cancels a build.
    CancelBuild {
        /// The actor that cancels it.
        by: Actor,
        /// The build that is to end.
        build: BuildId,
    },
    /// A user leaves a message in a build.
    NoteOnBuild {
        /// The actor that leaves it.
        by: Actor,
        /// The build that the message is about.
        build: BuildId,
        /// The message, for the users of the build.
        note: String,
    },
    /// A caller says where a build stands.
    PostStatus {
        /// The actor that says it.
        by: Actor,
        /// The build that it is about.
        build: BuildId,
        /// The status.
        posted: Box<PostedStatus>,
    },
    /// A user says something of a build.
    DescribeBuild {
        /// The actor that says it.
        by: Actor,
        /// The build that it is about.
        build: BuildId,
        /// What is to be said of it from now on.
        details: NewDetails,
        /// What becomes of the tags that it has.
        merge: Merge,
    },
    /// A user deletes a build: nobody is to be shown it any more, and nothing of it is to stay.
    DeleteBuild {
        /// The actor that deletes it.
        by: Actor,
        /// The build that is to go.
        build: BuildId,
    },
    /// The preparer has the atoms of a build.
    ReportPrepared {
        /// The build that is prepared.
        build: BuildId,
        /// What it found.
        plan: Box<Plan>,
    },
    /// A build could not be prepared.
    ReportPreparationFailed {
        /// The build that can not be prepared.
        build: BuildId,
        /// Why, for the user.
        reason: String,
    },
    /// The master ends before a build is prepared.
    ReportPreparationStopped {
        /// The build whose preparation stopped.
        build: BuildId,
    },
    /// A slave offers itself, for the first time or again.
    ConnectSlave {
        /// `host:port` at which it is called.
        url: String,
        /// The life of its process.
        session: SessionId,
        /// How many subjobs it runs at a time.
        num_executors: u32,
        /// What builds may ask for in a slave.
        labels: BTreeSet<String>,
        /// The registration that it knows itself by.
        known_as: Option<SlaveId>,
        /// Results of earlier lives that it still has on its disk.
        finished: Vec<FinishedAttempt>,
        /// What it has seen of each incarnation of a master that it knows something of.
        seen: Vec<Testimony>,
        /// The incarnation that begins if that is more than the journal knows.
        fresh: Incarnation,
        /// The key of its own that it has shown, and what it joins with; none of a slave that has but the secret.
        key: Option<OfferedKey>,
    },
    /// A slave of the original offers itself. Whatever it had before it has no more.
    ConnectLegacySlave {
        /// Its address as it says it.
        url: String,
        /// The life of its process; empty where it does not tell.
        session: SessionId,
        /// How many subjobs it runs at a time.
        num_executors: u32,
    },
    /// A slave says that it ends.
    ReportStopped {
        /// The slave that ends.
        slave: SlaveId,
    },
    /// A slave is not to be counted on any more.
    GiveSlaveUp {
        /// The slave that is given up.
        slave: SlaveId,
        /// Why the master gives it up, for the user.
        reason: String,
    },
    /// A slave died: it did not announce its end, and one of its subjobs may be the cause.
    ReportSlaveDied {
        /// The slave that died.
        slave: SlaveId,
        /// What shows it.
        reason: String,
    },
    /// Another life of a slave answers at its address, and has not connected yet. The earlier life did not announce its
    /// end, and one of its subjobs may be the cause.
    ReportSlaveStartedAgain {
        /// The slave, as the earlier life registered it.
        slave: SlaveId,
    },
    /// A user drains a slave: it takes no new work.
    DrainSlave {
        /// The actor that drains it.
        by: Actor,
        /// The slave at the address that is drained.
        slave: SlaveId,
    },
    /// A user lets a slave that is drained or quarantined take work again.
    UndrainSlave {
        /// The actor that ends the drain.
        by: Actor,
        /// The slave that is to take work.
        slave: SlaveId,
    },
    /// Something about a build went wrong on a slave that does not change the build's result.
    WarnOfBuild {
        /// The slave that warns.
        slave: SlaveId,
        /// The build that the warning is about.
        build: BuildId,
        /// What went wrong, for the user.
        warning: String,
    },
    /// A user shuts slaves down: they end when they have finished their subjobs.
    ShutDownSlaves {
        /// The actor that shuts them down.
        by: Actor,
        /// The slaves that are to end; all of them or none are asked.
        slaves: SlaveChoice,
    },
    /// A slave was told to end and has heard it, or can not be told any more.
    ReportEnding {
        /// The slave that ends.
        slave: SlaveId,
    },
    /// A slave has set a build up.
    ReportSetUp {
        /// The slave that is ready.
        slave: SlaveId,
        /// The life of its process that set the build up.
        session: SessionId,
        /// The build that is set up.
        build: BuildId,
    },
    /// A slave could not set a build up, or lost what it had set up.
    ReportSetupFailed {
        /// The slave that failed.
        slave: SlaveId,
        /// The life of its process that failed.
        session: SessionId,
        /// The build that is not set up there.
        build: BuildId,
        /// Why the set-up failed, for the user.
        reason: String,
    },
    /// The master does not send a slave the order to set a build up, as it may not give it the build's secrets.
    Withhold {
        /// The slave that is not told.
        slave: SlaveId,
        /// The build that it can not set up.
        build: BuildId,
        /// Why, for the user.
        reason: String,
    },
    /// A slave refused a call about a build.
    ReportRefusal {
        /// The slave that refused.
        slave: SlaveId,
        /// The build that the call was about.
        build: BuildId,
        /// Why, in the words of the slave.
        reason: String,
    },
    /// What subjobs had printed that a slave ran when their build ended is on the master's disk.
    ReportCutOff {
        /// The slave that ran them.
        slave: SlaveId,
        /// The build that was canceled or failed.
        build: BuildId,
        /// Each subjob, and its hand-out.
        subjobs: Vec<(SubjobId, Attempt)>,
        /// Which atoms of these ran, as far as the slave had said so.
        runs: Vec<(SubjobId, CutRun)>,
    },
    /// Atoms of a build that may be flaky are to run again while executors are idle, or no more.
    ReportHunting {
        /// The build.
        build: BuildId,
        /// Whether they are to.
        goes_on: bool,
    },
    /// Atoms of a build that had passed ran again.
    ReportHunted {
        /// The build.
        build: BuildId,
        /// The runs that are over.
        runs: Vec<HuntedRun>,
    },
    /// A slave has cleared a build away.
    ReportTornDown {
        /// The slave that no longer has the build.
        slave: SlaveId,
        /// The build that is cleared away.
        build: BuildId,
    },
    /// The result of a subjob is on the master's disk.
    ReportFinished {
        /// Whose result it is.
        hand_out: HandOut,
        /// Which executor of the slave ran it, if that is known.
        executor: Option<ExecutorIndex>,
        /// One for each atom of the subjob, in their order.
        outcomes: Vec<AtomOutcome>,
    },
    /// The result of a subjob came but can not be used.
    ReportUnusable {
        /// Whose result it is.
        hand_out: HandOut,
        /// What is wrong with it.
        reason: String,
    },
    /// The archives of a build are on disk.
    ReportArchived {
        /// The build whose archives are made.
        build: BuildId,
        /// The template that it leaves, whose snapshot is stored and checked; none where it leaves none.
        template: Option<Box<TemplateContent>>,
    },
    /// The archives of a build could not be made.
    ReportArchivingFailed {
        /// The build that has no archives.
        build: BuildId,
        /// Why they could not be made, for the user.
        reason: String,
    },
    /// Archived builds are on disk.
    ReportKept {
        /// The builds that may leave memory.
        builds: Vec<BuildId>,
    },
    /// Time has passed, and builds were archived: some may be beyond a bound.
    ForgetBuilds {
        /// The bounds.
        bounds: BuildBounds,
        /// How many bytes the results of builds have; one that is missing has none.
        sizes: BTreeMap<BuildId, u64>,
    },
    /// Nothing of a forgotten build is on the disk any more.
    ReportCleared {
        /// The build whose files are gone.
        build: BuildId,
    },
    /// Time has passed: slaves of long ago can be forgotten.
    ForgetSlaves,
    /// An instance of a template is wanted.
    Launch {
        /// The actor that launches it, and so owns it.
        by: Actor,
        /// What is wanted.
        launch: Box<NewInstance>,
    },
    /// An instance is to end.
    StopInstance {
        /// The actor that stops it.
        by: Actor,
        /// The instance.
        instance: InstanceId,
    },
    /// All slaves are to fetch a template now.
    Preload {
        /// The actor that asks for it.
        by: Actor,
        /// The name that points at the template.
        template: String,
    },
    /// A slave says which instances it has.
    ReportInstances {
        /// The slave.
        slave: SlaveId,
        /// The life of its process.
        session: SessionId,
        /// All that it has.
        report: ReportedInstances,
    },
    /// Time has passed: nobody may have asked for some instances for too long.
    CullInstances {
        /// The moment from which on it is known when somebody asked for an instance.
        since: Timestamp,
        /// When somebody last asked for an instance; one that is missing was not asked for since then.
        active: BTreeMap<InstanceId, Timestamp>,
    },
    /// Time has passed: instances that were over long ago can be forgotten.
    ForgetInstances,
    /// A user deletes a name of templates, and the templates that were built under it.
    DeleteTemplate {
        /// The actor that deletes it.
        by: Actor,
        /// The name.
        name: String,
    },
    /// A snapshot on the master's disk is not what its digest says.
    ReportDamagedSnapshot {
        /// The digest.
        digest: String,
    },
    /// Templates were registered: some may be beyond a bound.
    ForgetTemplates {
        /// The bounds.
        bounds: TemplateBounds,
    },
    /// The master process has begun its work, after replay.
    Start {
        /// What it knows beside its journal.
        opening: Box<Opening>,
    },
    /// The journal was repaired, or brought back from an export: its end may be lost.
    BeginIncarnation {
        /// The incarnation that begins.
        fresh: Incarnation,
        /// Why it begins, for the log.
        reason: String,
    },
}

/// What a master that starts knows beside its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The life of the process that begins.
    pub life: SessionId,
    /// The incarnation that begins if the journal is older than what is stored, or has none.
    pub fresh: Incarnation,
    /// What lies among the results.
    pub stored: StoredResults,
}

/// Which results lie on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResults {
    /// The highest id of a build that has a place there; 0 where none has.
    pub last_build: BuildId,
    /// The hand-outs of which there is a result, of builds that are not over.
    pub of_open_builds: BTreeMap<BuildId, Vec<(SubjobId, Attempt)>>,
}

impl StoredResults {
    /// There are none.
    #[must_use]
    pub fn none() -> Self {
        Self {
            last_build: BuildId(0),
            of_open_builds: BTreeMap::new(),
        }
    }
}

/// Which slaves are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaveChoice {
    /// All that are listed.
    All,
    /// These.
    Named(Vec<SlaveId>),
}
