//! What an order about apps means now.

use super::app::{App, AppBuild, AppConfig, Release};
use super::command::{AppCommand, AppRefusal, ConfigChange, NewAppBuild};
use super::facts::AppFact;
use super::summary::{self, Content};
use super::{config, names};
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::accounts::projects::NewProject;
use crate::actor::Actor;
use crate::event::Fact;
use crate::instances::decide::check_key;
use crate::instances::facts::InstanceFact;
use crate::instances::instance::Runs;
use crate::refusal::Refusal;
use crate::slaves::slave::Slave;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use std::collections::BTreeMap;

/// How many apps there are at most.
const MAX_APPS: usize = 10_000;

/// How many releases an app has at most: none is ever removed.
const MAX_RELEASES: usize = 10_000;

/// How many bytes the releases of an app have at most.
const MAX_RELEASE_BYTES: usize = 32 << 20;

/// How many domains an app has at most.
const MAX_DOMAINS: usize = 1_000;

/// How many instances an app may have.
const MAX_INSTANCES_OF_APP: u64 = 1_000;

/// How many instances all apps may have: with a successor for each and what still ends there is room for others.
const MAX_INSTANCES_OF_APPS: u64 = 4_000;

/// The bounds of what an app build says.
const MAX_IMAGE: usize = 256;
const MAX_SHA: usize = 64;
const MAX_DOCKERFILE: usize = 64 << 10;
const MAX_PROCFILE: usize = 64 << 10;
const MAX_PROCESS: usize = 64;

/// How many bytes the command of a run has at most.
const MAX_COMMAND: usize = 64 << 10;

impl Cluster {
    pub(crate) fn app_facts(
        &self,
        by: Actor,
        command: AppCommand,
        at: Timestamp,
    ) -> Result<Vec<Fact>, Refusal> {
        match command {
            AppCommand::Create { id } => self.created_app(by, id, at),
            AppCommand::Configure { project, change } => {
                Ok(self.configured(by, project, *change, at)?)
            }
            AppCommand::Build { project, build } => Ok(self.built(by, project, *build, at)?),
            AppCommand::Rollback { project, version } => {
                Ok(self.rolled_back(by, project, version, at)?)
            }
            AppCommand::Scale { project, numbers } => Ok(self.scaled(project, numbers)?),
            AppCommand::AddDomain { project, domain } => {
                Ok(self.domain_added(by, project, domain)?)
            }
            AppCommand::RemoveDomain { project, domain } => {
                Ok(self.domain_removed(project, domain)?)
            }
            AppCommand::Run {
                project,
                key,
                command,
            } => self.run_started(project, key, command),
            AppCommand::Destroy { project } => self.destroyed(project),
        }
    }

    fn known_app(&self, project: ProjectId) -> Result<&App, AppRefusal> {
        self.app(project).ok_or(AppRefusal::UnknownApp(project))
    }

    fn name_of(&self, owner: Owner) -> &str {
        self.owner_name(owner).unwrap_or("?")
    }

    fn created_app(&self, by: Actor, id: String, at: Timestamp) -> Result<Vec<Fact>, Refusal> {
        names::check_id(&id).map_err(AppRefusal::from)?;
        if self.app_of_id(&id).is_some() {
            return Err(AppRefusal::IdTaken(id).into());
        }
        if self.apps().count() >= MAX_APPS {
            return Err(AppRefusal::TooManyApps(MAX_APPS).into());
        }
        let owner = Owner::of(by);
        let (mut facts, project) = match self.project_named(owner, &id) {
            Some(known) if self.app(known.id).is_some() => {
                return Err(AppRefusal::ProjectDeployed(id).into());
            }
            Some(known) => (Vec::new(), known.id),
            None => self.project_for(owner, &id)?,
        };
        let owns_project = !facts.is_empty();
        let config = AppConfig {
            number: 1,
            owner,
            values: BTreeMap::new(),
            memory: BTreeMap::new(),
            cpu: BTreeMap::new(),
            tags: BTreeMap::new(),
            release: None,
            created: at,
        };
        let release = Release {
            version: 1,
            owner,
            build: None,
            config: 1,
            summary: summary::initial(self.name_of(owner)),
            created: at,
        };
        let created = AppFact::Created {
            id,
            owns_project,
            config: Box::new(config),
            release: Box::new(release),
        };
        facts.push(Fact::App(project, created));
        Ok(facts)
    }

