//! Builds that leave templates, and the names that point at them.

use super::scenario::{Scenario, hand_out, plan, request};
use crate::actor::Actor;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::effect::Effect;
use crate::templates::bounds::TemplateBounds;
use crate::templates::refusal::TemplateRefusal;
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::templates::{Form, Product, TemplateContent, TemplateDescription};
use clusterrunner_common::work::BuildRequest;
use std::collections::BTreeMap;

pub(super) fn product_request(url: &str, name: &str, is_forced: bool) -> BuildRequest {
    BuildRequest {
        product: Some(Product {
            name: name.to_owned(),
            recipe: "steps".to_owned(),
            image: None,
            dockerfile: None,
            is_forced,
        }),
        ..request(url)
    }
}

pub(super) fn content(digit: char, form: Form) -> TemplateContent {
    TemplateContent {
        digest: digit.to_string().repeat(64),
        bytes: 10,
        description: TemplateDescription {
            form,
            root: None,
            image: None,
            recipe: None,
            port: None,
            command: Vec::new(),
            processes: BTreeMap::new(),
            environment: BTreeMap::new(),
            directory: String::new(),
        },
    }
}

pub(super) fn queue(url: &str, name: &str, is_forced: bool) -> Command {
    Command::QueueBuild {
        by: Actor::Binder,
        request: Box::new(product_request(url, name, is_forced)),
    }
}

impl Scenario {
    /// The only atom of a build runs on slave 1 with this end.
    fn run_product(&mut self, build: u64, exit_code: i32) {
        self.run_planned(build, plan(&["a"]), exit_code);
    }

    /// The same, of this plan with one atom.
    pub(super) fn run_planned(&mut self, build: u64, plan: Plan, exit_code: i32) {
        self.prepared(build, plan);
        self.set_up(1, build);
        self.tell(super::scenario::finished(
            hand_out(1, build, 0, 1),
            &[exit_code],
        ));
    }

    /// The build is over, and leaves this.
    pub(super) fn leave(&mut self, build: u64, content: TemplateContent) -> super::scenario::Turn {
        self.tell(Command::ReportArchived {
            build: BuildId(build),
            template: Some(Box::new(content)),
        })
    }

    /// A build of a source leaves a template.
    pub(super) fn make_template(&mut self, url: &str, name: &str, content: TemplateContent) {
        let build = self.cluster.last_build + 1;
        self.tell(queue(url, name, true));
        self.run_product(build, 0);
        self.leave(build, content);
    }

    fn points_at(&self, name: &str) -> Option<u64> {
        self.cluster
            .template_named(name)
            .map(|template| template.id.0)
    }
}

#[test]
fn a_build_leaves_a_template_under_its_name() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.tell(queue("https://host/a/b", "a-b", false));
    assert_eq!(farm.points_at("a-b"), None);
    farm.prepared(1, plan(&["a"]));
    farm.set_up(1, 1);
    let turn = farm.finish(hand_out(1, 1, 0, 1));
    let products = turn.effects.iter().filter_map(|effect| match effect {
        Effect::Archive { product, .. } => Some(*product),
        _ => None,
    });
    let products: Vec<_> = products.collect();
    assert_eq!(products, [Some((SubjobId(0), Attempt(1)))]);
    farm.leave(1, content('a', Form::Workspace)).check(
        &[
            "template 1 registered as a-b by build 1: 10 bytes",
            "1 finished",
        ],
        &["clear 1"],
    );
    assert_eq!(farm.points_at("a-b"), Some(1));
    farm.leave(1, content('b', Form::Workspace)).check_nothing();
    farm.check_snapshots();
}

#[test]
fn a_name_belongs_to_one_source_and_to_one_build_at_a_time() {
    let mut farm = Scenario::default();
    farm.tell(queue("https://host/a/b", "a-b", false));
    let name = "a-b".to_owned();
    let refusal = TemplateRefusal::AlreadyBuilding { name }.into();
    farm.check_refused(queue("https://host/a/b", "a-b", false), &refusal);
    let forced = farm.tell(queue("https://host/a/b", "a-b", true));
    forced.check_facts(&["1 canceled", "2 queued", "2 preparing"]);
    farm.tell(queue("https://other/a/b", "a-b", false));
    let names: Vec<&str> = farm
        .cluster
        .template_names()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 2);
    let other = names[1].strip_prefix("a-b-").unwrap();
    assert!(other.len() == 6 && other.bytes().all(|b| b.is_ascii_hexdigit()));
    let build = farm.cluster.build(BuildId(3)).unwrap();
    assert_eq!(build.request.product.as_ref().unwrap().name, names[1]);
    let refusal = TemplateRefusal::InvalidName.into();
    farm.check_refused(queue("https://host/c", "../c", false), &refusal);
}

#[test]
fn an_equal_template_is_used_again_unless_forced() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "first", content('a', Form::Workspace));
    farm.tell(queue("source", "second", false));
    farm.prepared(2, plan(&["a"])).check(
        &["2 prepared: 0 subjobs", "2 archiving"],
        &["archive 2: [], failed []"],
    );
    farm.archived(2)
        .check_facts(&["template 1 used again as second by build 2", "2 finished"]);
    assert_eq!(farm.points_at("second"), Some(1));
    assert!(!farm.cluster.build(BuildId(2)).unwrap().lacks_atoms());
    farm.tell(queue("source", "second", true));
    farm.prepared(3, plan(&["a"]));
    assert_eq!(farm.cluster.build(BuildId(3)).unwrap().num_atoms, 1);
}

#[test]
fn a_build_that_fails_leaves_the_name_where_it_is() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "name", content('a', Form::Workspace));
    farm.tell(queue("source", "name", true));
    farm.run_product(2, 1);
    farm.archived(2).check_facts(&["2 finished"]);
    assert_eq!(farm.points_at("name"), Some(1));
    farm.tell(queue("source", "name", true));
    farm.run_product(3, 0);
    farm.archived(3)
        .check_facts(&["3 failed: The build left no template."]);
    assert_eq!(farm.points_at("name"), Some(1));
}

#[test]
fn what_is_superseded_goes_first_and_the_latest_stays() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.make_template("source", "name", content('a', Form::Workspace));
    farm.make_template("source", "other", content('a', Form::Workspace));
    farm.make_template("source", "name", content('c', Form::Workspace));
    let forget = |max_number, max_bytes| Command::ForgetTemplates {
        bounds: TemplateBounds {
            max_number,
            max_bytes,
        },
    };
    farm.tell(forget(None, None)).check_nothing();
    // Another one has the same snapshot.
    farm.tell(forget(Some(2), None)).check(
        &["template 1 removed: there are too many (keep_templates)"],
        &[],
    );
    let digest = "a".repeat(64);
    farm.tell(forget(None, Some(5))).check(
        &["template 2 removed: the snapshots of all are too large (keep_templates_bytes)"],
        &[&format!("remove snapshot {digest}")],
    );
    assert_eq!(farm.points_at("other"), None);
    assert_eq!(farm.points_at("name"), Some(3));
    farm.check_snapshots();
}
