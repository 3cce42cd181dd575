//! What carries out the effects of decisions: builds are prepared and archived, slaves called, old things removed.

use super::Farm;
use crate::effects::archiver::Archiver;
use crate::effects::dispatcher::Dispatcher;
use crate::effects::history::Historian;
use crate::effects::learning::{self, Durations};
use crate::effects::preparer::{PREPARE_BUILD, Preparer};
use crate::effects::project_locks::ProjectLocks;
use crate::effects::retention::{Keeper, Projects};
use crate::effects::slave_calls::{Giving, ProjectLinks};
use crate::effects::timing_files;
use crate::journal::{Run, Timings};
use crate::store::own_repositories::OwnRepositories;
use crate::store::sources::Sources;
use crate::store::working_trees::WorkingTrees;
use clusterrunner_common::child::Children;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_core::templates::bounds::TemplateBounds;
use std::path::PathBuf;
use tokio::sync::mpsc;

impl Farm {
    pub(super) fn projects(
        &self,
        sources: &Sources,
        own: OwnRepositories,
        working_trees: WorkingTrees,
    ) -> Projects {
        Projects {
            mirrors: sources.mirrors.clone(),
            work_trees: self.directory.join("work"),
            locks: ProjectLocks::default(),
            bounds: self.settings.service.kept_projects,
            own,
            working_trees,
        }
    }

    /// Prepares builds with processes of `program`, which have `mark`.
    pub(super) fn preparer(
        &self,
        (program, mark): (PathBuf, &str),
        timings: Timings,
        projects: &Projects,
    ) -> Preparer {
        let (general, service) = (&self.settings.general, &self.settings.service);
        let children = Children::new(program, PREPARE_BUILD, mark, service.atom_kill_grace);
        children.get_ready();
        Preparer {
            mirrors: projects.mirrors.clone(),
            work_trees: projects.work_trees.clone(),
            own: projects.own.clone(),
            sent: projects.working_trees.clone(),
            git: self.git(),
            remote_files: service.remote_files.clone(),
            git_max_memory_bytes: service.git_max_memory_bytes,
            children,
            kill_grace: service.atom_kill_grace,
            sweeper: Sweeper::new(service.atom_kill_grace),
            default_timeouts: self.settings.default_timeouts,
            hostname: general.hostname.clone(),
            projects: projects.locks.clone(),
            durations: Durations {
                timings,
                files: timing_files::directory(&general.base_directory),
            },
            space: self.space.clone(),
            measured: self.measured.clone(),
            results: self.results.clone(),
        }
    }

    pub(super) fn dispatcher(&self, preparer: Preparer) -> Dispatcher {
        let links = ProjectLinks {
            directory: self.settings.build_symlink_directory.clone(),
            session: self.session.clone(),
        };
        let archiver = Archiver {
            results: self.results.clone(),
            snapshots: self.launched.snapshots.clone(),
            max_snapshot_bytes: self.settings.max_snapshot_bytes,
            space: self.space.clone(),
            builds: Some(self.builds()),
        };
        let dispatcher = Dispatcher::new(
            preparer,
            archiver,
            self.launched.clone(),
            self.caller.clone(),
            self.cluster.clone(),
            (links, self.running_atoms.clone()),
            self.archived.clone(),
        );
        let giving = Giving {
            secrets: self.secrets.clone(),
            is_https: self.settings.general.https.scheme() == "https",
        };
        dispatcher
            .giving_projects(self.settings.get_project_from_master)
            .giving_secrets(giving)
    }

    /// Learns of atoms how long they take, and how they went, until the coordinator ends.
    pub(super) fn learning(
        &self,
        timings: Timings,
        heard: mpsc::Receiver<Run>,
        archived: mpsc::UnboundedReceiver<BuildId>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let historian = Historian {
            builds: self.builds(),
            results: self.results.clone(),
            histories: self.histories.clone(),
        };
        async move {
            tokio::join!(learning::learn(timings, heard), historian.run(archived));
        }
    }

    pub(super) fn keeper(&self, projects: Projects) -> Keeper {
        let templates = TemplateBounds {
            max_number: self.settings.max_templates,
            max_bytes: self.settings.max_templates_bytes,
        };
        Keeper::new(
            self.cluster.clone(),
            self.results.clone(),
            self.archived.clone(),
            (self.settings.kept_builds, templates),
            projects,
            self.measured.clone(),
        )
    }
}
