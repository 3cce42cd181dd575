//! What a child does to prepare a build. Read from top to bottom.

use super::atomizer;
use super::bases;
use super::error::{Failure, PreparationError};
use super::fetch_step::{FetchFiles, FetchStep};
use super::found::{Found, repeated};
use super::output::Printed;
use super::step::{Step, StepFiles};
use clusterrunner_common::child::{self, Inside, MemoryLimit};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::kept_projects;
use clusterrunner_common::git::{CommitId, GitError, GitOptions, GitUrl, Mirror, Revision};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::config::{Job, TimeLimit, Timeouts, whole_atom};
use clusterrunner_common::job::file::read_job;
use clusterrunner_common::process::command::{Ended, ShellCommand};
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::remote_files::{RemoteFileRules, fetch_remote_files};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::builds::environment::variables;
use clusterrunner_core::builds::plan::Plan;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is to be prepared.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) build: BuildId,
    pub(super) request: BuildRequest,
    /// Where the code of a project lies that has it here.
    pub(super) own_repository: Option<PathBuf>,
    /// What a client has sent for it.
    pub(super) sent: Option<SentFor>,
    /// Where is said how the fetch went.
    pub(super) fetch: FetchFiles,
    /// Where is said what the atomizers print.
    pub(super) step: StepFiles,
    pub(super) surroundings: Surroundings,
}

/// A commit that clients have sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SentFor {
    pub(super) commit: CommitId,
    /// By each of those who have sent it.
    pub(super) sent: Vec<SentPacks>,
}

/// What one of them has sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SentPacks {
    pub(super) packs: Vec<PathBuf>,
    /// The commits of the repository that it is on top of.
    pub(super) bases: Vec<CommitId>,
}

/// What is the same for all builds of a master.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Surroundings {
    pub(super) mirrors: PathBuf,
    pub(super) work_trees: PathBuf,
    pub(super) git: GitOptions,
    pub(super) remote_files: RemoteFileRules,
    pub(super) git_max_memory_bytes: u64,
    pub(super) kill_grace: Duration,
    pub(super) default_timeouts: Timeouts,
    pub(super) hostname: String,
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) planned: Result<Plan, Failure>,
    /// Whether nothing runs any more of what atomizers have started.
    pub(super) leaves_nothing: bool,
}

/// Is a process that prepares one build, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub fn prepare_build() -> ExitCode {
    child::serve(|order: Order, inside| async move {
        let atomizers = inside.clone();
        let work = Work {
            build: order.build,
            own_repository: order.own_repository,
            sent: order.sent,
            surroundings: order.surroundings,
            inside,
        };
        let planned = work.plan(&order.request, order.fetch, order.step).await;
        Prepared {
            planned: planned.map_err(|error| Failure {
                is_atomizers: error.is_atomizers(),
                reason: error.to_string(),
            }),
            leaves_nothing: atomizers.is_alone(),
        }
    })
}

struct Work {
    build: BuildId,
    own_repository: Option<PathBuf>,
    sent: Option<SentFor>,
    surroundings: Surroundings,
    inside: Inside,
}

