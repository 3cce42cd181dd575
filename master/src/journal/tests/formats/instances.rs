//! A recorded journal with templates and instances: `CLUSTERRUNNER_RECORD=format-1-instances` records it anew.

use super::*;
use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::work::ReportedState;
use clusterrunner_core::instances::instance::NewInstance;
use clusterrunner_core::instances::reported::{ReportedInstance, ReportedInstances};
use clusterrunner_core::templates::bounds::TemplateBounds;

impl Master {
    /// Templates that were registered, named, preloaded and removed, and instances with every end.
    async fn host(&mut self) {
        let opening = Box::new(Opening {
            life: SessionId("first life".to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        self.tell(Command::Start { opening }).await;
        // The only one, so it runs all that is built.
        self.connect("a:1").await;
        self.make_template(1, "one", 'a').await;
        self.make_template(2, "two", 'b').await;
        // An equal one is used again.
        self.queue_product("two", "other").await;
        self.prepare(3, 1, "linux").await;
        let build = BuildId(3);
        let template = None;
        self.tell(Command::ReportArchived { build, template }).await;
        let bounds = TemplateBounds {
            max_number: Some(1),
            max_bytes: None,
        };
        self.tell(Command::ForgetTemplates { bounds }).await;
        let (by, template) = (Actor::Binder, "two".to_owned());
        self.tell(Command::Preload { by, template }).await;
        self.connect("b:1").await;
        for slave in [1, 2] {
            self.say(slave, vec![]).await;
        }
        for number in 1..=6 {
            self.launch(number).await;
        }
        self.snapshot();
        let up = ReportedState::Up {
            port: 8000,
            keeps_prefix: true,
        };
        let reason = "exit code 1".to_owned();
        let crashed = ReportedState::Crashed {
            reason: reason.clone(),
        };
        let failed = ReportedState::Failed { reason };
        self.say(1, vec![(1, up.clone()), (3, crashed), (5, failed)])
            .await;
        self.say(2, vec![(2, up.clone()), (4, up)]).await;
        let (by, instance) = (Actor::Binder, InstanceId(4));
        self.tell(Command::StopInstance { by, instance }).await;
        let active = (1..=5).map(|id| (InstanceId(id), Timestamp(100_000)));
        let active = active.collect();
        let since = Timestamp(0);
        self.tell(Command::CullInstances { since, active }).await;
        let (slave, reason) = (SlaveId(2), "it was silent".to_owned());
        self.tell(Command::ReportSlaveDied { slave, reason }).await;
    }

    async fn queue_product(&mut self, source: &str, name: &str) {
        let request = serde_json::json!({
            "type": "git", "url": source,
            "product": {"name": name, "recipe": "steps"},
        });
        let request = Box::new(serde_json::from_value(request).unwrap());
        let by = Actor::Binder;
        self.tell(Command::QueueBuild { by, request }).await;
    }

    pub(super) async fn make_template(&mut self, build: u64, source: &str, digit: char) {
        self.queue_product(source, source).await;
        self.prepare(build, 1, "linux").await;
        self.run(build, &[0]).await;
        let content = serde_json::json!({
            "digest": digit.to_string().repeat(64), "bytes": 10,
            "description": {"form": "workspace", "root": "/var/tmp/x", "processes": {"web": "run"}},
        });
        let template = Some(serde_json::from_value(content).unwrap());
        let build = BuildId(build);
        self.tell(Command::ReportArchived { build, template }).await;
    }

    async fn launch(&mut self, number: u64) {
        let by = Actor::Binder;
        let launch = Box::new(NewInstance {
            key: format!("{number:032x}"),
            template: "other".to_owned(),
            command: vec!["run".to_owned()],
            environment: [("A".to_owned(), "b".to_owned())].into(),
            max_memory_bytes: Some(1 << 20),
            cull_after_ms: Some(5),
        });
        self.tell(Command::Launch { by, launch }).await;
    }

    pub(super) async fn say(&mut self, slave: u64, said: Vec<(u64, ReportedState)>) {
        let instances = said.into_iter().map(|(id, state)| ReportedInstance {
            id: InstanceId(id),
            generation: Generation(1),
            state,
            restarts: 0,
        });
        let report = ReportedInstances {
            max_instances: 3,
            runs_images: true,
            instances: instances.collect(),
            snapshots: ["b".repeat(64)].into(),
        };
        let slave = SlaveId(slave);
        let session = self.cluster.slave(slave).unwrap().session.clone();
        self.tell(Command::ReportInstances {
            slave,
            session,
            report,
        })
        .await;
    }
}

fn check_hosted(journal: &Path) {
    let findings = examine::examine(journal).unwrap();
    assert_eq!(findings.problems, []);
    let in_snapshot = findings.in_snapshot.unwrap();
    assert!(in_snapshot > 0 && findings.events > in_snapshot);
    let cluster = Master::start(journal).unwrap().cluster;
    let names: Vec<String> = cluster
        .template_names()
        .map(|(name, known)| format!("{name} of {}: {:?}", known.source, known.template))
        .collect();
    assert_eq!(
        names,
        [
            "one of git one: None",
            "other of git two: Some(TemplateId(2))",
            "two of git two: Some(TemplateId(2))",
        ]
    );
    let two = cluster.template_named("two").unwrap();
    assert_eq!(two.content.description.processes["web"], "run");
    let instances: Vec<String> = cluster
        .instances()
        .map(|one| format!("{} {} {:?}", one.state.name(), one.generation, one.slave))
        .collect();
    assert_eq!(instances, HOSTED);
    let hosting = cluster.slave(SlaveId(1)).unwrap().hosting.unwrap();
    assert!(hosting.runs_images && hosting.max_instances == 3);
}

const HOSTED: [&str; 6] = [
    "up 1 Some(SlaveId(1))",
    "created 2 Some(SlaveId(1))",
    "crashed 1 Some(SlaveId(1))",
    "destroyed 1 Some(SlaveId(2))",
    "error 1 Some(SlaveId(1))",
    "down 1 Some(SlaveId(2))",
];

/// Facts of templates and instances, which came later, in a journal of their own.
#[tokio::test]
async fn format_1_with_instances_as_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut master = Master::start(&journal).unwrap();
    master.host().await;
    drop(master);
    check_hosted(&journal);
    record("format-1-instances", &journal);
}

#[tokio::test]
async fn format_1_with_instances_as_it_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    unpack("format-1-instances", &journal);
    check_hosted(&journal);
}
