//! Which builds are given the secrets of their project.

use super::projects::new_user;
use super::scenario::{Scenario, plan, request};
use crate::accounts::command::{AccountCommand, ProjectCommand};
use crate::accounts::projects::ProjectChange;
use crate::accounts::refusal::AccountRefusal;
use crate::accounts::secrets::{NewSecret, SealedId};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::builds::details::{Merge, NewDetails};
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::effect::{Effect, SlaveCall, WantedSecret};
use crate::refusal::Refusal;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use clusterrunner_common::work::{BuildRequest, ProjectSource, WorkingTree};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ANN: UserId = UserId(1);
const BEN: UserId = UserId(2);

fn sealed(number: u8) -> SealedId {
    SealedId::from_random([number; 16])
}

fn setting(project: u64, name: &str, number: u8, allow_forks: bool) -> Command {
    let secret = NewSecret {
        sealed: sealed(number),
        as_file: false,
        allow_forks,
        by: Actor::SecretHolder,
    };
    of_project(ProjectCommand::SetSecret {
        project: ProjectId(project),
        name: name.to_owned(),
        secret: Box::new(secret),
    })
}

fn of_project(command: ProjectCommand) -> Command {
    let by = Actor::SecretHolder;
    Command::Project { by, command }
}

/// A plan whose job asks for these.
fn asking(names: &[&str]) -> Plan {
    Plan {
        secrets: names.iter().map(|&name| name.to_owned()).collect(),
        ..plan(&["a"])
    }
}

fn with(fields: Value) -> BuildRequest {
    let mut params = json!({"type": "git", "url": "p"});
    params
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    BuildRequest::from_json(&params).unwrap()
}

impl Scenario {
    /// A farm with the users ann and ben, and ann's project 1, which has the secret A and, also for forks, B. Ben works on it.
    fn with_secrets() -> Self {
        let mut farm = Self::default();
        for name in ["ann", "ben"] {
            farm.tell(Command::Account {
                by: Actor::SecretHolder,
                command: AccountCommand::Create(Box::new(new_user(name))),
            });
        }
        farm.tell(Command::QueueBuild {
            by: Actor::User(ANN),
            request: Box::new(request("p")),
        });
        farm.tell(of_project(ProjectCommand::AddCollaborator {
            project: ProjectId(1),
            user: BEN,
        }));
        farm.tell(setting(1, "A", 1, false));
        farm.tell(setting(1, "B", 2, true));
        farm
    }

    /// A build of project 1 that asks for A and B.
    fn asks_for_both(&mut self, by: Actor, request: BuildRequest, is_foreign: bool) -> BuildId {
        self.tell(Command::QueueBuildOf {
            by,
            project: ProjectId(1),
            request: Box::new(request),
            details: NewDetails::default(),
        });
        let build = self.cluster.builds().last().unwrap().id;
        // Those before it are in its way.
        for other in (1..build.0).map(BuildId) {
            let by = Actor::SecretHolder;
            self.try_tell(Command::CancelBuild { by, build: other })
                .ok();
        }
        let plan = Plan {
            is_foreign_commit: is_foreign,
            ..asking(&["A", "B"])
        };
        self.tell(Command::ReportPrepared {
            build,
            plan: Box::new(plan),
        });
        build
    }

    /// What a build of project 1 is given that asks for A and B, and its warnings.
    fn given(
        &mut self,
        by: Actor,
        request: BuildRequest,
        is_foreign: bool,
    ) -> (Vec<String>, Vec<String>) {
        let build = self.asks_for_both(by, request, is_foreign);
        let build = self.cluster.build(build).unwrap();
        let plan = build.plan.as_ref().unwrap();
        assert!(!plan.is_foreign_commit);
        (
            plan.secrets.iter().cloned().collect(),
            build.warnings.clone(),
        )
    }

    fn gets(&mut self, by: Actor, request: BuildRequest, names: &[&str], warning: Option<&str>) {
        let (given, warnings) = self.given(by, request.clone(), false);
        assert_eq!(given, names, "{request:?}");
        match warning {
            None => assert_eq!(warnings, Vec::<String>::new()),
            Some(warning) => {
                assert!(warnings[0].contains(warning), "{warnings:?}");
            }
        }
    }
}