impl Work {
    async fn plan(
        &self,
        request: &BuildRequest,
        fetch: FetchFiles,
        step: StepFiles,
    ) -> Result<Plan, PreparationError> {
        let memory = MemoryLimit::set(self.surroundings.git_max_memory_bytes);
        let fetch = request.fetches().then(|| FetchStep::begin(fetch));
        let fetched = self.fetch_all(request).await;
        if let Some(fetch) = fetch {
            match &fetched {
                Ok((_, commit)) => fetch.succeeded(commit.as_deref(), &request.remote_files),
                Err(PreparationError::Canceled) => {}
                Err(error) => fetch.failed(error),
            }
        }
        let (project, commit) = fetched?;
        let (config, job_name) = (request.config.as_ref(), request.job_name.as_deref());
        let (job_name, job) =
            read_job(config, job_name, &project).map_err(|error| match &request.project {
                ProjectSource::Git {
                    project_directory, ..
                } => error.in_repository(project_directory.as_deref()),
                ProjectSource::Directory { .. } | ProjectSource::Own { .. } => error,
            })?;
        let timeouts = job.timeouts.or(self.surroundings.default_timeouts);
        let bases = self.bases(request, &project, commit.as_deref());
        let plan = Plan {
            commit,
            timeouts,
            bases,
            ..Plan::of(job_name, job.clone())
        };
        check_brought(&plan, request)?;
        let is_foreign_commit =
            !plan.secrets.is_empty() && self.is_foreign(request, plan.commit.as_deref()).await?;
        let plan = Plan {
            is_foreign_commit,
            ..plan
        };
        // It is split, and its atomizers run for each combination, with its variables.
        let is_split = !(plan.matrix.is_empty() && request.matrix.is_empty());
        if is_split && request.part.is_none() {
            return Ok(plan);
        }
        let found = match &request.atoms_override {
            Some(atoms) => {
                let is_shell_text = !(plan.quotes_atoms && request.quotes_atoms);
                let atoms = atoms.iter().map(|atom| whole_atom(atom, is_shell_text));
                Found {
                    atoms: atoms.map(Cow::into_owned).collect(),
                    warnings: Vec::new(),
                }
            }
            None => {
                // It is git's, not theirs.
                drop(memory);
                let limit = timeouts.atomizer.and_then(TimeLimit::duration);
                let variables = Arc::new(variables(self.build, request, &plan));
                let mut step = Step::begin(step);
                let found = self.atomize(&job, &project, (limit, &variables), &mut step);
                let found = found.await;
                if !job.atomizers.is_empty() {
                    step.end();
                }
                found?
            }
        };
        let mut warnings = found.warnings;
        warnings.extend(repeated(&found.atoms));
        Ok(Plan {
            atoms: found.atoms,
            warnings,
            quotes_atoms: plan.quotes_atoms
                && (request.atoms_override.is_none() || request.quotes_atoms),
            ..plan
        })
    }

    /// Brings the project and its remote files here; says where it is, and at which commit.
    async fn fetch_all(
        &self,
        request: &BuildRequest,
    ) -> Result<(PathBuf, Option<String>), PreparationError> {
        let (project, commit) = self.fetch(request).await?;
        let files = fetch_remote_files(
            &request.remote_files,
            &project,
            &self.surroundings.remote_files,
        );
        tokio::select! {
            () = self.inside.stop.cancelled() => return Err(PreparationError::Canceled),
            fetched = files => fetched?,
        }
        Ok((project, commit))
    }

    /// Brings the project here; says where it is, and at which commit.
    async fn fetch(
        &self,
        request: &BuildRequest,
    ) -> Result<(PathBuf, Option<String>), PreparationError> {
        let surroundings = &self.surroundings;
        match &request.project {
            ProjectSource::Directory { project_directory } => {
                let directory = PathBuf::from(project_directory);
                if !directory.is_dir() {
                    let hostname = surroundings.hostname.clone();
                    return Err(PreparationError::NoDirectory {
                        directory,
                        hostname,
                    });
                }
                Ok((directory, None))
            }
            // The request brings job and atoms along: nothing of the code is needed here.
            ProjectSource::Own { commit, .. } => Ok((PathBuf::new(), commit.clone())),
            ProjectSource::Git {
                url,
                remote,
                branch,
                hash,
                project_directory,
            } => {
                let url = GitUrl::parse(url, surroundings.git.allow_local_sources)?;
                if let Some(sent) = &self.sent {
                    let (work_tree, commit) = self.take_sent(sent, &url, branch.as_deref()).await?;
                    let project = match project_directory {
                        None => work_tree,
                        Some(inside) => project_inside(&work_tree, inside)?,
                    };
                    return Ok((project, Some(commit)));
                }
                let name = url.directory_name();
                let work_tree = surroundings.work_trees.join(&name);
                let mirror = Mirror::new(
                    surroundings.mirrors.join(&name),
                    url,
                    surroundings.git.clone(),
                );
                let revision = Revision {
                    remote: remote.clone(),
                    branch: branch.clone(),
                    hash: hash.clone(),
                };
                let checked_out = tokio::task::spawn_blocking({
                    let (work_tree, stop) = (work_tree.clone(), self.inside.stop.clone());
                    move || {
                        let commit = mirror.fetch(&revision, &stop)?;
                        mirror.check_out(&commit, &work_tree, &stop)?;
                        // Unused for longer it only seems, and is fetched again.
                        kept_projects::touch(&work_tree).ok();
                        Ok::<_, GitError>(commit)
                    }
                });
                let commit = checked_out.await.map_err(interrupted)??;
                let project = match project_directory {
                    None => work_tree,
                    Some(inside) => project_inside(&work_tree, inside)?,
                };
                Ok((project, Some(commit.to_string())))
            }
        }
    }