    /// A project of its own for an app.
    fn project_for(&self, owner: Owner, id: &str) -> Result<(Vec<Fact>, ProjectId), Refusal> {
        let new = NewProject {
            name: id.to_owned(),
            description: None,
            tags: None,
            is_public: false,
            git_url: None,
        };
        let project = self.projects.next_id();
        Ok((self.created_project(owner, new)?, project))
    }

    fn configured(
        &self,
        by: Actor,
        project: ProjectId,
        change: ConfigChange,
        at: Timestamp,
    ) -> Result<Vec<Fact>, AppRefusal> {
        let app = self.known_app(project)?;
        let version = self.next_version(app)?;
        let newest = app.newest();
        let before = app.config_of(newest);
        let mut config = AppConfig {
            number: app.configs.len() as u64 + 1,
            owner: self.owner_of(project),
            release: Some(version),
            created: at,
            ..before.clone()
        };
        config::merge(&mut config, change)?;
        let build = app.build_of(newest);
        let release = Release {
            version,
            owner: Owner::of(by),
            build: newest.build,
            config: config.number,
            summary: self.summary_of(by, app, build, &config),
            created: at,
        };
        let config = Box::new(config);
        let configured = Fact::App(project, AppFact::Configured { config });
        Ok(vec![configured, released(project, release)])
    }

    fn built(
        &self,
        by: Actor,
        project: ProjectId,
        new: NewAppBuild,
        at: Timestamp,
    ) -> Result<Vec<Fact>, AppRefusal> {
        check_build(&new)?;
        let app = self.known_app(project)?;
        let version = self.next_version(app)?;
        let owner = self.owner_of(project);
        let number = app.builds.len() as u64 + 1;
        let build = self.app_build(by, new, number, owner, at);
        let newest = app.newest();
        let config = app.config_of(newest);
        let release = Release {
            version,
            owner: Owner::of(by),
            build: Some(number),
            config: newest.config,
            summary: self.summary_of(by, app, Some(&build), config),
            created: at,
        };
        let first = (build.first_process().to_owned(), 1);
        let build = AppFact::Built {
            build: Box::new(build),
        };
        let mut facts = vec![Fact::App(project, build)];
        facts.push(released(project, release));
        if app.structure.is_empty() {
            let numbers = BTreeMap::from([first]);
            self.check_size(app, &numbers)?;
            facts.push(Fact::App(project, AppFact::Scaled { numbers }));
        }
        Ok(facts)
    }

    fn summary_of(
        &self,
        by: Actor,
        app: &App,
        build: Option<&AppBuild>,
        config: &AppConfig,
    ) -> String {
        let owner = self.name_of(self.owner_of(app.project));
        let user = self.name_of(Owner::of(by));
        let newest = app.newest();
        let before = Content {
            build: app.build_of(newest),
            config: app.config_of(newest),
        };
        summary::summary(owner, user, before, Content { build, config })
    }

    fn rolled_back(
        &self,
        by: Actor,
        project: ProjectId,
        version: Option<u64>,
        at: Timestamp,
    ) -> Result<Vec<Fact>, AppRefusal> {
        let app = self.known_app(project)?;
        let back_to = version.unwrap_or(app.newest().version - 1);
        if back_to == 0 {
            return Err(AppRefusal::NoEarlierRelease);
        }
        let earlier = app.release(back_to);
        let earlier = earlier.ok_or(AppRefusal::UnknownRelease(back_to))?;
        let owner = Owner::of(by);
        let release = Release {
            version: self.next_version(app)?,
            owner,
            build: earlier.build,
            config: earlier.config,
            summary: summary::rolled_back(self.name_of(owner), back_to),
            created: at,
        };
        Ok(vec![released(project, release)])
    }

