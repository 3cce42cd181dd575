//! A master whose data directory is not what it was: restored from a backup, repaired, or gone. Its slaves
//! are alive and busy with builds that it does not know, under ids that it gives again.

use crate::farm::Farm;
use crate::machine::Ended;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use clusterrunner_common::ids::BuildId;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many atoms each build has.
const ATOMS: usize = 3;

/// A project whose atoms say that they run, and wait until they may end.
struct Project {
    repository: Repository,
    name: &'static str,
}

impl Project {
    fn new(name: &'static str) -> Self {
        let repository = Repository::empty();
        let (log, go) = (repository.outside("runs"), repository.outside("go"));
        let job = format!(
            "Job:\n  commands:\n    - echo $N >> '{log}'\n    - until test -e '{go}'; do sleep 0.02; done\n    \
             - echo {name} $N\n  atomizers: [{{N: seq 1 {ATOMS}}}]\n",
            log = log.display(),
            go = go.display()
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        Self { repository, name }
    }

    /// How many atoms have run, or do.
    fn num_runs(&self) -> usize {
        let log = fs::read_to_string(self.repository.outside("runs"));
        log.unwrap_or_default().lines().count()
    }

    fn go(&self) {
        fs::write(self.repository.outside("go"), "").unwrap();
    }

    async fn runs(&self, number: usize) {
        let what = format!("{number} atoms of {} run", self.name);
        wait_for(&what, async || (self.num_runs() >= number).then_some(())).await;
    }

    /// The build ended well, and each of its results is of an atom of this project that really ran.
    async fn check(&self, farm: &Farm, build: BuildId) {
        let view = farm.end_of(build).await;
        assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
        assert_eq!(view.result, Some(BuildResult::NoFailures), "{view:?}");
        for (atom, n) in farm.atoms(build).await.iter().zip(1..) {
            let console = farm.console(build, atom).await;
            assert_eq!(console, format!("{} {n}\n", self.name));
        }
        assert!(self.num_runs() >= ATOMS, "{} atoms ran", self.num_runs());
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn master_directory(farm: &Farm) -> PathBuf {
    farm.path("base/master")
}

/// Removes all that the master has but its key, without which no slave takes it for its master.
fn wipe(farm: &Farm) {
    let (directory, file) = (master_directory(farm), "master.key");
    let key = fs::read(directory.join(file)).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(file), key).unwrap();
    fs::set_permissions(directory.join(file), fs::Permissions::from_mode(0o600)).unwrap();
}

fn journal(farm: &Farm, arguments: &[&str]) {
    let mut command = farm.command();
    command.arg("journal").args(arguments);
    let ended: Ended = command.output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

/// How a data directory changes: what is kept of it while one build is over, and what is made of that
/// while a slave is busy with the next.
struct Change {
    keep: fn(&Farm),
    bring_back: fn(&Farm),
}

/// Runs a build, keeps what is to be kept, lets a slave be busy with a second build, changes the disk, and
/// submits another build at once, which has the id of the second if nothing tells that it is taken. `busy` says
/// whether the second is still running then, or has results that wait for the master.
async fn check(change: &Change, is_running: bool) -> BuildId {
    let (first, lost, later) = (
        Project::new("first"),
        Project::new("lost"),
        Project::new("later"),
    );
    let mut farm = Farm::start(&[2]).await;
    first.go();
    first
        .check(&farm, farm.submit(&first.repository.request()).await)
        .await;
    farm.wait_for_rest().await;
    assert!(farm.stop_master().success());
    (change.keep)(&farm);
    farm.start_master().await;
    let second = farm.submit(&lost.repository.request()).await;
    assert_eq!(second, BuildId(2));
    lost.runs(2).await;
    farm.kill_master();
    if !is_running {
        lost.go();
        wait_for("results wait for the master", async || {
            let output = farm.output("slave 0");
            output.contains("a result was not delivered").then_some(())
        })
        .await;
    }
    (change.bring_back)(&farm);
    later.go();
    farm.start_master().await;
    let build = farm.submit(&later.repository.request()).await;
    later.check(&farm, build).await;
    // By now the slave has told what it knew.
    let last = farm.submit(&later.repository.request()).await;
    assert!(last > second && last > build, "{last}, {build}");
    later.check(&farm, last).await;
    lost.go();
    farm.wait_for_rest().await;
    assert_eq!(later.num_runs(), 2 * ATOMS, "no atom ran twice");
    build
}

const COPY: Change = Change {
    keep: |farm| copy(&master_directory(farm), &farm.path("backup")),
    bring_back: |farm| {
        fs::remove_dir_all(master_directory(farm)).unwrap();
        copy(&farm.path("backup"), &master_directory(farm));
    },
};

#[tokio::test]
async fn a_backup_is_brought_back_while_a_slave_runs_what_it_does_not_know() {
    check(&COPY, true).await;
}

#[tokio::test]
async fn a_backup_is_brought_back_while_a_slave_has_results_that_it_does_not_know() {
    check(&COPY, false).await;
}

#[tokio::test]
async fn an_older_journal_is_brought_back_and_the_results_stayed() {
    let journal_only = Change {
        keep: |farm| {
            copy(
                &master_directory(farm).join("journal"),
                &farm.path("backup"),
            );
        },
        bring_back: |farm| {
            let journal = master_directory(farm).join("journal");
            fs::remove_dir_all(&journal).unwrap();
            copy(&farm.path("backup"), &journal);
        },
    };
    // The results name the build that is lost, so not even its id is given again.
    assert_eq!(check(&journal_only, true).await, BuildId(3));
}

#[tokio::test]
async fn a_journal_is_repaired_from_an_export_while_a_slave_is_busy() {
    let export = Change {
        keep: |farm| journal(farm, &["export", "-o", "backup.jsonl"]),
        bring_back: |farm| journal(farm, &["repair", "--from", "backup.jsonl", "--yes"]),
    };
    assert_eq!(check(&export, false).await, BuildId(3));
}

#[tokio::test]
async fn a_master_begins_anew_while_a_slave_is_busy() {
    let wiped = Change {
        keep: |_| {},
        bring_back: wipe,
    };
    let build = check(&wiped, true).await;
    // The slave may tell of build 2 before the new build is submitted.
    assert!([1, 3].contains(&build.0), "{build}");
}

/// A build that is under way in the backup goes on: what slaves had of it is void, and runs again.
#[tokio::test]
async fn a_build_that_was_under_way_in_the_backup_goes_on_to_its_end() {
    let project = Project::new("again");
    let mut farm = Farm::start(&[2]).await;
    let build = farm.submit(&project.repository.request()).await;
    project.runs(2).await;
    farm.kill_master();
    (COPY.keep)(&farm);
    farm.start_master().await;
    project.go();
    project.check(&farm, build).await;
    assert_eq!(project.num_runs(), ATOMS);
    farm.wait_for_rest().await;
    farm.kill_master();
    (COPY.bring_back)(&farm);
    farm.start_master().await;
    project.check(&farm, build).await;
    farm.wait_for_rest().await;
    assert_eq!(project.num_runs(), 2 * ATOMS);
}
