//! What an instance of a release is started with.

use super::app::{App, AppBuild, CMD, DEIS_APP, DEIS_RELEASE, Release, WEB, text_of};
use super::config::{bytes_of, shares_of};
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::instances::facts::Launch;
use crate::instances::instance::{Instance, Purpose, Runs};
use clusterrunner_common::ids::{InstanceId, ProjectId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How long a process that no request waits for has to live until it counts as up, in milliseconds.
pub const SETTLES_AFTER_MS: u64 = 3_000;

/// The type whose limits runs have.
const RUN: &str = "run";

/// Runs a text in the shell that Procfiles are written for; images without it have another.
const SHELL: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash -c \"$0\"; else exec /bin/sh -c \"$0\"; fi";

/// The words that have a shell run a text. The first is a path since not all images have a `PATH`.
fn in_shell(text: &str) -> Vec<String> {
    ["/bin/sh", "-c", SHELL, text].map(str::to_owned).to_vec()
}

/// Neither a Procfile nor an image says how processes of a type start.
#[derive(Debug, thiserror::Error)]
#[error("the process type {process} has no command")]
struct NoCommand {
    process: String,
}

impl AppBuild {
    /// The command of a process type: empty for the start of the image or the template.
    fn command_of(&self, process: &str) -> Result<Vec<String>, NoCommand> {
        match self.procfile.get(process) {
            Some(text) => Ok(in_shell(text)),
            None if self.has_process(process) => Ok(Vec::new()),
            None => Err(NoCommand {
                process: process.to_owned(),
            }),
        }
    }
}

impl App {
    /// Whether the newest release has some of the process types that are wanted, but not this one. One that has none of
    /// them is rather a mistake, and what works goes on.
    pub(super) fn drops(&self, process: &str) -> bool {
        let Some(build) = self.build_of(self.newest()) else {
            return false;
        };
        let has = |process: &str| build.command_of(process).is_ok();
        let mut wanted = self.structure.iter().filter(|(_, number)| **number > 0);
        let can_run = !matches!(build.runs, Runs::Nothing(_));
        can_run && !has(process) && wanted.any(|(process, _)| has(process))
    }
}

impl Cluster {
    /// An instance of the newest release.
    pub(super) fn app_launch(&self, app: &App, process: &str, num: u32) -> Launch {
        let release = app.newest();
        let purpose = Purpose::App {
            project: app.project,
            release: release.version,
            process: process.to_owned(),
            num,
        };
        let key = self.made_up_key();
        let (runs, command) = runs_of(app, release, process);
        self.launch_of(app, release, process, purpose, (runs, command, key))
    }

    /// An instance for one command.
    pub(super) fn run_launch(&self, app: &App, key: String, command: &str, num: u32) -> Launch {
        let release = app.newest();
        let purpose = Purpose::Run {
            project: app.project,
            release: release.version,
            num,
        };
        let (runs, _) = runs_of(app, release, CMD);
        self.launch_of(app, release, RUN, purpose, (runs, in_shell(command), key))
    }

    fn launch_of(
        &self,
        app: &App,
        release: &Release,
        process: &str,
        purpose: Purpose,
        (runs, command, key): (Runs, Vec<String>, String),
    ) -> Launch {
        let config = app.config_of(release);
        let mut environment: BTreeMap<String, String> = config
            .values
            .iter()
            .map(|(name, value)| (name.clone(), text_of(value)))
            .collect();
        environment.insert(DEIS_APP.to_owned(), app.id.clone());
        environment.insert(DEIS_RELEASE.to_owned(), format!("v{}", release.version));
        let (template, image) = match runs {
            Runs::Template(template) => (Some(template), None),
            Runs::Image(image) => (None, Some(image)),
            Runs::Nothing(_) => (None, None),
        };
        let memory = config.memory.get(process);
        let memory = memory.and_then(|limit| bytes_of(limit));
        let shares = config.cpu.get(process).and_then(shares_of);
        Launch {
            key,
            template,
            image,
            template_name: app
                .build_of(release)
                .map_or_else(String::new, |build| build.image.clone()),
            owner: self.owner_of(app.project),
            command,
            environment,
            // Nothing is no limit, as containers have it.
            max_memory_bytes: memory.filter(|bytes| *bytes > 0),
            cpu_shares: shares.filter(|shares| *shares > 0),
            cull_after_ms: None,
            tags: config.tags.clone(),
            purpose,
        }
    }

    /// Why an instance of an app that waits can never be started, if that is so.
    pub(super) fn unstartable(&self, instance: &Instance) -> Option<String> {
        let Purpose::App {
            project,
            release,
            process,
            ..
        } = &instance.purpose
        else {
            return None;
        };
        let app = self.app(*project)?;
        match runs_of(app, app.release(*release)?, process).0 {
            Runs::Nothing(why) => Some(why),
            Runs::Template(_) | Runs::Image(_) => None,
        }
    }

    /// How long an instance has to live until it counts as up; none where its port must answer. Requests wait for `web`,
    /// and what says that it has a port is expected to answer there.
    pub(crate) fn settles_after_ms(&self, instance: &Instance) -> Option<u64> {
        let must_answer = match &instance.purpose {
            Purpose::Launch => true,
            Purpose::App { process, .. } => {
                let template = instance.template.and_then(|id| self.template(id));
                let port = template.and_then(|template| template.content.description.port);
                process == WEB || (process == CMD && port.is_some())
            }
            Purpose::Run { .. } => false,
        };
        (!must_answer).then_some(SETTLES_AFTER_MS)
    }

    /// The public id of the next instance. Nothing is reached by it alone, so it may be guessed; it has the form of a random
    /// UUID, and no other incarnation of the journal gives the same.
    fn made_up_key(&self) -> String {
        let incarnation = self.lineage.incarnation();
        let incarnation = incarnation.map_or_else(String::new, ToString::to_string);
        let InstanceId(next) = self.instances.next_id();
        let digits = Sha256::digest(format!("instance {next} of {incarnation}"));
        let mut digits = hex::encode(digits);
        digits.truncate(32);
        digits.replace_range(12..13, "4");
        digits.replace_range(16..17, "8");
        digits
    }

    #[expect(
        clippy::expect_used,
        reason = "a project is there for as long as its app"
    )]
    pub(super) fn owner_of(&self, project: ProjectId) -> Owner {
        let project = self.project(project);
        project.expect("apps have projects").owner
    }
}

/// What a process of a release runs, and by which command.
fn runs_of(app: &App, release: &Release, process: &str) -> (Runs, Vec<String>) {
    let Some(build) = app.build_of(release) else {
        let why = format!("release v{} has no build", release.version);
        return (Runs::Nothing(why), Vec::new());
    };
    match (&build.runs, build.command_of(process)) {
        // That there is no such image says more than what it would have started.
        (Runs::Nothing(_), _) => (build.runs.clone(), Vec::new()),
        (Runs::Template(_) | Runs::Image(_), Ok(command)) => (build.runs.clone(), command),
        (Runs::Template(_) | Runs::Image(_), Err(why)) => {
            (Runs::Nothing(why.to_string()), Vec::new())
        }
    }
}
