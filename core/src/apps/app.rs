//! What an app is: its releases, and what they consist of.

use crate::accounts::owner::Owner;
use crate::instances::instance::Runs;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The process type that runs what the image or the template starts by itself.
pub const CMD: &str = "cmd";

/// The process type that requests by host go to first.
pub const WEB: &str = "web";

/// The variable with the app's id. Users can not set it.
pub const DEIS_APP: &str = "DEIS_APP";

/// The variable with the release. Users can not set it.
pub const DEIS_RELEASE: &str = "DEIS_RELEASE";

/// A project that is deployed. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The project.
    pub project: ProjectId,
    /// Its name, unique on the farm.
    pub id: String,
    /// Whether the project was made with it, and goes with it.
    pub owns_project: bool,
    /// How many of each process type are wanted; empty before the first deploy or scale.
    pub structure: BTreeMap<String, u32>,
    /// All configs; config `n` is at `n - 1`.
    pub configs: Vec<AppConfig>,
    /// All app builds; app build `n` is at `n - 1`.
    pub builds: Vec<AppBuild>,
    /// All releases, never empty; version `n` is at `n - 1`.
    pub releases: Vec<Release>,
    /// The domains that lead to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<String, Domain>,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// The number of the latest run; 0 before the first.
    #[serde(default)]
    pub last_run: u32,
}

/// What the processes of a release get to know, what they may use, and where they run. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppConfig {
    /// Its number, from 1.
    pub number: u64,
    /// The owner of the app when it was made, whoever made it.
    pub owner: Owner,
    /// Variables. Each value is a text, a number or a truth value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
    /// The most memory of each process of a type, such as `512M`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub memory: BTreeMap<String, String>,
    /// The weight of each process of a type, an integer or its text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu: BTreeMap<String, Value>,
    /// What the slaves are tagged with that run the processes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The release that it was made for; none for the initial one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
}

/// What an app is to run. It is not a build of the farm, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppBuild {
    /// Its number, from 1.
    pub number: u64,
    /// The owner of the app when it was made, whoever made it.
    pub owner: Owner,
    /// What was asked for.
    pub image: String,
    /// The commit; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha: String,
    /// The process types, and the shell text of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub procfile: BTreeMap<String, String>,
    /// The Dockerfile that it was made with; empty where there is none. Of a template only the file's name is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// What `image` stood for when the app build was made.
    pub runs: Runs,
    /// When it was made.
    pub created: Timestamp,
}

/// An app build with a config: what an app was from some moment on. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version, from 1 without gaps.
    pub version: u64,
    /// The owner of what the actor makes that made it.
    pub owner: Owner,
    /// The number of its app build; none where nothing is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<u64>,
    /// The number of its config.
    pub config: u64,
    /// What is another than in the release before, for people.
    pub summary: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A host name that leads to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The owner of what the actor makes that added it.
    pub owner: Owner,
    /// When it was added.
    pub created: Timestamp,
}

impl App {
    /// The newest release.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "an app begins with a release, and none is removed"
    )]
    pub fn newest(&self) -> &Release {
        self.releases.last().expect("an app begins with a release")
    }

    /// A release.
    #[must_use]
    pub fn release(&self, version: u64) -> Option<&Release> {
        numbered(&self.releases, version)
    }

    /// A config.
    #[must_use]
    pub fn config(&self, number: u64) -> Option<&AppConfig> {
        numbered(&self.configs, number)
    }

    /// An app build.
    #[must_use]
    pub fn build(&self, number: u64) -> Option<&AppBuild> {
        numbered(&self.builds, number)
    }

    /// The config of a release.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a release names a config of its app, and none is removed"
    )]
    pub fn config_of(&self, release: &Release) -> &AppConfig {
        self.config(release.config)
            .expect("releases name configs that exist")
    }

    /// The app build of a release; none where nothing is to run.
    #[must_use]
    pub fn build_of(&self, release: &Release) -> Option<&AppBuild> {
        self.build(release.build?)
    }

    /// How many of a process type are wanted on the newest release: none where it has nothing to run.
    #[must_use]
    pub fn num_wanted(&self, process: &str) -> u32 {
        match self.newest().build {
            Some(_) => self.structure.get(process).copied().unwrap_or_default(),
            None => 0,
        }
    }

    /// How many instances are wanted by its structure.
    pub(super) fn size(&self) -> u64 {
        self.structure
            .values()
            .fold(0, |all, number| all + u64::from(*number))
    }

    /// About how many bytes its releases have.
    pub(super) fn num_bytes(&self) -> usize {
        let configs: usize = self.configs.iter().map(AppConfig::num_bytes).sum();
        let builds: usize = self.builds.iter().map(AppBuild::num_bytes).sum();
        let summaries = self.releases.iter().map(|release| release.summary.len());
        configs + builds + summaries.sum::<usize>()
    }
}

fn numbered<T>(all: &[T], number: u64) -> Option<&T> {
    let place = usize::try_from(number.checked_sub(1)?).ok()?;
    all.get(place)
}

impl AppConfig {
    /// The variables as users see them: with the app's id and the release that the config was made for.
    #[must_use]
    pub fn shown_values(&self, app: &App) -> BTreeMap<String, Value> {
        let mut values = self.values.clone();
        if let Some(release) = self.release {
            values.insert(DEIS_APP.to_owned(), app.id.clone().into());
            values.insert(DEIS_RELEASE.to_owned(), format!("v{release}").into());
        }
        values
    }

    pub(super) fn num_bytes(&self) -> usize {
        let texts = self.memory.iter().chain(&self.tags);
        let texts = texts.map(|(key, text)| key.len() + text.len());
        let values = self.values.iter().chain(&self.cpu);
        let values = values.map(|(key, value)| key.len() + text_of(value).len());
        texts.chain(values).sum()
    }
}

/// A value as a variable has it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl AppBuild {
    /// Whether a process of this type can be asked for: those of the Procfile, and the start of the image or the template.
    /// Where there is code without a Procfile and without a Dockerfile, that start is also called `web`, as the first
    /// deploy calls it.
    #[must_use]
    pub fn has_process(&self, process: &str) -> bool {
        process == CMD || self.procfile.contains_key(process) || process == self.first_process()
    }

    /// The process type of which the first deploy starts one.
    #[must_use]
    pub fn first_process(&self) -> &'static str {
        let is_image = self.sha.is_empty();
        let is_dockerfile = !self.dockerfile.is_empty() && self.procfile.is_empty();
        let has_no_web = !self.procfile.is_empty() && !self.procfile.contains_key(WEB);
        match is_image || is_dockerfile || has_no_web {
            true => CMD,
            false => WEB,
        }
    }

    pub(super) fn num_bytes(&self) -> usize {
        let procfile = self.procfile.iter();
        let procfile: usize = procfile.map(|(key, text)| key.len() + text.len()).sum();
        self.image.len() + self.sha.len() + self.dockerfile.len() + procfile
    }
}