    /// Whether a commit is none of its repository's own branches and tags. What clients have sent is known as such.
    async fn is_foreign(
        &self,
        request: &BuildRequest,
        commit: Option<&str>,
    ) -> Result<bool, PreparationError> {
        let (ProjectSource::Git { url, .. }, None, Some(commit)) =
            (&request.project, &self.sent, commit)
        else {
            return Ok(false);
        };
        let Ok(commit) = commit.parse::<CommitId>() else {
            return Ok(true);
        };
        let surroundings = &self.surroundings;
        let url = GitUrl::parse(url, surroundings.git.allow_local_sources)?;
        let directory = surroundings.mirrors.join(url.directory_name());
        let mirror = Mirror::new(directory, url, surroundings.git.clone());
        let stop = self.inside.stop.clone();
        let look = tokio::task::spawn_blocking(move || mirror.is_on_a_branch(&commit, &stop));
        Ok(!look.await.map_err(interrupted)??)
    }

    /// Brings here what clients have sent; says where it is, and at which commit.
    async fn take_sent(
        &self,
        sent: &SentFor,
        url: &GitUrl,
        branch: Option<&str>,
    ) -> Result<(PathBuf, String), PreparationError> {
        let name = url.sent_directory_name();
        let git = &self.surroundings.git;
        let at = |name: &str| {
            let directory = self.surroundings.mirrors.join(name);
            Mirror::new(directory, url.clone(), git.clone())
        };
        let (mirror, below) = (at(&name), at(&url.directory_name()));
        let work_tree = self.surroundings.work_trees.join(&name);
        let commit = sent.commit.clone();
        let ways: Vec<(Vec<PathBuf>, Vec<CommitId>)> = sent
            .sent
            .iter()
            .map(|sent| (sent.packs.clone(), sent.bases.clone()))
            .collect();
        let (branch, stop) = (branch.map(str::to_owned), self.inside.stop.clone());
        let taken = tokio::task::spawn_blocking({
            let (work_tree, commit) = (work_tree.clone(), commit.clone());
            move || {
                let mut outcome = Ok(());
                for (packs, bases) in ways {
                    outcome = take(
                        &mirror,
                        &below,
                        &commit,
                        (&packs, &bases),
                        branch.as_deref(),
                        &stop,
                    );
                    if outcome.is_ok() || stop.is_cancelled() {
                        break;
                    }
                }
                outcome?;
                mirror.check_out(&commit, &work_tree, &stop)?;
                // Unused for longer it only seems, and is made again.
                kept_projects::touch(&work_tree).ok();
                Ok::<_, PreparationError>(())
            }
        });
        taken.await.map_err(interrupted)??;
        Ok((work_tree, commit.to_string()))
    }

    /// What the template of the build is based on, if it leaves one.
    fn bases(&self, request: &BuildRequest, project: &Path, commit: Option<&str>) -> Vec<String> {
        let Some(product) = &request.product else {
            return Vec::new();
        };
        bases::bases(product, |name| match (&self.own_repository, commit) {
            (Some(repository), Some(commit)) => bases::of_own(repository, commit, name),
            (Some(_), None) => None,
            (None, _) => bases::of_directory(project, name),
        })
    }

