//! What users deploy: images, builds, and the releases of them.

use super::*;

#[test]
fn the_first_deploy_scales_by_itself() {
    let web = procfile(&[("web", "serve"), ("worker", "work")]);
    let worker = procfile(&[("worker", "work")]);
    let none = procfile(&[]);
    for (sha, dockerfile, procfile, process) in [
        ("", "", &none, "cmd"),
        ("", "", &web, "cmd"),
        ("c0ffee", "FROM scratch", &none, "cmd"),
        ("c0ffee", "FROM scratch", &web, "web"),
        ("c0ffee", "", &worker, "cmd"),
        ("c0ffee", "", &web, "web"),
        ("c0ffee", "", &none, "web"),
    ] {
        let mut farm = Scenario::with_app(&[("a:1", 4)]);
        let build = |build: &NewAppBuild| AppCommand::Build {
            project: HILL,
            build: Box::new(build.clone()),
        };
        let new = NewAppBuild {
            image: "busybox".to_owned(),
            sha: sha.to_owned(),
            procfile: procfile.clone(),
            dockerfile: dockerfile.to_owned(),
        };
        farm.order(build(&new));
        let structure = json!(farm.hill().structure);
        assert_eq!(structure, json!({ process: 1 }), "{new:?}");
        assert_eq!(farm.listed(), [format!("{process}.1 v2 initialized")]);
        // Later ones keep it.
        farm.order(scale(&[(process, 0)]));
        farm.order(build(&new));
        assert_eq!(json!(farm.hill().structure), json!({ process: 0 }));
    }
}

#[test]
fn an_image_is_a_template_a_release_or_what_a_slave_pulls() {
    let mut farm = with_users(&[]);
    for (by, id) in [(ANN, "hill"), (BEN, "dale")] {
        let command = create(id);
        farm.tell(Command::App { by, command });
    }
    let mut processes = content('d', Form::Workspace);
    processes.description.processes = procfile(&[("web", "serve")]);
    farm.make_template("source", "app", processes);
    let runs = |farm: &mut Scenario, by, image: &str| {
        let command = build(image, &[]);
        farm.tell(Command::App { by, command });
        farm.hill().builds.last().unwrap().clone()
    };
    let template = |id| Runs::Template(TemplateId(id));
    // The farm's builds are 1 and 4 of `app`, 2 of `image`, 3 of `other`; all are of one commit.
    for (image, expected) in [
        ("app", template(4)),
        ("app:latest", template(4)),
        ("app:4", template(4)),
        ("app:1", template(1)),
        ("other:3", template(3)),
        ("hill:v2", template(4)),
        ("hill:v5", template(1)),
        ("app:2", Runs::Image("app:2".to_owned())),
        ("hill:v1", Runs::Image("hill:v1".to_owned())),
        ("hill:v99", Runs::Image("hill:v99".to_owned())),
        (
            "deis/example-go:latest",
            Runs::Image("deis/example-go:latest".to_owned()),
        ),
    ] {
        assert_eq!(runs(&mut farm, ANN, image).runs, expected, "{image}");
    }
    assert!(matches!(
        runs(&mut farm, ANN, "No Image").runs,
        Runs::Nothing(_)
    ));
    // What a template says of itself is taken where the request says nothing.
    let taken = runs(&mut farm, ANN, "app");
    assert_eq!(
        (taken.sha.as_str(), taken.procfile["web"].as_str()),
        ("c0ffee", "serve")
    );
    assert_eq!(runs(&mut farm, ANN, "hill:v2").procfile["web"], "serve");
    // The releases of an app are for those who see it.
    let dale = farm.cluster.app_of_id("dale").unwrap().project;
    let seen = |farm: &mut Scenario, by| {
        let project = dale;
        let build = Box::new(build_of("hill:v2", &[]));
        let command = AppCommand::Build { project, build };
        farm.tell(Command::App { by, command });
        farm.cluster
            .app(dale)
            .unwrap()
            .builds
            .last()
            .unwrap()
            .runs
            .clone()
    };
    assert!(matches!(seen(&mut farm, BEN), Runs::Image(_)));
    farm.tell(Command::Project {
        by: ANN,
        command: ProjectCommand::AddCollaborator {
            project: HILL,
            user: UserId(2),
        },
    });
    assert_eq!(seen(&mut farm, BEN), template(4));
}

