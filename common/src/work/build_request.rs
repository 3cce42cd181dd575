//! What a build is asked to do, whichever API was asked. It is stored as it is serialized.

use crate::git::{GitUrl, GitUrlError};
use crate::ids::{BuildId, ProjectId};
use crate::job::matrix::{Chosen, Part};
use crate::process::variables::Variables;
use crate::templates::Product;
use crate::work::WorkingTree;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::path::{Component, Path};

/// The stored field with variables of all commands.
pub const ENV: &str = "env";
/// The stored field with what all commands have in place of the daemons' own environment.
pub const INHERITED_ENV: &str = "inherited_env";

/// A well-formed request for a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// Where the project comes from.
    #[serde(flatten)]
    pub project: ProjectSource,
    /// Which job of `clusterrunner.yaml` to run; may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// A job definition that takes the place of `clusterrunner.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
    /// Complete atom commands (`export X="7";`) that take the place of the atomizers' output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atoms_override: Option<Vec<String>>,
    /// Whether the values in `atoms_override` are quoted for the shell like those that atomizers print; else they are
    /// shell text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quotes_atoms: bool,
    /// Whether its atoms run one after the other, on one executor: they are one subjob.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_order: bool,
    /// Files to download into the project directory: name -> URL.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub remote_files: IndexMap<String, String>,
    /// How often an atom that fails is run again, whatever the job says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// After so many failed atoms the rest is not run, whatever the job says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<NonZeroU32>,
    /// The build that this one runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<BuildId>,
    /// Which combinations of the job's matrix are built; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<Chosen>,
    /// Which build of a matrix it is. No request of an API can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Whether the master has found the commit of its project, on the branch that was asked for: it is a build of a matrix, or
    /// one that is run again. No request of an API can say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_commit_found: bool,
    /// Whether somebody else than who asks for it brought something along: it is run again. No request of an API can say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_brought_by_others: bool,
    /// Variables of all commands; they overrule those of the job. Never shown.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub env: Variables,
    /// What all commands have in place of the daemons' own environment. Never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited_env: Option<Variables>,
    /// What is said of the code where a client has sent it: the commit is one that no server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_tree: Option<WorkingTree>,
    /// What another API than ClusterRunner's was asked for, in the words of its caller. ClusterRunner's API neither
    /// takes nor shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification: Option<Map<String, Value>>,
    /// The template that the build is to leave; none for a build that leaves results alone. ClusterRunner's API neither
    /// takes nor shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
}

/// Where a project comes from. Serialized, it gives the request's own fields back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ProjectSource {
    /// A git repository.
    Git {
        /// Where to fetch it from.
        url: String,
        /// `origin`, or the URL of a fork of the repository that has the branch or commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote: Option<String>,
        /// Branch, tag or full ref name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// A commit, full or abbreviated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
        /// The project's directory inside the repository, relative.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_directory: Option<String>,
    },
    /// A directory that every machine has at the same path.
    Directory {
        /// Its path; absolute in every build that was accepted, see [`ProjectSource::resolved`].
        project_directory: String,
    },
    /// The project's own repository on the master. No request of ClusterRunner's API can name it.
    Own {
        /// The project.
        project: ProjectId,
        /// The commit, as a full id; none where nothing was uploaded yet: the build has an empty workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },
}

/// A repository, as a build names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repository {
    /// By its URL.
    Url(String),
    /// The one that a project has on the master.
    Own(ProjectId),
}

impl Repository {
    /// The repository as git knows it.
    ///
    /// # Errors
    /// The URL may not be used.
    pub fn url(&self, allow_local_sources: bool) -> Result<GitUrl, GitUrlError> {
        match self {
            Self::Url(url) => GitUrl::parse(url, allow_local_sources),
            Self::Own(project) => Ok(GitUrl::own(*project)),
        }
    }
}