#[test]
fn only_the_project_s_own_code_is_given_secrets() {
    let mut farm = Scenario::with_secrets();
    let (ann, holder) = (Actor::User(ANN), Actor::SecretHolder);
    for by in [ann, holder, Actor::User(BEN)] {
        farm.gets(by, with(json!({"branch": "x"})), &["A", "B"], None);
        farm.gets(by, with(json!({"remote": "origin"})), &["A", "B"], None);
        farm.gets(by, with(json!({"remote": "p"})), &["A", "B"], None);
        let forks = "secret A not given: builds of forks get none";
        farm.gets(
            by,
            with(json!({"remote": "https://host/fork"})),
            &["B"],
            Some(forks),
        );
        farm.gets(
            by,
            with(json!({"url": "https://host/fork"})),
            &["B"],
            Some(forks),
        );
        let (given, warnings) = farm.given(by, with(json!({"hash": "c0ffee"})), true);
        assert_eq!(
            (given, warnings),
            (vec!["B".to_owned()], vec![forks.to_owned()])
        );
    }
}

#[test]
fn what_somebody_brings_along_gets_none_unless_that_is_the_owner() {
    let config = json!({"config": {"commands": ["env"], "atomizers": [{"N": "seq 1"}]}});
    let brought = [
        with(config),
        with(json!({"atoms_override": ["export N=1;"]})),
        with(json!({"remote_files": {"f": "https://host/f"}})),
        with(json!({"env": {"BASH_ENV": "x"}})),
        BuildRequest {
            working_tree: Some(WorkingTree::default()),
            ..request("p")
        },
    ];
    let mut farm = Scenario::with_secrets();
    for request in brought {
        for by in [Actor::User(ANN), Actor::SecretHolder] {
            farm.gets(by, request.clone(), &["A", "B"], None);
        }
        let text = "secret A not given: builds with code or variables";
        // The owner runs again what somebody else brought along.
        let again = BuildRequest {
            is_brought_by_others: true,
            ..request.clone()
        };
        farm.gets(Actor::User(ANN), again, &["B"], Some(text));
        farm.gets(Actor::User(BEN), request, &["B"], Some(text));
    }
}

#[test]
fn who_has_no_part_in_the_project_gets_none() {
    let mut farm = Scenario::with_secrets();
    // A build of the same repository is one of another project: of the user's own.
    farm.tell(Command::QueueBuild {
        by: Actor::User(BEN),
        request: Box::new(request("p")),
    });
    let build = farm.cluster.builds().last().unwrap();
    assert_ne!(build.project, ProjectId(1));
    let id = build.id;
    let by = Actor::SecretHolder;
    let build = BuildId(1);
    farm.tell(Command::CancelBuild { by, build });
    farm.tell(Command::ReportPrepared {
        build: id,
        plan: Box::new(asking(&["A"])),
    });
    let BuildState::Error { reason } = farm.state(id.0) else {
        panic!("{:?}", farm.state(id.0));
    };
    assert!(
        reason.contains("clusterrunner secret set ben/p A"),
        "{reason}"
    );
    let strangers = "secrets A, B not given: builds that others than users start";
    let request = BuildRequest {
        project: ProjectSource::Own {
            project: ProjectId(1),
            commit: None,
        },
        ..request("p")
    };
    farm.tell(Command::QueueBuild {
        by: Actor::Binder,
        request: Box::new(request),
    });
    let build = farm.cluster.builds().last().unwrap().id;
    let prepared = Command::ReportPrepared {
        build,
        plan: Box::new(asking(&["A", "B"])),
    };
    farm.tell(prepared);
    let build = farm.cluster.build(build).unwrap();
    assert!(
        build.warnings[0].contains(strangers),
        "{:?}",
        build.warnings
    );
}

#[test]
fn a_slave_is_told_which_values_it_gets_as_they_are_then() {
    let mut farm = Scenario::default();
    farm.tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request: Box::new(request("p")),
    });
    farm.tell(setting(1, "A", 1, false));
    farm.tell(Command::ReportPrepared {
        build: BuildId(1),
        plan: Box::new(asking(&["A"])),
    });
    farm.tell(setting(1, "A", 2, false));
    let wanted = |sealed| {
        vec![WantedSecret {
            project: ProjectId(1),
            name: "A".to_owned(),
            sealed,
            as_file: false,
        }]
    };
    let told = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Call {
                call: SlaveCall::SetUp(set_up),
                ..
            } => Some(set_up.secrets.clone()),
            _ => None,
        })
    };
    let effects = farm.connect("one:1", "s", 1).effects;
    assert_eq!(told(&effects), Some(wanted(Some(sealed(2)))));
    let name = "A".to_owned();
    let project = ProjectId(1);
    farm.tell(of_project(ProjectCommand::RemoveSecret { project, name }));
    assert_eq!(farm.cluster.sealed_secrets().count(), 0);
}