    async fn atomize(
        &self,
        job: &Job,
        project: &Path,
        bounds: (Option<Duration>, &Arc<BuildVariables>),
        step: &mut Step,
    ) -> Result<Found, PreparationError> {
        let mut found = Found::default();
        let are_several = job.atomizers.len() > 1;
        for group in job.products() {
            let mut lines = Vec::with_capacity(group.len());
            for atomizer in group {
                step.next(are_several.then_some(atomizer.name.as_str()));
                let command = &atomizer.command;
                let printed = self.run_atomizer(command, project, bounds, step);
                let printed = printed.await?;
                lines.push(found.read(atomizer, &printed, &project.to_string_lossy()));
            }
            found
                .add(group, lines, job.raw_atoms)
                .map_err(PreparationError::LargeProduct)?;
        }
        Ok(found)
    }

    async fn run_atomizer(
        &self,
        command: &str,
        project: &Path,
        (limit, variables): (Option<Duration>, &Arc<BuildVariables>),
        step: &mut Step,
    ) -> Result<Printed, PreparationError> {
        let stop = &self.inside.stop;
        self.inside.begin_commands();
        let shell = ShellCommand {
            command_line: command.to_owned(),
            working_directory: project.to_owned(),
            variables: Arc::clone(variables),
            environment: vec![("PROJECT_DIR".to_owned(), project.into())],
            mark: format!("{}{}:{}:", self.inside.mark, self.build, hex_of_random()),
            max_output: None,
            confinement: None,
        };
        let bounds = (limit, self.surroundings.kill_grace);
        let (ended, printed) = atomizer::run(&shell, stop, bounds, step).await?;
        let how = match ended {
            // `find -print0` or UTF-16: values are lines of text, and become arguments of a shell.
            Ended::Exited(0) if printed.output.contains('\0') => {
                "printed a NUL character, which no atom can have".to_owned()
            }
            Ended::Exited(0) => return Ok(printed),
            Ended::Exited(code) => format!("exited with {code}"),
            Ended::Signaled(signal) => format!("was killed by signal {signal}"),
            Ended::TimedOut => format!(
                "timed out after {} s",
                limit.map_or(0, |limit| limit.as_secs())
            ),
            Ended::Canceled => return Err(PreparationError::Canceled),
        };
        Err(PreparationError::Atomizer {
            command: command.to_owned(),
            how,
            printed,
        })
    }
}

/// A variable that somebody brings along would silently lose against a secret of its name.
fn check_brought(plan: &Plan, request: &BuildRequest) -> Result<(), PreparationError> {
    let is_brought = |name: &&String| request.env.get(name).is_some();
    match plan.secrets.iter().find(is_brought) {
        Some(name) => Err(PreparationError::SecretBrought(name.clone())),
        None => Ok(()),
    }
}

/// Makes a commit that was sent one of `mirror`, on top of commits of the repository, which are fetched.
fn take(
    mirror: &Mirror,
    below: &Mirror,
    commit: &CommitId,
    (packs, bases): (&[PathBuf], &[CommitId]),
    branch: Option<&str>,
    stop: &CancellationToken,
) -> Result<(), PreparationError> {
    if mirror.has_whole(commit)? {
        return Ok(());
    }
    for base in bases {
        let fetched = below.fetch_commit(base, branch, stop);
        fetched.map_err(|error| match error {
            GitError::Canceled => error.into(),
            error => PreparationError::NoBase(error),
        })?;
    }
    let on = (!bases.is_empty()).then_some(below);
    Ok(mirror.take_sent(commit, packs, on, stop)?)
}

fn interrupted(error: tokio::task::JoinError) -> PreparationError {
    PreparationError::Interrupted(format!("Fetching the project was interrupted: {error}."))
}

fn hex_of_random() -> String {
    format!("{:08x}", u32::from_be_bytes(random_bytes()))
}

/// The project's directory in the work tree; also through links it must lie there.
fn project_inside(work_tree: &Path, inside: &str) -> Result<PathBuf, PreparationError> {
    let missing = || PreparationError::NoProjectDirectory(inside.to_owned());
    let real = work_tree
        .join(inside)
        .canonicalize()
        .map_err(|_| missing())?;
    let root = work_tree.canonicalize().map_err(|_| missing())?;
    if real.starts_with(root) && real.is_dir() {
        Ok(work_tree.join(inside))
    } else {
        Err(missing())
    }
}
