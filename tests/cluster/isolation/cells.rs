//! A farm whose jobs say how far they are kept apart, and what an attack comes to at each level.

use crate::daemon::own_address;
use crate::farm::{Extra, Farm};
use crate::job::{Job, job};
use crate::outcome::Over;
use crate::skipping::{Lacks, skip};
use clusterrunner_common::api::AtomView;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// What an attack prints that has succeeded.
pub(super) const IN: &str = "GOT IN";

/// A variable of the slave's own, and what nobody is to learn.
pub(super) const CANARY: &str = "CANARY_OF_THE_SLAVE";
pub(super) const SECRET: &str = "sings-only-for-its-slave";

/// The user that commands run as behind walls.
pub(super) const USER: &str = "nobody";

/// What stands in the cells of a row of the table in `docs/security.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// The attack succeeds.
    Open,
    /// It is stopped.
    Stopped,
}

use Cell::{Open, Stopped};

/// A farm of one slave, in which commands run as [`USER`] behind walls.
pub(super) struct Place {
    pub(super) farm: Farm,
}

impl Place {
    /// None, loudly, where this machine does not allow it.
    pub(super) async fn new(executors: u32) -> Option<Self> {
        Self::with(executors, &format!("run_as = {USER}\n")).await
    }

    pub(super) async fn with(executors: u32, slave: &str) -> Option<Self> {
        Self::made(executors, slave, |_| Vec::new()).await
    }

    /// One whose slave is started by another program; that is told of a file with what nobody is to learn.
    pub(super) async fn started_by(program: fn(&Path) -> Vec<String>) -> Option<Self> {
        Self::started_by_with(1, "", program).await
    }

    /// The same, with more settings.
    pub(super) async fn started_by_with(
        executors: u32,
        slave: &str,
        program: fn(&Path) -> Vec<String>,
    ) -> Option<Self> {
        Self::made(executors, &format!("run_as = {USER}\n{slave}"), program).await
    }

    async fn made(executors: u32, slave: &str, program: fn(&Path) -> Vec<String>) -> Option<Self> {
        if !is_possible() {
            skip(Lacks::Isolation);
            return None;
        }
        let extra = Extra {
            slave,
            ..Extra::default()
        };
        let mut farm = Farm::in_directory(&beside(), own_address(), &extra);
        let file = farm.path("home/.netrc");
        fs::write(&file, SECRET).unwrap();
        let variable = format!("{CANARY}={SECRET}");
        let environment = ["env".to_owned(), variable];
        farm.wrap("slave 0", [program(&file), environment.into()].concat());
        farm.start_all(&[executors]).await;
        Some(Self { farm })
    }

    /// Runs an attack at a level, and what else its job says; the build, and what its atoms printed.
    pub(super) async fn run(&self, level: &str, job: Job) -> (Over, Vec<AtomView>, Vec<String>) {
        let build = self.farm.runs(&job.with("isolation", level)).await;
        let atoms = self.farm.atoms(build.id).await;
        // What was not run has printed nothing.
        let consoles = match atoms.iter().all(|atom| atom.exit_code.is_some()) {
            true => self.farm.consoles(build.id).await,
            false => Vec::new(),
        };
        (build, atoms, consoles)
    }

    /// Compares a row: what a command that prints [`IN`] comes to at the levels none, limits and user.
    pub(super) async fn check(&self, attack: impl Display, row: [Cell; 3]) {
        self.check_job(&job(attack).atoms(1), row).await;
    }

    pub(super) async fn check_job(&self, job: &Job, row: [Cell; 3]) {
        for (level, expected) in ["none", "limits", "user"].into_iter().zip(row) {
            let (build, _, consoles) = self.run(level, job.clone()).await;
            let console = consoles.concat();
            let found = if console.contains(IN) { Open } else { Stopped };
            assert_eq!(found, expected, "{level}: {console}\n{build:#?}");
        }
        self.farm.wait_for_rest().await;
    }

    /// A directory that everybody may write to, which is no build's.
    pub(super) fn outside(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let outside = beside().join(format!("outside-{}", self.farm.port()));
        fs::create_dir_all(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
        outside
    }
}

/// A directory that is not where all temporary files are: those are hidden in any case.
pub(super) fn beside() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(target).unwrap();
    target.to_owned()
}

/// Whether this process is root, and can make control groups.
pub(super) fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let first = Path::new("/sys/fs/cgroup/memory");
    let second = Path::new("/sys/fs/cgroup/cgroup.controllers");
    is_root && (second.exists() || rustix::fs::access(first, rustix::fs::Access::WRITE_OK).is_ok())
}
