//! A recorded journal with apps: `CLUSTERRUNNER_RECORD=format-1-apps` records it anew.

use super::*;
use clusterrunner_common::ids::{InstanceId, ProjectId};
use clusterrunner_common::work::ReportedState;
use clusterrunner_core::apps::command::{AppCommand, ConfigChange, NewAppBuild};
use clusterrunner_core::instances::instance::{Instance, Purpose};
use serde_json::json;

/// The projects of the templates come first.
const HILL: ProjectId = ProjectId(2);
const DALE: ProjectId = ProjectId(3);

impl Master {
    async fn order(&mut self, command: AppCommand) {
        let by = Actor::SecretHolder;
        self.tell(Command::App { by, command }).await;
    }

    async fn run_image(&mut self, project: ProjectId, image: &str) {
        let procfile = [("web".to_owned(), "serve".to_owned())].into();
        let build = Box::new(NewAppBuild {
            image: image.to_owned(),
            sha: "c0ffee".to_owned(),
            procfile,
            dockerfile: "FROM scratch".to_owned(),
        });
        self.order(AppCommand::Build { project, build }).await;
    }

    /// An app with each kind of release, with domains, runs of each end and instances on two releases; one that can not run;
    /// and one that was deleted.
    async fn deploy(&mut self) {
        let opening = Box::new(Opening {
            life: SessionId("first life".to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        self.tell(Command::Start { opening }).await;
        self.connect("a:1").await;
        self.make_template(1, "one", 'a').await;
        self.say(1, vec![]).await;
        for id in ["hill", "dale", "gone"] {
            let id = id.to_owned();
            self.order(AppCommand::Create { id }).await;
        }
        let map = |value| serde_json::from_value(value).unwrap();
        let change = Box::new(ConfigChange {
            values: map(json!({"A": 1, "B": "x", "C": true, "D": 1.5})),
            memory: map(json!({"web": "1G"})),
            cpu: map(json!({"web": 512})),
            tags: map(json!({"disk": "ssd"})),
        });
        let project = HILL;
        self.order(AppCommand::Configure { project, change }).await;
        let tags = map(json!({"disk": null}));
        let change = Box::new(ConfigChange {
            tags,
            ..ConfigChange::default()
        });
        self.order(AppCommand::Configure { project, change }).await;
        self.run_image(HILL, "one").await;
        self.run_image(DALE, "no image").await;
        self.snapshot();
        let up = ReportedState::Up {
            port: 8000,
            keeps_prefix: false,
        };
        self.say(1, vec![(1, up.clone())]).await;
        self.order(AppCommand::Rollback {
            project,
            version: Some(4),
        })
        .await;
        self.say(1, vec![(1, up.clone()), (3, up)]).await;
        for domain in ["a.example.com", "b.example.com"] {
            let domain = domain.to_owned();
            self.order(AppCommand::AddDomain { project, domain }).await;
        }
        let domain = "b.example.com".to_owned();
        self.order(AppCommand::RemoveDomain { project, domain })
            .await;
        let numbers = [("cmd".to_owned(), 1)].into();
        self.order(AppCommand::Scale { project, numbers }).await;
        let instance = InstanceId(1);
        let by = Actor::Master;
        self.tell(Command::StopInstance { by, instance }).await;
        let (key, command) = (format!("{:032x}", 7), "exit 3".to_owned());
        self.order(AppCommand::Run {
            project,
            key,
            command,
        })
        .await;
        let exited = ReportedState::Exited {
            code: 3,
            printed: 9,
        };
        self.say(1, vec![(5, exited)]).await;
        let gone = self.cluster.app_of_id("gone").unwrap().project;
        self.order(AppCommand::Destroy { project: gone }).await;
    }
}

fn text_of(instance: &Instance) -> String {
    let purpose = match &instance.purpose {
        Purpose::Launch => "launch".to_owned(),
        Purpose::App {
            project,
            release,
            process,
            num,
        } => {
            format!("{process}.{num} of {project} v{release}")
        }
        Purpose::Run {
            project,
            release,
            num,
        } => format!("run {num} of {project} v{release}"),
    };
    let (state, exit) = (instance.state.name(), instance.exit);
    format!("{purpose} {state} {exit:?} {}", instance.retired)
}

fn check_deployed(journal: &Path) {
    let findings = examine::examine(journal).unwrap();
    assert_eq!(findings.problems, []);
    let in_snapshot = findings.in_snapshot.unwrap();
    assert!(in_snapshot > 0 && findings.events > in_snapshot);
    let cluster = Master::start(journal).unwrap().cluster;
    let ids: Vec<&str> = cluster.apps().map(|app| app.id.as_str()).collect();
    assert_eq!(ids, ["hill", "dale"]);
    let hill = cluster.app(HILL).unwrap();
    let summaries: Vec<&str> = hill.releases.iter().map(|r| r.summary.as_str()).collect();
    assert_eq!(summaries, SUMMARIES);
    assert_eq!(json!(hill.structure), json!({"web": 1, "cmd": 1}));
    let config = hill.config_of(hill.newest());
    assert_eq!(
        json!(config.values),
        json!({"A": 1, "B": "x", "C": true, "D": 1.5})
    );
    assert_eq!(
        json!([config.memory, config.cpu]),
        json!([{"web": "1G"}, {"web": 512}])
    );
    assert_eq!(json!(hill.config(2).unwrap().tags), json!({"disk": "ssd"}));
    let domains: Vec<&String> = hill.domains.keys().collect();
    assert_eq!(domains, ["a.example.com"]);
    assert_eq!(
        cluster.app_of_host("a.example.com").map(|app| app.project),
        Some(HILL)
    );
    let instances: Vec<String> = cluster.instances().map(text_of).collect();
    assert_eq!(instances, DEPLOYED);
}

const SUMMARIES: [&str; 5] = [
    "clusterrunner created initial release",
    "clusterrunner added A, B, C, D and clusterrunner changed limits for memory, cpu and clusterrunner added tag disk",
    "clusterrunner deleted tag disk",
    "clusterrunner deployed c0ffee",
    "clusterrunner rolled back to v4",
];

const DEPLOYED: [&str; 5] = [
    "web.1 of 2 v4 destroyed None true",
    "web.1 of 3 v2 error None false",
    "web.1 of 2 v5 up None false",
    "cmd.1 of 2 v5 created None false",
    "run 1 of 2 v5 destroyed Some(3) false",
];

/// Facts of apps, which came later, in a journal of their own.
#[tokio::test]
async fn format_1_with_apps_as_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut master = Master::start(&journal).unwrap();
    master.deploy().await;
    drop(master);
    check_deployed(&journal);
    record("format-1-apps", &journal);
}

#[tokio::test]
async fn format_1_with_apps_as_it_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    unpack("format-1-apps", &journal);
    check_deployed(&journal);
}
