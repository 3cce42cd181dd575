//! Words that name templates, and builds that take them.

use super::scenario::{Scenario, plan};
use super::templates::{content, queue};
use crate::builds::build::BuildState;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::effect::{Effect, SlaveCall};
use crate::instances::reported::ReportedInstances;
use crate::templates::bounds::TemplateBounds;
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::templates::{Form, NamedTemplate};

/// The plan of a job whose commands run in containers.
fn contained(image: &str) -> Plan {
    Plan {
        image: Some(image.to_owned()),
        ..plan(&["a", "b", "c"])
    }
}

/// A plan at a commit.
fn at(commit: &str) -> Plan {
    Plan {
        commit: Some(commit.to_owned()),
        ..plan(&["a"])
    }
}

/// The plan of a template that is based on another one.
fn based_on(base: &str) -> Plan {
    Plan {
        bases: vec![base.to_owned()],
        ..plan(&["a"])
    }
}

impl Scenario {
    fn named(&self, reference: &str) -> Option<u64> {
        let template = self.cluster.template_of_reference(reference);
        template.map(|template| template.id.0)
    }

    fn runs_images(&mut self, slave: u64) -> super::scenario::Turn {
        let session = self.session(slave);
        self.tell(Command::ReportInstances {
            slave: SlaveId(slave),
            session,
            report: ReportedInstances {
                runs_images: true,
                ..ReportedInstances::default()
            },
        })
    }

    /// What slaves are told of the templates that a build takes.
    fn templates_of(&self, build: u64) -> Vec<NamedTemplate> {
        let build = self.cluster.build(BuildId(build)).unwrap();
        self.cluster.named_templates(build.plan.as_ref().unwrap())
    }
}

#[test]
fn a_reference_names_the_newest_or_one_by_build_or_commit() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    for (digit, commit) in [('a', "abcdef01"), ('b', "abcdef02"), ('c', "1234567")] {
        let build = farm.cluster.last_build + 1;
        farm.tell(queue("source", "app", true));
        farm.run_planned(build, at(commit), 0);
        farm.leave(build, content(digit, Form::Image));
    }
    farm.make_template("other", "base", content('d', Form::Workspace));
    for (reference, expected) in [
        ("app", Some(3)),
        ("app:latest", Some(3)),
        ("app:1", Some(1)),
        ("app:3", Some(3)),
        ("app:abcdef0", Some(2)),
        ("app:ABCDEF01", Some(1)),
        // It is no build's number.
        ("app:1234567", Some(3)),
        ("base", Some(4)),
        ("base:4", Some(4)),
        ("app:4", None),
        ("base:1", None),
        ("app:abcdef", None),
        ("app:abcdef03", None),
        ("app:", None),
        (":1", None),
        ("app:1:1", None),
        ("docker.io/library/app", None),
        ("debian:12", None),
        ("", None),
    ] {
        assert_eq!(farm.named(reference), expected, "{reference}");
    }
    // A build that used an equal one again.
    farm.tell(queue("source", "app", false));
    farm.prepared(5, at("abcdef02"));
    farm.archived(5);
    assert_eq!(farm.named("app:5"), Some(2));
    assert_eq!(farm.named("app"), Some(2));
    farm.tell(queue("source", "app", false));
    farm.prepared(6, at("abcdef01"));
    farm.archived(6);
    assert_eq!(
        (farm.named("app:5"), farm.named("app:6")),
        (Some(2), Some(1))
    );
}

#[test]
fn a_job_takes_the_template_that_its_image_named_when_it_was_prepared() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "app", content('a', Form::Image));
    farm.runs_images(1);
    let told = |turn: &super::scenario::Turn| {
        let mut calls = turn.effects.iter().filter_map(|effect| match effect {
            Effect::Call {
                call: SlaveCall::SetUp(set_up),
                ..
            } => Some(set_up.job.clone()),
            _ => None,
        });
        calls.next_back().map(|job| (job.image, job.templates))
    };
    let turn = farm.build(contained("app:latest"));
    let (image, templates) = told(&turn).unwrap();
    assert_eq!(image.as_deref(), Some("app:latest"));
    assert_eq!(templates.len(), 1);
    assert_eq!(templates[0].reference, "app:latest");
    assert_eq!(templates[0].snapshot.digest, "a".repeat(64));
    farm.tell(queue("source", "app", true));
    assert_eq!(farm.templates_of(2), templates);
    let turn = farm.connect("b:1", "life 1", 1);
    assert_eq!(told(&turn), None);
    let turn = farm.runs_images(2);
    assert_eq!(told(&turn).map(|(_, templates)| templates), Some(templates));
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn a_template_that_is_no_image_is_refused_and_what_is_unknown_is_an_image() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "app", content('a', Form::Workspace));
    farm.build(contained("app"));
    let BuildState::Error { reason } = farm.state(2) else {
        panic!("{:?}", farm.state(2));
    };
    assert!(reason.contains("image app is a template"), "{reason}");
    farm.build(contained("app:9"));
    assert_eq!(farm.state(3), &BuildState::Prepared);
    assert_eq!(farm.templates_of(3), []);
}

#[test]
fn a_template_that_a_build_takes_stays() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "app", content('a', Form::Image));
    farm.build(contained("app"));
    farm.make_template("source", "app", content('b', Form::Image));
    farm.make_template("source", "app", content('c', Form::Image));
    let bounds = TemplateBounds {
        max_number: Some(1),
        max_bytes: None,
    };
    let remove = move || Command::ForgetTemplates { bounds };
    farm.tell(remove());
    assert_eq!(
        (farm.named("app:1"), farm.named("app:3"), farm.named("app")),
        (Some(1), None, Some(3))
    );
    farm.cancel(2);
    farm.tell(remove());
    assert_eq!(farm.named("app:1"), None);
}

#[test]
fn a_template_on_another_base_is_another_one() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("base", "base", content('a', Form::Workspace));
    for (build, content_digit) in [(2, 'b'), (4, 'c')] {
        farm.tell(queue("source", "app", false));
        let plan = based_on("base");
        farm.run_planned(build, plan, 0);
        farm.leave(build, content(content_digit, Form::Workspace));
        if build == 2 {
            farm.make_template("base", "base", content('d', Form::Workspace));
        }
    }
    assert_eq!(farm.cluster.templates().count(), 4);
    farm.tell(queue("source", "app", false));
    farm.prepared(5, based_on("base"));
    farm.archived(5);
    assert_eq!(farm.cluster.templates().count(), 4);
    assert_eq!(farm.named("app"), Some(4));
}