    /// The version of the next release, if there may be one.
    fn next_version(&self, app: &App) -> Result<u64, AppRefusal> {
        if app.releases.len() >= MAX_RELEASES || app.num_bytes() > MAX_RELEASE_BYTES {
            return Err(AppRefusal::TooManyReleases(app.releases.len()));
        }
        self.check_slaves_for(app)?;
        Ok(app.newest().version + 1)
    }

    /// What an app has can not be replaced without slaves. Where nothing runs, a release waits for them.
    fn check_slaves_for(&self, app: &App) -> Result<(), AppRefusal> {
        let has_instances = self.app_instances(app.project).next().is_some();
        match has_instances && !self.slaves().any(Slave::is_alive) {
            true => Err(AppRefusal::NoSlave),
            false => Ok(()),
        }
    }

    /// Those of the named types that could not be started are started anew.
    fn scaled(
        &self,
        project: ProjectId,
        numbers: BTreeMap<String, u32>,
    ) -> Result<Vec<Fact>, AppRefusal> {
        let app = self.known_app(project)?;
        let build = app.build_of(app.newest()).ok_or(AppRefusal::NoBuild)?;
        for (process, number) in &numbers {
            let goes = *number == 0 && app.structure.contains_key(process);
            if !goes && !build.has_process(process) {
                let process = process.chars().take(MAX_PROCESS).collect();
                return Err(AppRefusal::UnknownProcess(process));
            }
        }
        self.check_size(app, &numbers)?;
        let failed = self.app_instances(project).filter(|instance| {
            let process = instance.purpose.process();
            let release = instance.purpose.release();
            let is_newest = release == Some(app.newest().version);
            instance.is_over()
                && is_newest
                && process.is_some_and(|process| numbers.contains_key(process))
        });
        let again = failed.map(|instance| Fact::Instance(instance.id, InstanceFact::Stopped));
        let again: Vec<Fact> = again.collect();
        let scaled = Fact::App(project, AppFact::Scaled { numbers });
        Ok(std::iter::once(scaled).chain(again).collect())
    }

    fn check_size(&self, app: &App, numbers: &BTreeMap<String, u32>) -> Result<(), AppRefusal> {
        let mut structure = app.structure.clone();
        structure.extend(numbers.clone());
        let wanted: u64 = structure.values().map(|number| u64::from(*number)).sum();
        let before = app.size();
        if wanted > MAX_INSTANCES_OF_APP && wanted > before {
            return Err(AppRefusal::TooManyInstances(MAX_INSTANCES_OF_APP));
        }
        let all: u64 = self.apps().map(App::size).sum();
        match wanted > before && all - before + wanted > MAX_INSTANCES_OF_APPS {
            true => Err(AppRefusal::FarmFull(MAX_INSTANCES_OF_APPS)),
            false => Ok(()),
        }
    }

    fn domain_added(
        &self,
        by: Actor,
        project: ProjectId,
        domain: String,
    ) -> Result<Vec<Fact>, AppRefusal> {
        let app = self.known_app(project)?;
        if let Err(why) = names::check_domain(&domain) {
            let domain = domain.chars().take(MAX_IMAGE).collect();
            return Err(AppRefusal::InvalidDomain { domain, why });
        }
        if self.app_of_host(&domain).is_some() {
            return Err(AppRefusal::DomainTaken(domain));
        }
        if app.domains.len() >= MAX_DOMAINS {
            return Err(AppRefusal::TooManyDomains(MAX_DOMAINS));
        }
        let owner = Owner::of(by);
        let added = AppFact::DomainAdded { domain, owner };
        Ok(vec![Fact::App(project, added)])
    }

