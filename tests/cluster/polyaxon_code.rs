//! Code of projects: uploaded, built on slaves that get it from the master, given back, removed.

use crate::farm::{Extra, Farm};
use crate::polyaxon::Polyaxon;
use crate::wait::wait_for;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Read as _;

/// A file: its name, whether it is a program, its content.
type Given<'a> = (&'a str, bool, &'a str);

const HILL: &str = "ann/hill";

fn archive(files: &[Given<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, is_program, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if *is_program { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut names: Vec<String> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let name = entry.path().unwrap().display().to_string();
            format!("{name} {:o} {content}", entry.header().mode().unwrap())
        })
        .collect();
    names.sort();
    names
}

/// Steps that run even if they ran before.
fn steps(steps: &[&str]) -> Value {
    json!({"version": 1, "kind": "build", "build": {"build_steps": steps, "nocache": true}})
}

impl Polyaxon {
    async fn makes_project(&self, name: &str) {
        let body = json!({"name": name});
        let (status, body) = self.ask(Method::POST, "projects/", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    async fn uploads(&self, project: &str, files: &[Given<'_>]) {
        let (status, body) = self.upload(project, &archive(files)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Starts a build; its path.
    async fn starts(&self, project: &str, config: Value) -> String {
        let path = format!("{project}/builds/");
        let body = json!({"config": config});
        let (status, body) = self.ask(Method::POST, &path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        format!("{project}/builds/{}", body["id"])
    }

    /// The build when it is over.
    async fn ends(&self, build: &str) -> Value {
        let is_over = async || {
            let found = self.get(build).await;
            let is_over = !found["finished_at"].is_null();
            is_over.then_some(found)
        };
        wait_for("the end of the build", is_over).await
    }

    /// Runs steps; the build, and what it has printed.
    async fn runs(&self, project: &str, config: Value) -> (Value, String) {
        let build = self.starts(project, config).await;
        let over = self.ends(&build).await;
        (over, self.log(&build).await)
    }

    async fn last_message(&self, build: &Value) -> Value {
        let path = format!("{HILL}/builds/{}/statuses", build["id"]);
        let mut statuses = self.get(&path).await;
        statuses["results"].as_array_mut().unwrap().pop().unwrap()["message"].take()
    }
}

#[tokio::test]
async fn code_is_uploaded_and_built_by_steps() {
    let farm = Farm::start(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    assert_eq!(ann.get(HILL).await["has_code"], false);
    // Without code there is an empty workspace.
    let (build, log) = ann.runs(HILL, steps(&["ls -A", "echo end"])).await;
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("succeeded"), "end\n")
    );
    assert_eq!(build["commit"], Value::Null);
    let shown = farm.user(&["status", &build["id"].to_string()]);
    assert!(
        shown.stdout.contains("template ann-hill of project 1"),
        "{}",
        shown.stdout
    );
    ann.uploads(
        HILL,
        &[
            ("run.sh", true, "#!/bin/sh\necho one\n"),
            ("d/text", false, "two\n"),
        ],
    )
    .await;
    assert_eq!(ann.get(HILL).await["has_code"], true);
    let mut config = steps(&[
        "./run.sh",
        "cat d/text; touch made",
        "ls -A made; echo $NAME",
    ]);
    config["build"]["env_vars"] = json!([["NAME", "ann"]]);
    let (first, log) = ann.runs(HILL, config.clone()).await;
    assert_eq!(
        (first["last_status"].as_str(), &*log),
        (Some("succeeded"), "one\ntwo\nmade\nann\n")
    );
    assert_eq!(first["config"], config);
    assert_eq!(first["commit"].as_str().unwrap().len(), 40);
    // The same code is no new commit.
    ann.uploads(
        HILL,
        &[
            ("d/text", false, "two\n"),
            ("run.sh", true, "#!/bin/sh\necho one\n"),
        ],
    )
    .await;
    let (again, _) = ann.runs(HILL, config.clone()).await;
    assert_eq!(again["commit"], first["commit"]);
    // Other code is, and the earlier one is still there.
    ann.uploads(HILL, &[("run.sh", true, "#!/bin/sh\necho other\n")])
        .await;
    let (other, log) = ann.runs(HILL, steps(&["./run.sh", "ls"])).await;
    assert_eq!(log, "other\nrun.sh\n");
    assert_ne!(other["commit"], first["commit"]);
    for part in ["commit", "ref"] {
        config["build"][part] = first["commit"].clone();
        let (old, log) = ann.runs(HILL, config.clone()).await;
        assert_eq!(
            (&old["commit"], &*log),
            (&first["commit"], "one\ntwo\nmade\nann\n")
        );
        config["build"].as_object_mut().unwrap().remove(part);
    }
    let newest = ann.download(&format!("{HILL}/repo/download/")).await;
    assert_eq!(names(&newest), ["run.sh 755 #!/bin/sh\necho other\n"]);
    let commit = first["commit"].as_str().unwrap();
    let older = ann
        .download(&format!("{HILL}/repo/download?commit={}", &commit[..8]))
        .await;
    assert_eq!(
        names(&older),
        ["d/text 644 two\n", "run.sh 755 #!/bin/sh\necho one\n"]
    );
}

#[tokio::test]
async fn the_first_step_that_fails_ends_the_build_and_is_told() {
    let farm = Farm::start(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    let (build, log) = ann
        .runs(HILL, steps(&["echo one", "echo two; exit 3", "echo never"]))
        .await;
    let failure = "Build step 2 failed with exit code 3: echo two; exit 3";
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("failed"), &*format!("one\ntwo\n{failure}\n"))
    );
    assert_eq!(ann.last_message(&build).await, failure);
    let mut config = steps(&["echo one"]);
    config["build"]["image"] = json!("busybox:1");
    let (build, log) = ann.runs(HILL, config).await;
    let sentence = "The image busybox:1 was not used: there is no container runtime here.";
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("succeeded"), &*format!("{sentence}\none\n"))
    );
    assert!(
        build["dockerfile"]
            .as_str()
            .unwrap()
            .starts_with("\nFROM busybox:1\n")
    );
}

#[tokio::test]
async fn a_dockerfile_makes_a_template_that_is_used_again() {
    let mut farm = Farm::with(&Extra {
        slave: "container_runtime = none",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    let text = "FROM scratch\nCOPY text copy\nRUN cat copy\nCMD [\"./serve\"]\n";
    ann.uploads(
        HILL,
        &[("Dockerfile", false, text), ("text", false, "one\n")],
    )
    .await;
    let config = json!({"version": 1, "kind": "build", "build": {"dockerfile": "Dockerfile"}});
    let (build, log) = ann.runs(HILL, config.clone()).await;
    assert_eq!(build["last_status"], "succeeded", "{log}");
    assert!(log.contains("==> Line 3: RUN cat copy\none\n"), "{log}");
    let templates = farm.user(&["templates"]).stdout;
    assert!(templates.contains("ann-hill"), "{templates}");
    let (again, log) = ann.runs(HILL, config.clone()).await;
    assert_eq!(
        (again["last_status"].as_str(), &*log),
        (Some("succeeded"), "")
    );
    ann.uploads(HILL, &[("Dockerfile", false, "FROM scratch\nRUNN x\n")])
        .await;
    let (wrong, log) = ann.runs(HILL, config).await;
    let sentence = "Dockerfile line 2: unknown instruction `RUNN`. Did you mean RUN?";
    assert_eq!(wrong["last_status"], "failed", "{log}");
    assert_eq!(ann.last_message(&wrong).await, sentence);
}

#[tokio::test]
async fn an_image_that_is_required_fails_the_build() {
    let mut farm = Farm::with(&Extra {
        master: "image_policy = require",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    let mut config = steps(&["echo never"]);
    config["build"]["image"] = json!("busybox:1");
    let (build, log) = ann.runs(HILL, config).await;
    let sentence = "The image busybox:1 was not used: there is no container runtime here.";
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("failed"), &*format!("{sentence}\n"))
    );
    assert_eq!(ann.last_message(&build).await, sentence);
    let (build, log) = ann.runs(HILL, steps(&["echo one"])).await;
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("succeeded"), "one\n")
    );
}

#[tokio::test]
async fn a_new_slave_gets_code_from_the_master_and_a_restart_loses_none() {
    let mut farm = Farm::with(&Extra {
        master: "get_project_from_master = False",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    ann.uploads(HILL, &[("text", false, "one\n")]).await;
    assert_eq!(ann.runs(HILL, steps(&["cat text"])).await.1, "one\n");
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(ann.get(HILL).await["has_code"], true);
    farm.stop_slave(0);
    farm.start_slave(1);
    let (build, log) = ann.runs(HILL, steps(&["cat text"])).await;
    assert_eq!(
        (build["last_status"].as_str(), &*log),
        (Some("succeeded"), "one\n")
    );
    // What can not be code changes nothing, and brings no daemon down.
    let inside_git = archive(&[(".git/config", false, "x")]);
    let whole = archive(&[("text", false, &"other\n".repeat(10_000))]);
    for wrong in [&b"no archive"[..], &whole[..whole.len() / 2], &inside_git] {
        let (status, body) = ann.upload(HILL, wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["repo"][0].is_string(), "{body}");
    }
    assert_eq!(ann.runs(HILL, steps(&["cat text"])).await.1, "one\n");
}

#[tokio::test]
async fn uploads_at_once_are_all_recorded_and_code_goes_with_its_project() {
    let farm = Farm::start(&[1]).await;
    let ann = farm.polyaxon_user("ann").await;
    ann.makes_project("hill").await;
    // As large as code may be that is streamed.
    let mut state = 1_u64;
    let mut noise = String::new();
    while noise.len() < 6 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.push_str(&format!("{:08x}", state >> 32));
    }
    ann.uploads(HILL, &[("noise", false, &noise)]).await;
    let newest = ann.download(&format!("{HILL}/repo/download")).await;
    assert!(names(&newest) == [format!("noise 644 {noise}")]);
    let contents = ["a", "b", "c", "d"];
    let uploads = contents.map(|content| {
        let ann = &ann;
        async move { ann.uploads(HILL, &[("text", false, content)]).await }
    });
    futures_util::future::join_all(uploads).await;
    let (build, log) = ann
        .runs(HILL, steps(&["git rev-list --count HEAD; cat text"]))
        .await;
    assert_eq!(build["last_status"], "succeeded", "{log}");
    let (count, text) = log.split_once('\n').unwrap();
    assert_eq!(count, "5");
    assert!(contents.contains(&text.trim()), "{log}");
    let own = farm.path("base/master/own");
    let num_repositories = || std::fs::read_dir(&own).unwrap().count();
    assert_eq!(num_repositories(), 1);
    let (status, body) = ann.ask(Method::DELETE, HILL, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    wait_for("the removal of the code", async || {
        (num_repositories() == 0).then_some(())
    })
    .await;
}
