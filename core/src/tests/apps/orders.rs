//! Configs, app builds, releases, domains, and the ends of apps.

mod deploys;

use super::super::projects::{new_project, new_user};
use super::super::scenario::{Scenario, hand_out, plan};
use super::super::templates::content;
use super::{HILL, build, build_of, configure, create, ordered, procfile, rollback, scale};
use crate::accounts::command::{AccountCommand, ProjectCommand};
use crate::accounts::owner::Owner;
use crate::actor::Actor;
use crate::apps::command::{AppCommand, AppRefusal, DomainFault, IdFault, NewAppBuild};
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::instances::instance::Runs;
use crate::templates::bounds::TemplateBounds;
use clusterrunner_common::ids::{ProjectId, TemplateId, UserId};
use clusterrunner_common::templates::Form;
use serde_json::json;

/// The farm's users are these, in this order.
const ANN: Actor = Actor::User(UserId(1));

const BEN: Actor = Actor::User(UserId(2));

fn with_users(slots: &[(&str, u32)]) -> Scenario {
    let mut farm = Scenario::with_templates(slots);
    for name in ["ann", "ben"] {
        farm.tell(Command::Account {
            by: Actor::SecretHolder,
            command: AccountCommand::Create(Box::new(new_user(name))),
        });
    }
    farm
}

#[test]
fn an_app_begins_with_a_project_and_a_release() {
    let mut farm = with_users(&[("a:1", 4)]);
    let by = ANN;
    let command = create("hill");
    farm.tell(Command::App { by, command })
        .check_facts(&["project 3 created: hill", "app of project 3 created: hill"]);
    let project = farm.cluster.project(HILL).unwrap();
    assert!(!project.is_public() && project.has_own_repository());
    assert_eq!(project.owner, Owner::User(UserId(1)));
    let app = farm.hill();
    assert!(app.structure.is_empty());
    assert_eq!((app.configs.len(), app.builds.len()), (1, 0));
    assert_eq!(app.newest().version, 1);
    assert_eq!(app.newest().summary, "ann created initial release");
    assert!(app.config_of(app.newest()).shown_values(app).is_empty());
    // An id is unique on the farm.
    let taken = AppRefusal::IdTaken("hill".to_owned());
    for by in [ANN, BEN, Actor::SecretHolder] {
        let command = create("hill");
        farm.check_refused(Command::App { by, command }, &taken.clone().into());
    }
    farm.refuses(create("a_b"), IdFault::Characters.into());
    farm.refuses(create("deis"), IdFault::Reserved.into());
    farm.refuses(
        AppCommand::Destroy {
            project: ProjectId(1),
        },
        AppRefusal::UnknownApp(ProjectId(1)),
    );
    farm.check_snapshots();
}

#[test]
fn a_project_that_is_there_is_deployed_and_outlives_its_app() {
    let mut farm = with_users(&[("a:1", 4)]);
    let made = ProjectCommand::Create(new_project("hill"));
    let by = ANN;
    farm.tell(Command::Project { by, command: made });
    let command = create("hill");
    farm.tell(Command::App { by, command })
        .check_facts(&["app of project 3 created: hill"]);
    farm.order(AppCommand::Destroy { project: HILL })
        .check_facts(&["app of project 3 deleted"]);
    assert!(farm.cluster.project(HILL).is_some());
    // The id is free again, for everybody.
    let (by, command) = (BEN, create("hill"));
    farm.tell(Command::App { by, command })
        .check_facts(&["project 4 created: hill", "app of project 4 created: hill"]);
    let destroy = AppCommand::Destroy {
        project: ProjectId(4),
    };
    farm.order(destroy)
        .check_facts(&["app of project 4 deleted", "project 4 deleted"]);
    assert_eq!(farm.cluster.apps().count(), 0);
}

#[test]
fn what_an_app_runs_ends_with_it_whichever_way_it_goes() {
    for way in 0..3 {
        let mut farm = with_users(&[("a:1", 4)]);
        let (by, command) = (ANN, create("hill"));
        farm.tell(Command::App { by, command });
        farm.order(build("app", &[]));
        farm.comes_up(2);
        let turn = match way {
            0 => farm.order(AppCommand::Destroy { project: HILL }),
            1 => farm.tell(Command::Project {
                by,
                command: ProjectCommand::Delete(HILL),
            }),
            _ => farm.tell(Command::Account {
                by: Actor::SecretHolder,
                command: AccountCommand::Delete { user: UserId(1) },
            }),
        };
        let facts: Vec<String> = turn.events.iter().map(|e| e.fact.to_string()).collect();
        let begin = ["instance 1 stopped", "app of project 3 deleted"];
        assert_eq!(facts[..2], begin, "{facts:?}");
        assert_eq!(farm.cluster.apps().count(), 0);
        assert!(farm.cluster.project(HILL).is_none());
        farm.check_snapshots();
    }
}

