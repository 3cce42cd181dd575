//! What goes and what stays, on a real disk.

use super::*;
use crate::coordinator::Coordinator;
use crate::journal::Journal;
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::projects::NewProject;
use clusterrunner_core::actor::Actor;
use std::path::Path;

fn directory_build(directory: &str) -> BuildRequest {
    let params = serde_json::json!({"type": "directory", "project_directory": directory});
    BuildRequest::from_json(&params).unwrap()
}

fn projects(directory: &Path) -> Projects {
    Projects {
        mirrors: directory.join("repos"),
        work_trees: directory.join("work"),
        locks: ProjectLocks::default(),
        bounds: ProjectBounds {
            max_age: None,
            max_bytes: Some(1),
        },
        own: OwnRepositories::in_test(directory),
        working_trees: WorkingTrees::in_test(directory),
    }
}

/// A master's core with one build that came to its end by these commands, of which a result is there.
async fn with_ended_build(
    directory: &Path,
    end: Vec<Command>,
    stop: &CancellationToken,
) -> (ClusterHandle, Results, EndedBuilds) {
    let journal = Journal::open(&directory.join("journal")).unwrap();
    let ended = journal.ended();
    let recovered = Coordinator::recover(journal, Duration::from_millis(200)).unwrap();
    let (coordinator, cluster, effects) = recovered;
    let stop = stop.clone();
    tokio::spawn(async move {
        // Nobody carries effects out here; they must go somewhere all the same.
        let _effects = effects;
        Box::pin(coordinator.run(stop)).await.unwrap();
    });
    let request = Box::new(directory_build("/project"));
    cluster
        .command(Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        })
        .await
        .unwrap();
    for command in end {
        cluster.command(command).await.unwrap();
    }
    let results = Results::new(directory.join("results")).unwrap();
    let of_build = directory.join("results/1");
    std::fs::create_dir_all(&of_build).unwrap();
    std::fs::write(of_build.join("blocks"), [0; 100]).unwrap();
    let is_put_away = || cluster.read(|cluster| cluster.ended().count() == 1);
    let put_away = async {
        while !is_put_away().await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), put_away)
        .await
        .unwrap();
    (cluster, results, ended)
}

const BUILD: BuildId = BuildId(1);

fn canceled() -> Vec<Command> {
    let by = Actor::SecretHolder;
    vec![Command::CancelBuild { by, build: BUILD }]
}

#[tokio::test]
async fn results_without_an_archive_go_before_their_build() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (cluster, results, ended) = with_ended_build(directory.path(), canceled(), &stop).await;
    let bounds = |max_partial_age| BuildBounds {
        max_bytes: Some(10),
        max_partial_age,
        ..BuildBounds::default()
    };
    let look = async |max_partial_age| {
        let (bounds, projects) = (bounds(max_partial_age), projects(directory.path()));
        let measured = Measured::default();
        let (cluster, results) = (cluster.clone(), results.clone());
        let mut keeper = Keeper::new(
            cluster,
            results.clone(),
            ended.clone(),
            (bounds, TemplateBounds::default()),
            projects,
            measured,
        );
        keeper.look_at_builds().await;
        results.size(BuildId(1)).unwrap()
    };
    assert_eq!(look(None).await, 100);
    assert_eq!(look(Some(Duration::from_secs(3600))).await, 100);
    assert_eq!(look(Some(Duration::ZERO)).await, 0);
    // The build itself stays: it is the last one.
    let is_there = cluster.read(|cluster| cluster.is_ended(BuildId(1)));
    assert!(is_there.await.unwrap());
    stop.cancel();
}

/// The list of what its archive consists of is damaged or gone: that makes it no build without an archive.
#[tokio::test]
async fn results_of_a_finished_build_stay_whatever_became_of_its_archive() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let plan = serde_json::json!({"job_name": "Job", "command": "true"});
    let plan = Box::new(serde_json::from_value(plan).unwrap());
    let finished = vec![
        Command::ReportPrepared { build: BUILD, plan },
        Command::ReportArchived {
            build: BUILD,
            template: None,
        },
    ];
    let (cluster, results, ended) = with_ended_build(directory.path(), finished, &stop).await;
    let bounds = BuildBounds {
        max_partial_age: Some(Duration::ZERO),
        ..BuildBounds::default()
    };
    let (projects, measured) = (projects(directory.path()), Measured::default());
    let bounds = (bounds, TemplateBounds::default());
    let mut keeper = Keeper::new(cluster, results.clone(), ended, bounds, projects, measured);
    keeper.look_at_builds().await;
    assert_eq!(results.size(BUILD).unwrap(), 100);
    stop.cancel();
}

#[test]
fn only_projects_that_nobody_uses_go() {
    let directory = tempfile::tempdir().unwrap();
    let projects = projects(directory.path());
    for name in ["free", "prepared", "built"] {
        for parent in [&projects.mirrors, &projects.work_trees] {
            std::fs::create_dir_all(parent.join(name)).unwrap();
            std::fs::write(parent.join(name).join("file"), "text").unwrap();
        }
    }
    let prepared = projects
        .locks
        .try_lock(&projects.work_trees.join("prepared"));
    let built = BTreeSet::from([OsString::from("built")]);
    let measured = Measured::default();
    projects.remove_surplus(&built, &measured).unwrap();
    let left = |built: &BTreeSet<OsString>| {
        projects.remove_surplus(built, &measured).unwrap();
        let parents = [projects.mirrors.clone(), projects.work_trees.clone()];
        let found = find(&parents, false).unwrap();
        found
            .into_iter()
            .map(|project| project.name)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        left(&built),
        ["built", "prepared"].map(OsString::from).into()
    );
    drop(prepared);
    assert_eq!(left(&built), built);
    assert!(left(&BTreeSet::new()).is_empty());
}

#[tokio::test]
async fn the_code_of_a_project_goes_with_the_project_and_no_sooner() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (cluster, results, ended) = with_ended_build(folder.path(), canceled(), &stop).await;
    let project = NewProject {
        name: "hill".to_owned(),
        description: None,
        tags: None,
        is_public: true,
        git_url: None,
    };
    let command = ProjectCommand::Create(Box::new(project));
    let by = Actor::SecretHolder;
    cluster
        .command(Command::Project { by, command })
        .await
        .unwrap();
    let ids = cluster.read(|cluster| cluster.projects().map(|project| project.id).collect());
    let ids: Vec<ProjectId> = ids.await.unwrap();
    let keeper = Keeper::new(
        cluster,
        results,
        ended,
        (BuildBounds::default(), TemplateBounds::default()),
        projects(folder.path()),
        Measured::default(),
    );
    let own = keeper.projects.own.clone();
    for id in ids.iter().copied().chain([ProjectId(99)]) {
        std::fs::create_dir_all(own.directory_of(id).join("objects")).unwrap();
    }
    keeper.look_at_own_repositories().await;
    let mut left = own.all().unwrap();
    left.sort();
    assert_eq!(left, ids);
    stop.cancel();
}
