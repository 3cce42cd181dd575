//! Apps in walks: what their users wish, what model slaves do with their processes and runs, and what must hold.
//!
//! A config whose values say [`BROKEN`] has processes that can not be started; all others come up in the end, however often
//! they crash before.

use super::Tally;
use super::master::Master;
use super::mutation::Mutation;
use super::world::World;
use crate::Cluster;
use crate::actor::Actor;
use crate::apps::app::App;
use crate::apps::command::{AppCommand, ConfigChange, NewAppBuild};
use crate::command::Command;
use crate::event::{AppFact, Event, Fact, InstanceFact};
use crate::instances::instance::{Instance, InstanceState, Purpose};
use crate::instances::placing::Wait;
use crate::refusal::Refusal;
use crate::tests::scenario::{Scenario, Turn};
use clusterrunner_common::ids::{InstanceId, ProjectId};
use clusterrunner_common::work::ReportedState;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The value of a variable with which no process starts.
const BROKEN: &str = "broken";

/// What users do with apps, which are named by small numbers and may not be there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AppWish {
    Create(u64),
    /// One of a few variables is to have this number, or is to break the app.
    Configure(u64, u64, bool),
    /// The template of a project is to be run.
    Build(u64, u64),
    /// Back to a version, or to the one before.
    Rollback(u64, Option<u64>),
    /// So many of `web`.
    Scale(u64, u32),
    Run(u64, u64),
    AddDomain(u64),
    Destroy(u64),
}

/// What users of apps were told.
#[derive(Clone, Debug, Default)]
pub(super) struct AppPromises {
    /// The newest version that was acknowledged of each app.
    versions: BTreeMap<ProjectId, u64>,
    /// The runs that were.
    runs: BTreeSet<String>,
}

fn id_of(app: u64) -> String {
    format!("app-{app}")
}

/// What users wish of an app that is there; its creation where none is.
fn command_of(cluster: &Cluster, wish: AppWish) -> Option<AppCommand> {
    let project = |app: u64| Some(cluster.app_of_id(&id_of(app))?.project);
    Some(match wish {
        AppWish::Create(app) => AppCommand::Create { id: id_of(app) },
        AppWish::Configure(app, number, is_broken) => {
            let value = match is_broken {
                true => json!(BROKEN),
                false => json!(number),
            };
            let name = format!("K{}", number % 3);
            AppCommand::Configure {
                project: project(app)?,
                change: Box::new(ConfigChange {
                    values: [(name, Some(value))].into(),
                    ..ConfigChange::default()
                }),
            }
        }
        AppWish::Build(app, of) => AppCommand::Build {
            project: project(app)?,
            build: Box::new(NewAppBuild {
                image: format!("template-{of}"),
                procfile: [("web".to_owned(), "serve".to_owned())].into(),
                ..NewAppBuild::default()
            }),
        },
        AppWish::Rollback(app, version) => AppCommand::Rollback {
            project: project(app)?,
            version,
        },
        AppWish::Scale(app, number) => AppCommand::Scale {
            project: project(app)?,
            numbers: [("web".to_owned(), number), ("cmd".to_owned(), 0)].into(),
        },
        AppWish::Run(app, number) => AppCommand::Run {
            project: project(app)?,
            key: format!("{:032x}", 1_000_000 + number),
            command: format!("exit {}", number % 3),
        },
        AppWish::AddDomain(app) => AppCommand::AddDomain {
            project: project(app)?,
            domain: format!("{}.example.com", id_of(app)),
        },
        AppWish::Destroy(app) => AppCommand::Destroy {
            project: project(app)?,
        },
    })
}

/// Whether no process of a release starts.
pub(super) fn is_broken(environment: &BTreeMap<String, String>) -> bool {
    environment.values().any(|value| value == BROKEN)
}

/// How a run ends, whose command says so.
pub(super) fn exit_of(command: &[String]) -> ReportedState {
    let text = command.last().and_then(|text| text.strip_prefix("exit "));
    let code = text.and_then(|code| code.parse().ok()).expect("an exit");
    ReportedState::Exited { code, printed: 0 }
}

impl World {
    pub(super) fn user_of_app(&mut self, wish: AppWish) {
        if !self.master.is_up {
            return;
        }
        let Some(command) = command_of(&self.master.farm.cluster, wish) else {
            return;
        };
        let key = match &command {
            AppCommand::Run { key, .. } => Some(key.clone()),
            _ => None,
        };
        if let AppCommand::Destroy { project } = &command {
            self.forget_promises_of(*project);
        }
        let by = Actor::SecretHolder;
        if !matches!(self.tell(Command::App { by, command }), Some(Ok(()))) {
            return;
        }
        self.app_promises.runs.extend(key);
        let apps = self.master.farm.cluster.apps();
        let newest = apps.map(|app| (app.project, app.newest().version));
        self.app_promises.versions.extend(newest);
    }