#[test]
fn a_commit_of_a_template_is_told_by_its_beginning() {
    let mut farm = Scenario::with_app(&[]);
    let commits = ["c0ffee0".repeat(5), "c0ffee1".repeat(5)];
    for (commit, digit) in commits.iter().zip(['d', 'e']) {
        let number = farm.cluster.last_build + 1;
        farm.tell(super::super::super::templates::queue("source", "app", true));
        let commit = Some(commit.clone());
        farm.prepared(
            number,
            Plan {
                commit,
                ..plan(&["a"])
            },
        );
        farm.set_up(1, number);
        farm.finish(hand_out(1, number, 0, 1));
        farm.leave(number, content(digit, Form::Workspace));
    }
    for (image, template) in [
        ("app:c0ffee0", Some(4)),
        ("app:c0ffee0c0ffee0", Some(4)),
        ("app:c0ffee1", Some(5)),
        ("app:c0ffee", None),
        ("app:c0ffee2", None),
        ("image:c0ffee0", None),
    ] {
        farm.order(build(image, &[]));
        let found = match farm.hill().builds.last().unwrap().runs {
            Runs::Template(template) => Some(template.0),
            Runs::Image(_) | Runs::Nothing(_) => None,
        };
        assert_eq!(found, template, "{image}");
    }
}

#[test]
fn templates_of_releases_stay() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.order(build("app", &[]));
    farm.order(build("other", &[]));
    farm.order(scale(&[("cmd", 0)]));
    let (max_number, max_bytes) = (Some(0), None);
    let bounds = TemplateBounds {
        max_number,
        max_bytes,
    };
    farm.tell(Command::ForgetTemplates { bounds })
        .check_facts(&["template 2 removed: there are too many (keep_templates)"]);
    farm.order(AppCommand::Destroy { project: HILL });
    let turn = farm.tell(Command::ForgetTemplates { bounds });
    assert_eq!(turn.events.len(), 1, "the one that was used last stays");
}

#[test]
fn what_a_build_says_is_checked() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    let long = "x".repeat(257);
    let good = || build_of("busybox", &["web"]);
    let many = || procfile(&[("web", &"x".repeat(65_536))]);
    for (field, build) in [
        (
            "image",
            NewAppBuild {
                image: String::new(),
                ..good()
            },
        ),
        (
            "image",
            NewAppBuild {
                image: long,
                ..good()
            },
        ),
        (
            "image",
            NewAppBuild {
                image: "a\nb".to_owned(),
                ..good()
            },
        ),
        (
            "sha",
            NewAppBuild {
                sha: "../x".to_owned(),
                ..good()
            },
        ),
        (
            "dockerfile",
            NewAppBuild {
                dockerfile: "x".repeat(65_537),
                ..good()
            },
        ),
        (
            "procfile",
            NewAppBuild {
                procfile: procfile(&[("run", "x")]),
                ..good()
            },
        ),
        (
            "procfile",
            NewAppBuild {
                procfile: procfile(&[("a/b", "x")]),
                ..good()
            },
        ),
        (
            "procfile",
            NewAppBuild {
                procfile: procfile(&[("web", " ")]),
                ..good()
            },
        ),
        (
            "procfile",
            NewAppBuild {
                procfile: procfile(&[("web", "a\0")]),
                ..good()
            },
        ),
        (
            "procfile",
            NewAppBuild {
                procfile: many(),
                ..good()
            },
        ),
    ] {
        let command = ordered(AppCommand::Build {
            project: HILL,
            build: Box::new(build),
        });
        let refused = farm.try_tell(command).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("field '{field}'")),
            "{refused}"
        );
    }
    assert_eq!(farm.hill().releases.len(), 1);
}
