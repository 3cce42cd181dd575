//! Apps: what orders make of them, and what follows for their instances.

mod deploying;
mod orders;
mod placing;
mod running;

use super::instances::UP;
use super::scenario::{Scenario, Turn};
use super::templates::content;
use crate::actor::Actor;
use crate::apps::app::App;
use crate::apps::command::{AppCommand, AppRefusal, ConfigChange, NewAppBuild};
use crate::command::Command;
use crate::instances::instance::{Instance, InstanceState, Purpose};
use clusterrunner_common::ids::{InstanceId, ProjectId, SlaveId};
use clusterrunner_common::templates::Form;
use clusterrunner_common::work::ReportedState;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The project of the app that [`Scenario::with_app`] makes: the templates of the farm have projects, too.
const HILL: ProjectId = ProjectId(3);

fn ordered(command: AppCommand) -> Command {
    let by = Actor::SecretHolder;
    Command::App { by, command }
}

fn create(id: &str) -> AppCommand {
    let id = id.to_owned();
    AppCommand::Create { id }
}

fn change(change: Value) -> Box<ConfigChange> {
    let map = |name: &str| {
        let map = change.get(name).cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(map).unwrap()
    };
    Box::new(ConfigChange {
        values: map("values"),
        memory: map("memory"),
        cpu: map("cpu"),
        tags: map("tags"),
    })
}

fn configure(config: Value) -> AppCommand {
    AppCommand::Configure {
        project: HILL,
        change: change(config),
    }
}

/// An app build of an image with these processes.
fn build_of(image: &str, processes: &[&str]) -> NewAppBuild {
    let procfile = processes.iter();
    let procfile = procfile.map(|process| ((*process).to_owned(), format!("run {process}")));
    NewAppBuild {
        image: image.to_owned(),
        procfile: procfile.collect(),
        ..NewAppBuild::default()
    }
}

fn build(image: &str, processes: &[&str]) -> AppCommand {
    AppCommand::Build {
        project: HILL,
        build: Box::new(build_of(image, processes)),
    }
}

fn scale(numbers: &[(&str, u32)]) -> AppCommand {
    let numbers = numbers.iter();
    let numbers = numbers.map(|(process, number)| ((*process).to_owned(), *number));
    AppCommand::Scale {
        project: HILL,
        numbers: numbers.collect(),
    }
}

fn rollback(version: Option<u64>) -> AppCommand {
    let project = HILL;
    AppCommand::Rollback { project, version }
}

fn run(number: u64, command: &str) -> AppCommand {
    AppCommand::Run {
        project: HILL,
        key: format!("{number:032x}"),
        command: command.to_owned(),
    }
}

impl Scenario {
    /// A farm of slaves with so many slots and the templates `app`, `image` and `other`. Slave 1 builds and runs none.
    fn with_templates(slots: &[(&str, u32)]) -> Self {
        let mut farm = Self::with_slaves(&[("maker:1", 1)]);
        farm.make_template("source", "app", content('a', Form::Workspace));
        farm.make_template("source", "image", content('b', Form::Image));
        farm.make_template("other", "other", content('c', Form::Workspace));
        for (number, (url, max_instances)) in (2..).zip(slots) {
            farm.connect(url, "life 1", 1);
            farm.hosts(number, *max_instances);
        }
        farm
    }

    /// Such a farm with the app `hill`.
    fn with_app(slots: &[(&str, u32)]) -> Self {
        let mut farm = Self::with_templates(slots);
        farm.order(create("hill"));
        assert_eq!(farm.hill().project, HILL);
        farm
    }

    fn order(&mut self, command: AppCommand) -> Turn {
        self.tell(ordered(command))
    }

    #[track_caller]
    fn refuses(&mut self, command: AppCommand, refusal: AppRefusal) {
        self.check_refused(ordered(command), &refusal.into());
    }

    fn hill(&self) -> &App {
        self.cluster.app_of_id("hill").unwrap()
    }

    fn summary(&self) -> &str {
        &self.hill().newest().summary
    }

    /// A config, a build or a rollback, and the summary of the release that it makes.
    #[track_caller]
    fn releases(&mut self, command: AppCommand, summary: &str) {
        let before = self.hill().newest().version;
        self.order(command);
        assert_eq!(self.hill().newest().version, before + 1);
        assert_eq!(self.summary(), summary);
    }

    /// The instances that users see: `web.1 v2 up`, with `retired` where one is.
    fn listed(&self) -> Vec<String> {
        let listed = self.cluster.app_instances(HILL);
        listed.map(text_of).collect()
    }

    /// All that a slave has placed on it comes up.
    fn comes_up(&mut self, slave: u64) -> Turn {
        let is_starting = |instance: &&Instance| instance.state == InstanceState::Created;
        let placed = self.cluster.instances_on(SlaveId(slave));
        let placed = placed.filter(is_starting);
        let said: Vec<(u64, u32, u32, ReportedState)> = placed
            .map(|instance| (instance.id.0, instance.generation.0, 0, UP))
            .collect();
        let hosting = self.cluster.slave(SlaveId(slave)).unwrap().hosting;
        self.say(slave, hosting.unwrap().max_instances, &said)
    }

    fn one(&self, instance: u64) -> &Instance {
        self.cluster.instance(InstanceId(instance)).unwrap()
    }
}

fn text_of(instance: &Instance) -> String {
    let name = match &instance.purpose {
        Purpose::Launch => "launch".to_owned(),
        Purpose::App {
            release,
            process,
            num,
            ..
        } => format!("{process}.{num} v{release}"),
        Purpose::Run { release, num, .. } => format!("run.{num} v{release}"),
    };
    let retired = if instance.retired { " retired" } else { "" };
    format!("{name} {}{retired}", instance.state.name())
}

fn procfile(processes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let processes = processes.iter();
    let processes = processes.map(|(process, text)| ((*process).to_owned(), (*text).to_owned()));
    processes.collect()
}