    /// As the router does it: what is retired is stopped when nobody uses it any more.
    pub(super) fn drain_retired(&mut self) {
        let cluster = &self.master.farm.cluster;
        let retired = cluster.instances().filter(|it| it.retired && !it.is_over());
        let retired: Vec<InstanceId> = retired.map(|it| it.id).collect();
        for instance in retired {
            if self.master.is_up && self.random.happens(300) {
                let by = Actor::Master;
                self.tell(Command::StopInstance { by, instance });
            }
        }
    }

    /// With the end of the journal some were lost.
    pub(super) fn lose_app_promises(&mut self) {
        let cluster = &self.master.farm.cluster;
        let promises = &mut self.app_promises;
        promises.versions = cluster
            .apps()
            .map(|app| (app.project, app.newest().version))
            .collect();
        promises
            .runs
            .retain(|key| cluster.instance_of_key(key).is_some());
    }

    pub(super) fn check_apps(&self) {
        let farm = &self.master.farm;
        let cluster = &farm.cluster;
        let deleted = farm.journal.iter().filter_map(|event| match &event.fact {
            Fact::App(project, AppFact::Deleted) => Some(*project),
            _ => None,
        });
        let deleted: BTreeSet<ProjectId> = deleted.collect();
        for (project, version) in &self.app_promises.versions {
            let app = cluster.app(*project);
            let is_kept = app.is_some_and(|app| app.newest().version >= *version);
            assert!(
                is_kept || deleted.contains(project),
                "v{version} of {project} was promised"
            );
        }
        for key in &self.app_promises.runs {
            let run = cluster.instance_of_key(key);
            // One of an image waits for a slave that runs images.
            let rests = |run: &Instance| run.is_over() || cluster.waits_for(run).is_some();
            assert!(run.is_some_and(rests), "run {key}: {run:?}");
        }
        for app in cluster.apps() {
            check_scale(cluster, app);
        }
        check_releases(farm);
    }
}

/// Once faults have stopped each place has its instance of the newest release, and nothing else is there but what worked
/// before one that can not work.
fn check_scale(cluster: &Cluster, app: &App) {
    let newest = app.newest().version;
    let mut filled: BTreeMap<u32, &Instance> = BTreeMap::new();
    let mut earlier: Vec<&Instance> = Vec::new();
    for instance in cluster.app_instances(app.project) {
        let Purpose::App {
            release,
            process,
            num,
            ..
        } = &instance.purpose
        else {
            continue;
        };
        assert!(*num <= app.num_wanted(process), "not wanted: {instance:?}");
        assert!(!instance.retired, "it was to end: {instance:?}");
        match *release == newest {
            true => {
                let before = filled.insert(*num, instance);
                assert!(before.is_none(), "twice: {instance:?}");
            }
            false => earlier.push(instance),
        }
    }
    let wanted: u32 = app.structure.keys().map(|p| app.num_wanted(p)).sum();
    assert_eq!(filled.len(), wanted as usize, "{app:?}");
    let broken = app.config_of(app.newest()).values.values();
    let is_broken = broken.clone().any(|value| value == BROKEN);
    for instance in filled.values() {
        match instance.state {
            InstanceState::Up => assert!(!is_broken, "{instance:?}"),
            InstanceState::Error => assert!(is_broken, "{instance:?}"),
            InstanceState::Initialized => assert!(cluster.waits_for(instance).is_some()),
            _ => panic!("it does not rest: {instance:?}"),
        }
    }
    for instance in earlier {
        let Purpose::App { num, .. } = &instance.purpose else {
            continue;
        };
        assert!(instance.answered.is_some(), "it never worked: {instance:?}");
        assert_ne!(filled[num].state, InstanceState::Up, "{instance:?}");
    }
}

/// From the facts alone: what worked ends only when it is not wanted any more or when a later one works, each release has
/// the config of the one before with one change, and each run begins once.
fn check_releases(farm: &Scenario) {
    let mut cluster = Cluster::default();
    for event in &farm.journal {
        if let Fact::Instance(id, InstanceFact::Stopped | InstanceFact::Retired) = &event.fact
            && event.by == Actor::Master
            && let Some(instance) = cluster.instance(*id)
        {
            check_end(&cluster, instance, event);
        }
        if let Fact::App(project, AppFact::Configured { config }) = &event.fact {
            let app = cluster.app(*project).unwrap();
            let before = &app.config_of(app.newest()).values;
            let names: BTreeSet<&String> = before.keys().chain(config.values.keys()).collect();
            let is_another = |name: &&&String| before.get(**name) != config.values.get(**name);
            let changed = names.iter().filter(is_another).count();
            assert!(changed <= 1, "a config of another release: {event:?}");
        }
        cluster.apply(event);
    }
}