#[test]
fn a_project_with_secrets_stays_and_names_are_those_of_variables() {
    let mut farm = Scenario::with_secrets();
    assert!(farm.cluster.project(ProjectId(1)).unwrap().is_kept);
    let known: BTreeSet<&SealedId> = farm.cluster.sealed_secrets().collect();
    assert_eq!(known, BTreeSet::from([&sealed(1), &sealed(2)]));
    for name in ["", "a b", "1A", "PROJECT_DIR", "CLUSTERRUNNER_X", "UID"] {
        let refused = farm.try_tell(setting(1, name, 3, false));
        assert!(
            matches!(
                refused,
                Err(Refusal::Account(AccountRefusal::InvalidField {
                    field: "name",
                    ..
                }))
            ),
            "{name}"
        );
    }
    let unknown = Refusal::Account(AccountRefusal::UnknownSecret("X".to_owned()));
    let (project, name) = (ProjectId(1), "X".to_owned());
    farm.check_refused(
        of_project(ProjectCommand::RemoveSecret { project, name }),
        &unknown,
    );
}

fn moved(url: &str) -> Command {
    let change = ProjectChange {
        git_url: Some(url.to_owned()),
        ..ProjectChange::default()
    };
    of_project(ProjectCommand::Change {
        project: ProjectId(1),
        change: Box::new(change),
        merge: Merge::Replace,
    })
}

/// A collaborator may give a project another repository, but not its secrets to that.
#[test]
fn a_secret_is_for_the_repository_that_it_was_set_for() {
    let mut farm = Scenario::with_secrets();
    farm.tell(moved("https://host/elsewhere"));
    let elsewhere = || with(json!({"url": "https://host/elsewhere"}));
    let refused = |farm: &mut Scenario, request: BuildRequest, texts: &[&str]| {
        let build = farm.asks_for_both(Actor::User(ANN), request, false);
        let BuildState::Error { reason } = farm.state(build.0) else {
            panic!("{:?}", farm.state(build.0));
        };
        for text in texts {
            assert!(reason.contains(text), "{reason}");
        }
    };
    let texts = [
        "secret A, which was set when the project ann/p had another repository",
        "clusterrunner secret confirm ann/p A",
    ];
    refused(&mut farm, elsewhere(), &texts);
    // Forks of it get none either, whatever they may get of those of the first one.
    let fork = with(json!({"url": "https://host/elsewhere", "remote": "https://host/fork"}));
    let (given, _) = farm.given(Actor::User(ANN), fork, false);
    assert_eq!(given, Vec::<String>::new());
    // What is set again is for the repository that the project has now.
    farm.tell(setting(1, "A", 3, false));
    refused(&mut farm, elsewhere(), &["secret B, which"]);
    farm.tell(setting(1, "B", 2, false));
    farm.gets(Actor::User(ANN), elsewhere(), &["A", "B"], None);
    farm.tell(moved("p"));
    refused(&mut farm, with(json!({})), &["secret A, which"]);
}

/// What is set for the repository that a project has now is not for builds of the one before, prepared as they may be.
#[test]
fn a_build_that_waits_gets_no_secret_of_a_later_repository() {
    let mut farm = Scenario::with_secrets();
    farm.asks_for_both(Actor::User(ANN), with(json!({})), false);
    farm.tell(moved("https://host/elsewhere"));
    farm.tell(setting(1, "A", 3, false));
    farm.tell(setting(1, "B", 4, true));
    let effects = farm.connect("one:1", "s", 1).effects;
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Call {
            call: SlaveCall::SetUp(set_up),
            ..
        } => Some(&set_up.secrets),
        _ => None,
    });
    let told: Vec<_> = told.unwrap().iter().map(|one| one.sealed.clone()).collect();
    // Whoever may give it to forks gives it to this one.
    assert_eq!(told, [None, Some(sealed(4))]);
}

#[test]
fn a_build_that_waits_loses_a_secret_that_may_not_go_to_forks_any_more() {
    let mut farm = Scenario::with_secrets();
    let foreign = farm.asks_for_both(Actor::User(ANN), request("p"), true);
    let values = |farm: &Scenario| -> Vec<_> {
        let wanted = farm.cluster.secrets_of(foreign).unwrap();
        wanted.into_iter().map(|secret| secret.sealed).collect()
    };
    assert_eq!(values(&farm), [Some(sealed(2))]);
    farm.tell(setting(1, "B", 3, false));
    assert_eq!(values(&farm), [None]);
    farm.tell(setting(1, "B", 4, true));
    assert_eq!(values(&farm), [Some(sealed(4))]);
}