impl ProjectSource {
    /// The repository that the project's files are checked out from, if they are from one.
    #[must_use]
    pub fn repository(&self) -> Option<Repository> {
        match self {
            Self::Git { url, .. } => Some(Repository::Url(url.clone())),
            Self::Own {
                project,
                commit: Some(_),
            } => Some(Repository::Own(*project)),
            Self::Own { commit: None, .. } | Self::Directory { .. } => None,
        }
    }

    /// The same with an absolute path: a relative one of a directory is meant from `base` on, and its `..` are
    /// taken away as they are written, as by the original.
    #[must_use]
    pub fn resolved(self, base: &Path) -> Self {
        let Self::Directory { project_directory } = &self else {
            return self;
        };
        if Path::new(project_directory).is_absolute() {
            return self;
        }
        let mut path = base.to_owned();
        for part in Path::new(project_directory).components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir => {
                    path.pop();
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Self::Directory {
            project_directory: path.to_string_lossy().into_owned(),
        }
    }
}

impl BuildRequest {
    /// The same without the environment that it brought along: once a build is over, nobody needs that.
    #[must_use]
    pub fn without_inherited_env(&self) -> Self {
        Self {
            inherited_env: None,
            ..self.clone()
        }
    }

    /// What atoms of its job are known as: by the job's name, and in a matrix by the combination, too, since the same atom
    /// is another one there.
    #[must_use]
    pub fn job_of_atoms<'a>(&self, job_name: &'a str) -> Cow<'a, str> {
        match &self.part {
            Some(part) => Cow::Owned(format!("{job_name} [{}]", part.combination)),
            None => Cow::Borrowed(job_name),
        }
    }

    /// Whether whoever asked for it said what runs in it beside what its repository says: code or variables.
    #[must_use]
    pub fn brings_something(&self) -> bool {
        self.working_tree.is_some()
            || self.config.is_some()
            || self.atoms_override.is_some()
            || !self.remote_files.is_empty()
            || !self.env.is_empty()
            || self.inherited_env.is_some()
    }

    /// The same without its variables, which not all may see.
    #[must_use]
    pub fn without_variables(&self) -> Self {
        Self {
            env: Variables::default(),
            inherited_env: None,
            part: None,
            ..self.clone()
        }
    }

    /// What a slave needs of the request: where the project and its files come from. What to run is
    /// in the job that goes with it.
    #[must_use]
    pub fn source(&self) -> Self {
        Self {
            project: self.project.clone(),
            remote_files: self.remote_files.clone(),
            working_tree: self.working_tree.clone(),
            job_name: None,
            config: None,
            atoms_override: None,
            quotes_atoms: false,
            in_order: false,
            retries: None,
            max_fail: None,
            retry_of: None,
            matrix: Vec::new(),
            part: None,
            is_commit_found: self.is_commit_found,
            is_brought_by_others: false,
            env: Variables::default(),
            inherited_env: None,
            specification: None,
            product: None,
        }
    }

    /// What two builds must share to be builds of one project: such builds are prepared one after
    /// the other if [preparing changes the project](Self::preparing_changes_project).
    #[must_use]
    pub fn project_key(&self) -> String {
        match &self.project {
            ProjectSource::Git { url, .. } => format!("git {url}"),
            ProjectSource::Directory { project_directory } => {
                format!("directory {project_directory}")
            }
            ProjectSource::Own { project, .. } => format!("project {project}"),
        }
    }

    /// Whether preparing the build changes the project's directory, so that no other build may be
    /// prepared in it meanwhile. A directory that is used as it is is only read.
    #[must_use]
    pub fn preparing_changes_project(&self) -> bool {
        match &self.project {
            ProjectSource::Git { .. } => true,
            ProjectSource::Directory { .. } => !self.remote_files.is_empty(),
            // Nothing of it is needed on the master.
            ProjectSource::Own { .. } => false,
        }
    }

    /// Whether the master fetches something for the build before it runs atomizers.
    #[must_use]
    pub fn fetches(&self) -> bool {
        match &self.project {
            ProjectSource::Git { .. } => true,
            ProjectSource::Directory { .. } | ProjectSource::Own { .. } => {
                !self.remote_files.is_empty()
            }
        }
    }
}