fn check_end(cluster: &Cluster, instance: &Instance, event: &Event) {
    let Purpose::App {
        project,
        process,
        num,
        release,
    } = &instance.purpose
    else {
        return;
    };
    let Some(app) = cluster.app(*project) else {
        return;
    };
    let has_worked = instance.answered.is_some() && !instance.is_over() && !instance.retired;
    if !has_worked || *num > app.num_wanted(process) {
        return;
    }
    let mut others = cluster.app_instances(*project);
    let is_replaced = others.any(|other| match &other.purpose {
        Purpose::App {
            process: its,
            num: at,
            release: of,
            ..
        } => (its, at) == (process, num) && of > release && other.state == InstanceState::Up,
        Purpose::Launch | Purpose::Run { .. } => false,
    });
    assert!(is_replaced, "it worked, and nothing else does: {event:?}");
}

impl Tally {
    pub(super) fn count_app(&mut self, fact: &AppFact) {
        let number = match fact {
            AppFact::Created { .. } => &mut self.apps_created,
            AppFact::Configured { .. } => &mut self.apps_configured,
            AppFact::Built { .. } => &mut self.apps_built,
            AppFact::Released { release } if release.summary.contains("rolled back") => {
                &mut self.apps_rolled_back
            }
            AppFact::Scaled { .. } => &mut self.apps_scaled,
            AppFact::DomainAdded { .. } => &mut self.domains_added,
            AppFact::RunStarted { .. } => &mut self.runs_started,
            AppFact::Deleted => &mut self.apps_deleted,
            AppFact::Released { .. } | AppFact::DomainRemoved { .. } => return,
        };
        *number += 1;
    }
}

/// Whether an instance waits although a slave has room.
pub(super) fn waits_for_a_slot(cluster: &Cluster, id: InstanceId) -> bool {
    let instance = cluster.instance(id);
    let wait = instance.and_then(|instance| cluster.waits_for(instance));
    wait == Some(Wait::NoSlot)
}

impl Master {
    /// An order about an app, as a core without a safeguard takes it.
    pub(super) fn take_of_app(
        &mut self,
        by: Actor,
        mut command: AppCommand,
    ) -> Result<Turn, Refusal> {
        match (self.mutation, &mut command) {
            (Some(Mutation::ReplacedBeforeTheSuccessorIsUp), AppCommand::Configure { .. }) => {
                let turn = self.farm.try_tell(Command::App { by, command });
                self.stop_old_releases();
                turn
            }
            (Some(Mutation::VersionsAreGivenTwice), AppCommand::Rollback { project, .. }) => {
                self.release_again(*project);
                self.farm.try_tell(Command::App { by, command })
            }
            (
                Some(Mutation::ConfigsAreMergedIntoTheLatest),
                AppCommand::Configure { project, change },
            ) => {
                // As if all were named that the latest config has, whatever the newest release has.
                let app = self.farm.cluster.app(*project);
                let latest = app.and_then(|app| app.configs.last());
                for (name, value) in latest.into_iter().flat_map(|config| &config.values) {
                    let named = change.values.entry(name.clone());
                    named.or_insert_with(|| Some(value.clone()));
                }
                self.farm.try_tell(Command::App { by, command })
            }
            _ => self.farm.try_tell(Command::App { by, command }),
        }
    }

    fn stop_old_releases(&mut self) {
        let cluster = &self.farm.cluster;
        let is_old = |instance: &&Instance| {
            let app = instance.purpose.project().and_then(|it| cluster.app(it));
            let newest = app.map(|app| app.newest().version);
            instance.purpose.process().is_some() && instance.purpose.release() < newest
        };
        let old = cluster.instances().filter(is_old);
        let old: Vec<InstanceId> = old.map(|instance| instance.id).collect();
        for instance in old {
            let by = Actor::Master;
            let stop = Command::StopInstance { by, instance };
            self.farm.try_tell(stop).expect("it is known");
        }
    }

    fn release_again(&mut self, project: ProjectId) {
        let Some(app) = self.farm.cluster.app(project) else {
            return;
        };
        let release = Box::new(app.newest().clone());
        let fact = Fact::App(project, AppFact::Released { release });
        let at = self.farm.journal.last().expect("there was much").at;
        let by = Actor::Master;
        let event = Event { at, by, fact };
        self.farm.cluster.apply(&event);
        self.farm.cluster.check().unwrap();
        self.farm.journal.push(event);
    }
}
