//! Templates that users delete, and those that are damaged.

use super::instances::launch;
use super::scenario::{Scenario, plan};
use super::templates::{content, queue};
use crate::actor::Actor;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::templates::refusal::TemplateRefusal;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_common::templates::Form;

fn delete(name: &str) -> Command {
    Command::DeleteTemplate {
        by: Actor::SecretHolder,
        name: name.to_owned(),
    }
}

fn damaged(digit: char) -> Command {
    Command::ReportDamagedSnapshot {
        digest: digit.to_string().repeat(64),
    }
}

fn in_use(by: &str) -> crate::refusal::Refusal {
    let (name, by) = ("app".to_owned(), by.to_owned());
    TemplateRefusal::InUse { name, by }.into()
}

#[test]
fn a_name_goes_with_its_templates_unless_something_uses_them() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "app", content('a', Form::Image));
    farm.make_template("source", "app", content('b', Form::Image));
    farm.tell(launch(1, "app"));
    farm.check_refused(delete("app"), &in_use("instance 1"));
    farm.tell(Command::StopInstance {
        by: Actor::Binder,
        instance: InstanceId(1),
    });
    farm.build(Plan {
        image: Some("app:1".to_owned()),
        ..plan(&["a"])
    });
    farm.check_refused(delete("app"), &in_use("build 3"));
    farm.cancel(3);
    farm.tell(queue("source", "app", true));
    let name = "app".to_owned();
    let refusal = TemplateRefusal::AlreadyBuilding { name }.into();
    farm.check_refused(delete("app"), &refusal);
    farm.cancel(4);
    farm.tell(delete("app")).check(
        &[
            "template 2 has the name app no more: it was deleted",
            "template 1 removed: its name was deleted",
            "template 2 removed: its name was deleted",
        ],
        &[
            &format!("remove snapshot {}", "a".repeat(64)),
            &format!("remove snapshot {}", "b".repeat(64)),
        ],
    );
    assert_eq!(farm.cluster.template_names().count(), 0);
    let name = "app".to_owned();
    let unknown = TemplateRefusal::UnknownTemplate { name }.into();
    farm.check_refused(delete("app"), &unknown);
    farm.make_template("source", "app", content('c', Form::Image));
    assert!(farm.cluster.template_named("app").is_some());
    farm.check_snapshots();
}

#[test]
fn what_another_name_points_at_stays() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "first", content('a', Form::Image));
    farm.tell(queue("source", "second", false));
    farm.prepared(2, plan(&["a"]));
    farm.archived(2);
    farm.tell(delete("first"))
        .check_facts(&["template 1 has the name first no more: it was deleted"]);
    assert!(farm.cluster.template_named("first").is_none());
    assert!(farm.cluster.template_named("second").is_some());
    farm.check_snapshots();
}

#[test]
fn a_damaged_template_is_made_anew_and_mended_by_an_equal_one() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "app", content('a', Form::Workspace));
    farm.tell(damaged('b')).check_nothing();
    farm.tell(damaged('a'))
        .check_facts(&["template 1 is damaged on the master's disk"]);
    farm.tell(damaged('a')).check_nothing();
    farm.check_snapshots();
    farm.tell(queue("source", "app", false));
    farm.run_planned(2, plan(&["a"]), 0);
    let is_damaged = |farm: &Scenario| {
        let all = farm.cluster.templates();
        all.map(|template| template.is_damaged).collect::<Vec<_>>()
    };
    assert_eq!(is_damaged(&farm), [true]);
    farm.leave(2, content('a', Form::Workspace));
    assert_eq!(is_damaged(&farm), [false, false]);
    farm.tell(queue("source", "app", false));
    farm.prepared(3, plan(&["a"]));
    farm.archived(3);
    assert_eq!(farm.cluster.templates().count(), 2);
    farm.check_snapshots();
    assert_eq!(farm.replayed(), farm.cluster);
}