#[test]
fn releases_say_what_is_another_than_before() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    let of = |text: &str| text.replace("test ", "clusterrunner ");
    let steps = [
        (json!({"values": {"HELLO": "world"}}), "test added HELLO"),
        (json!({"values": {"HELLO": "you"}}), "test changed HELLO"),
        (json!({"values": {"HELLO": null}}), "test deleted HELLO"),
        (json!({"values": {"NEVER": null}}), "test changed nothing"),
        (json!({"values": {"A": 1, "B": "x y"}}), "test added A, B"),
        (
            json!({"memory": {"web": "1G"}, "cpu": {"web": 1024}, "tags": {"rack": "1"}}),
            "test changed limits for memory, cpu and test added tag rack",
        ),
        (
            json!({"memory": {"web": null}}),
            "test changed limits for memory",
        ),
        (json!({}), "test changed nothing"),
        (
            json!({"values": {"A": null, "B": 2, "C": 3}, "tags": {"rack": null, "disk": "ssd"}}),
            "test added C, changed B, deleted A and test added tag disk, deleted tag rack",
        ),
        (json!({"tags": {"disk": "hdd"}}), "test changed tag disk"),
    ];
    for (config, summary) in steps {
        farm.releases(configure(config), &of(summary));
    }
    farm.releases(
        build("deis/example-go:latest", &[]),
        &of("test deployed deis/example-go:latest"),
    );
    let with_commit = NewAppBuild {
        sha: "060da68f654e75fac06dbedd1995d5f8ad9084db".to_owned(),
        ..build_of("x", &["web", "worker"])
    };
    let build = AppCommand::Build {
        project: HILL,
        build: Box::new(with_commit),
    };
    farm.releases(build, &of("test deployed 060da68"));
    farm.releases(rollback(Some(1)), &of("test rolled back to v1"));
    farm.releases(rollback(None), &of("test rolled back to v13"));
    let versions: Vec<u64> = farm.hill().releases.iter().map(|r| r.version).collect();
    assert_eq!(versions, (1..=15).collect::<Vec<_>>());
}

#[test]
fn the_owner_is_named_for_what_is_the_apps_and_the_user_for_what_only_was_asked() {
    let mut farm = with_users(&[("a:1", 4)]);
    let by = ANN;
    let command = create("hill");
    farm.tell(Command::App { by, command });
    let by = BEN;
    for (command, summary) in [
        (configure(json!({"values": {"BY": "ben"}})), "ann added BY"),
        (build("app", &[]), "ann deployed c0ffee"),
        (configure(json!({})), "ben changed nothing"),
        (rollback(Some(1)), "ben rolled back to v1"),
    ] {
        farm.tell(Command::App { by, command });
        assert_eq!(farm.summary(), summary);
    }
    let config = farm.hill().config(2).unwrap();
    assert_eq!(config.owner, Owner::User(UserId(1)));
}

#[test]
fn a_config_is_merged_into_that_of_the_newest_release() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.order(configure(json!({"values": {"A": 1}})));
    farm.order(configure(json!({"values": {"B": 2}})));
    // After this the newest config is not the newest release's.
    farm.order(rollback(Some(2)));
    farm.order(configure(json!({"values": {"C": 3}})));
    let app = farm.hill();
    let config = app.config_of(app.newest());
    assert_eq!(json!(config.values), json!({"A": 1, "C": 3}));
    assert_eq!((config.number, config.release), (4, Some(5)));
    let shown = json!({"A": 1, "C": 3, "DEIS_APP": "hill", "DEIS_RELEASE": "v5"});
    assert_eq!(json!(config.shown_values(app)), shown);
    // What is refused leaves nothing.
    let before = farm.cluster.clone();
    let wrong = configure(json!({"values": {"D": 4}, "cpu": {"web": 2000}}));
    assert!(farm.try_tell(ordered(wrong)).is_err());
    assert_eq!(farm.cluster, before);
}

#[test]
fn a_rollback_takes_build_and_config() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.refuses(rollback(None), AppRefusal::NoEarlierRelease);
    farm.order(build("app", &[]));
    farm.order(configure(json!({"values": {"A": 1}})));
    farm.order(build("other", &[]));
    farm.refuses(rollback(Some(0)), AppRefusal::NoEarlierRelease);
    farm.refuses(rollback(Some(5)), AppRefusal::UnknownRelease(5));
    farm.order(rollback(Some(2)));
    let newest = farm.hill().newest();
    assert_eq!((newest.build, newest.config), (Some(1), 1));
    farm.order(rollback(None));
    let newest = farm.hill().newest();
    assert_eq!(
        (newest.version, newest.build, newest.config),
        (6, Some(2), 2)
    );
}

#[test]
fn a_domain_leads_to_one_app() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.order(create("dale"));
    let dale = farm.cluster.app_of_id("dale").unwrap().project;
    let add = |project, domain: &str| AppCommand::AddDomain {
        project,
        domain: domain.to_owned(),
    };
    let remove = |project, domain: &str| AppCommand::RemoveDomain {
        project,
        domain: domain.to_owned(),
    };
    farm.order(add(HILL, "example.com"))
        .check(&["app of project 3 has domain example.com"], &[]);
    for project in [HILL, dale] {
        let taken = AppRefusal::DomainTaken("example.com".to_owned());
        farm.refuses(add(project, "example.com"), taken);
    }
    let unknown = AppRefusal::UnknownDomain("example.com".to_owned());
    farm.refuses(remove(dale, "example.com"), unknown);
    for (domain, why) in [
        ("*.example.com", DomainFault::Wildcard),
        ("nodots", DomainFault::NoHostName),
    ] {
        let domain = domain.to_owned();
        let refused = AppRefusal::InvalidDomain {
            domain: domain.clone(),
            why,
        };
        farm.refuses(add(HILL, &domain), refused);
    }
    let found = |farm: &Scenario| {
        farm.cluster
            .app_of_host("example.com")
            .map(|app| app.project)
    };
    assert_eq!(found(&farm), Some(HILL));
    farm.order(remove(HILL, "example.com"));
    assert_eq!(found(&farm), None);
    farm.order(add(dale, "example.com"));
    assert_eq!(found(&farm), Some(dale));
    farm.order(AppCommand::Destroy { project: dale });
    assert_eq!(found(&farm), None);
    farm.check_snapshots();
}