    fn domain_removed(&self, project: ProjectId, domain: String) -> Result<Vec<Fact>, AppRefusal> {
        match self.known_app(project)?.domains.contains_key(&domain) {
            true => Ok(vec![Fact::App(project, AppFact::DomainRemoved { domain })]),
            false => Err(AppRefusal::UnknownDomain(
                domain.chars().take(MAX_IMAGE).collect(),
            )),
        }
    }

    fn run_started(
        &self,
        project: ProjectId,
        key: String,
        command: String,
    ) -> Result<Vec<Fact>, Refusal> {
        let app = self.known_app(project)?;
        check_key(&key)?;
        let is_text = !command.is_empty() && !command.contains('\0');
        if !is_text || command.len() > MAX_COMMAND {
            let expected = "a text of 1 to 65536 bytes without NUL";
            let field = "command";
            return Err(AppRefusal::InvalidField { field, expected }.into());
        }
        let build = app.build_of(app.newest()).ok_or(AppRefusal::NoBuild)?;
        if self.instance_of_key(&key).is_some() {
            return Ok(Vec::new());
        }
        if let Runs::Nothing(why) = &build.runs {
            return Err(AppRefusal::NothingToRun(why.clone()).into());
        }
        if !self.slaves().any(Slave::is_alive) {
            return Err(AppRefusal::NoSlave.into());
        }
        self.check_room_for_instance()?;
        let num = app.last_run.saturating_add(1);
        let launch = self.run_launch(app, key, &command, num);
        let instance = self.instances.next_id();
        let started = AppFact::RunStarted {
            num,
            instance,
            command,
        };
        let launched = InstanceFact::Launched(Box::new(launch));
        Ok(vec![
            Fact::App(project, started),
            Fact::Instance(instance, launched),
        ])
    }

    fn destroyed(&self, project: ProjectId) -> Result<Vec<Fact>, Refusal> {
        match self.known_app(project)?.owns_project {
            true => Ok(self.deleted_project(project)?),
            false => Ok(self.deleted_app(project)),
        }
    }

    /// The end of a project's app, if it has one: first of what it runs.
    pub(crate) fn deleted_app(&self, project: ProjectId) -> Vec<Fact> {
        if self.app(project).is_none() {
            return Vec::new();
        }
        let runs = self.runs_of(project).filter(|run| !run.is_over());
        let instances = self.app_instances(project).chain(runs);
        let stopped = instances.map(|instance| Fact::Instance(instance.id, InstanceFact::Stopped));
        let deleted = Fact::App(project, AppFact::Deleted);
        stopped.chain([deleted]).collect()
    }
}

fn released(project: ProjectId, release: Release) -> Fact {
    let release = Box::new(release);
    Fact::App(project, AppFact::Released { release })
}

fn check_build(new: &NewAppBuild) -> Result<(), AppRefusal> {
    let invalid = |field, expected| Err(AppRefusal::InvalidField { field, expected });
    let is_line = |text: &str| !text.contains(char::is_control);
    if new.image.is_empty() || new.image.len() > MAX_IMAGE || !is_line(&new.image) {
        return invalid("image", "a line of 1 to 256 bytes");
    }
    if new.sha.len() > MAX_SHA || !new.sha.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return invalid("sha", "a commit: at most 64 letters and digits");
    }
    if new.dockerfile.len() > MAX_DOCKERFILE {
        return invalid("dockerfile", "at most 65536 bytes long");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_process = |name: &String| {
        (1..=MAX_PROCESS).contains(&name.len()) && name.bytes().all(fits) && name != "run"
    };
    let is_text = |text: &String| !text.trim().is_empty() && !text.contains('\0');
    let size: usize = new.procfile.iter().map(|(k, v)| k.len() + v.len()).sum();
    if !new.procfile.keys().all(is_process)
        || !new.procfile.values().all(is_text)
        || size > MAX_PROCFILE
    {
        return invalid(
            "procfile",
            "process types of letters, digits, '-' and '_', not 'run', each with a command, 65536 bytes at most",
        );
    }
    Ok(())
}
