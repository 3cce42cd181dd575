//! Users and tokens on a whole farm, with the real command.

use crate::farm::{Extra, Farm};
use crate::json_schema::Schema;
use crate::raw::{Answer, Raw};
use crate::repository::Repository;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "correct horse battery";

const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/terminal.py");

const JOB: &str = "Job:\n  commands: [echo atom $N]\n  atomizers: [{N: seq 1 2}]\n";

const WAITING: &str = "Job:\n  commands: [sleep 300]\n  atomizers: [{N: seq 1 2}]\n";

fn guarded() -> Farm {
    Farm::with(&Extra {
        general: "require_signed_reads = True",
        master: "registration = closed",
        ..Extra::default()
    })
}

impl Farm {
    /// Runs the command with this on its standard input.
    fn given(&self, input: &str, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command
            .args(arguments)
            .args(["--master-url", &self.master_address()]);
        ended(command, input)
    }

    /// As [`Farm::given`], on a machine that has no settings of the farm, with a token.
    fn elsewhere(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command
            .env("CLUSTERRUNNER_BASE_DIRECTORY", self.path("home/elsewhere"))
            .env("CLUSTERRUNNER_TOKEN", token)
            .args(arguments)
            .args(["--master-url", &self.master_address()]);
        ended(command, "")
    }

    fn create_user(&self, name: &str, more: &[&str]) {
        let create = ["user", "create", name, "--password-stdin"];
        check(&self.given(PASSWORD, &[&create[..], more].concat()), 0);
    }

    fn create_token(&self, user: &str, role: &str) -> String {
        let create = [
            "token", "create", "--user", user, "--name", role, "--role", role,
        ];
        let output = self.given("", &create);
        check(&output, 0).trim().to_owned()
    }

    async fn read_as(&self, token: &str, path: &str) -> Answer {
        let read = Raw::json("GET", &self.master_address(), path, &Value::Null);
        read.send(&vec![("authorization", format!("Bearer {token}"))])
            .await
    }
}

fn ended(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

/// The standard output of a command that ended with this code.
#[track_caller]
fn check(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn users_and_tokens_are_there_after_a_crash() {
    let mut farm = guarded();
    farm.start_master().await;
    farm.create_user("ann", &["--email", "ann@example.org"]);
    farm.create_user("root", &["--superuser"]);
    farm.create_user("bob", &[]);
    let (ann, root) = (
        farm.create_token("ann", "submit"),
        farm.create_token("root", "admin"),
    );
    check(&farm.given("", &["user", "delete", "bob"]), 0);
    farm.kill_master();
    farm.start_master().await;
    let listed = check(&farm.given("", &["user", "list", "--json"]), 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let names = listed["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["ann", "root"]);
    assert_eq!(
        farm.read_as(&ann, "/v2/users/ann").await.body["user"]["email"],
        "ann@example.org"
    );
    // A superuser manages the farm's users from elsewhere.
    let table = check(&farm.elsewhere(&root, &["user", "list"]), 0);
    assert!(
        table.contains("ann@example.org") && table.contains("superuser"),
        "{table}"
    );
    let refused = farm.elsewhere(&ann, &["user", "delete", "root"]);
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("Only superusers"),
        "{refused:?}"
    );

    let tokens = check(&farm.given("", &["token", "list"]), 0);
    assert!(
        tokens.contains("submit") && !tokens.contains(&ann),
        "{tokens}"
    );
    check(&farm.elsewhere(&root, &["token", "revoke", "1"]), 0);
    let answer = farm.read_as(&ann, "/v1/build").await;
    assert_eq!(
        (answer.status, answer.error().contains("active user")),
        (401, true),
        "{answer:?}"
    );
    let log = farm.output("master") + &all_logs(&farm);
    for secret in [PASSWORD, &ann, &root, "$argon2"] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

fn all_logs(farm: &Farm) -> String {
    let logs = std::fs::read_dir(farm.path("base/log")).unwrap();
    let read = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path()).unwrap_or_default();
    logs.map(|entry| read(entry.unwrap())).collect()
}

#[tokio::test]
async fn a_user_builds_from_a_machine_without_the_secret() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = guarded();
    farm.start_all(&[1]).await;
    farm.create_user("ann", &[]);
    farm.create_user("bob", &[]);
    let ann = farm.create_token("ann", "submit");
    let url = format!("file://{}", repository.path().display());
    let build = ["build", "--no-results", "git", "--url", &url];
    let shown = check(&farm.elsewhere(&ann, &build), 0);
    assert!(shown.contains("Build 1"), "{shown}");
    let logs = check(&farm.elsewhere(&ann, &["logs", "1", "0_0"]), 0);
    assert_eq!(logs, "atom 1\n");
    let one = check(&farm.elsewhere(&ann, &["status", "1"]), 0);
    assert!(one.contains("\n  user      ann\n"), "{one}");
    let status = check(&farm.elsewhere(&ann, &["status"]), 0);
    assert!(status.contains("passed"), "{status}");
    assert!(
        !farm.path("home/elsewhere/clusterrunner.conf").exists(),
        "no secret is made there"
    );

    // Others see the build and may not stop it; its user may.
    repository.commit(&[("clusterrunner.yaml", WAITING)]);
    check(
        &farm.elsewhere(&ann, &[&build[..], &["--detach"]].concat()),
        0,
    );
    farm.wait_for_build(BuildId(2), "runs", |view| view.num_atoms_in_progress > 0)
        .await;
    let bob = farm.create_token("bob", "admin");
    let read = farm.create_token("ann", "read");
    for token in [&bob, &read] {
        let refused = farm.elsewhere(token, &["cancel", "2"]);
        assert_ne!(refused.status.code(), Some(0), "{refused:?}");
        check(&farm.elsewhere(token, &["status", "2"]), 0);
    }
    check(&farm.elsewhere(&ann, &["cancel", "2"]), 0);
    farm.end_of(BuildId(2)).await;
    let refused = farm.elsewhere(&read, &build);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_asked() {
    let mut farm = guarded();
    farm.start_master().await;
    let told = |output: &Output, code: i32, text: &str| {
        check(output, code);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(text), "{told}");
    };
    let create = |name| ["user", "create", name, "--password-stdin"];
    told(&farm.given(PASSWORD, &create("two words")), 2, "letters");
    told(&farm.given("", &create("ann")), 2, "no password");
    told(
        &farm.given("short", &create("ann")),
        2,
        "at least 8 characters",
    );
    told(
        &farm.given(PASSWORD, &create("binder")),
        2,
        "is not for users",
    );
    told(
        &farm.given(PASSWORD, &["user", "create", "ann"]),
        2,
        "--password-stdin",
    );
    farm.create_user("ann", &[]);
    told(
        &farm.given(PASSWORD, &create("Ann")),
        2,
        "A user named Ann exists",
    );
    told(&farm.given("", &["user", "change", "ann"]), 2, "required");
    told(
        &farm.given("", &["user", "delete", "bob"]),
        2,
        "There is no user named bob",
    );
    let unknown = ["token", "create", "--user", "bob", "--name", "x"];
    for words in [
        "There is no user named bob",
        "clusterrunner user create NAME",
    ] {
        told(&farm.given("", &unknown), 2, words);
    }
    told(
        &farm.given("", &["token", "create", "--name", "x"]),
        2,
        "'user'",
    );
    told(&farm.given("", &["token", "revoke", "9"]), 2, "oken 9");
    told(
        &farm.elsewhere("two words", &["status"]),
        2,
        "CLUSTERRUNNER_TOKEN",
    );
    told(
        &farm.elsewhere("0123456789", &["status"]),
        5,
        "clusterrunner token create",
    );
}

#[tokio::test]
async fn a_password_is_asked_for_twice_and_not_shown() {
    let mut farm = guarded();
    farm.start_master().await;
    let typed = |first: &str, second: &str| {
        let create = farm.command();
        let mut command = Command::new("python3");
        let master = farm.master_address();
        command
            .args([TERMINAL, "job"])
            .arg(create.get_program())
            .args(["user", "create", "ann", "--master-url", &master])
            .env_clear()
            .envs(
                create
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let mut stdin = program.stdin.take().unwrap();
        let (mut stdout, mut shown) = (program.stdout.take().unwrap(), String::new());
        for (question, answer) in [
            ("New password of ann: ", first),
            ("The same again: ", second),
        ] {
            let mut some = [0; 4096];
            while !shown.contains(question) {
                let length = stdout.read(&mut some).unwrap();
                assert_ne!(length, 0, "{shown}");
                shown.push_str(&String::from_utf8_lossy(&some[..length]));
            }
            stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        stdout.read_to_string(&mut shown).unwrap();
        drop(stdin);
        (program.wait().unwrap().code(), shown)
    };
    let (code, shown) = typed(PASSWORD, "another one");
    assert_eq!((code, shown.contains("differ")), (Some(2), true), "{shown}");
    let (code, shown) = typed(PASSWORD, PASSWORD);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("Created the user ann") && !shown.contains(PASSWORD),
        "{shown}"
    );
}

#[tokio::test]
async fn a_stranger_registers_where_that_is_open_and_owns_builds() {
    let repository = Repository::with_jobs(JOB);
    // Its address is one of loopback, so it is open.
    let farm = Farm::start(&[1]).await;
    let master = farm.master_address();
    let body = json!({"name": "ann", "password": PASSWORD});
    let register = Raw::json("POST", &master, "/v2/users", &body);
    assert_eq!(register.send(&Vec::new()).await.status, 201);
    let token = farm.create_token("ann", "submit");
    let submit = Raw::json("POST", &master, "/v1/build", &repository.request());
    let bearer = vec![("authorization", format!("Bearer {token}"))];
    let accepted = submit.send(&bearer).await;
    assert_eq!(
        (accepted.status, &accepted.body["build_id"]),
        (202, &json!(1))
    );
    assert_eq!(submit.send(&Vec::new()).await.status, 401);
    farm.end_of(BuildId(1)).await;
}

/// Logs in as Polyaxon's command line does.
async fn log_in(farm: &Farm, password: &str) -> Answer {
    let form = format!("username=ann&password={}", password.replace(' ', "+"));
    let log_in = Raw {
        method: "POST",
        server: farm.master_address(),
        path: "/api/v1/users/token/".to_owned(),
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        body: form.into_bytes(),
    };
    log_in.send(&Vec::new()).await
}

#[tokio::test]
async fn one_account_works_for_all_apis_and_guesses_are_limited() {
    let mut farm = guarded();
    farm.start_master().await;
    farm.create_user("ann", &[]);
    let answer = log_in(&farm, PASSWORD).await;
    let token = answer.body["token"].as_str().unwrap().to_owned();
    // A new life of the master, and the same token.
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(log_in(&farm, PASSWORD).await.body["token"], token);
    let seen = farm.read_as(&token, "/v2/users").await;
    assert_eq!(seen.body["caller"], "ann");
    let seen = farm.read_as(&token, "/api/v1/users").await;
    assert_eq!(seen.body["username"], "ann");
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(log_in(&farm, "a guess").await.status);
    }
    assert_eq!(statuses[..10], [400; 10]);
    assert_eq!(statuses[10], 429);
    assert_eq!(
        log_in(&farm, PASSWORD).await.status,
        429,
        "also the right one"
    );
    // Who has a token is not kept out, and an operator is not either.
    assert_eq!(farm.read_as(&token, "/v2/users").await.status, 200);
    check(
        &farm.given(
            "another password",
            &["user", "passwd", "ann", "--password-stdin"],
        ),
        0,
    );
    // Of ten guesses the first and the tenth are told, and where they came from.
    let told = check(&farm.given("", &["audit", "--by", "nobody"]), 0);
    let failed: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("failed"))
        .collect();
    assert_eq!(failed.len(), 2, "{told}");
    assert!(
        failed[0].contains("10 sign-ins have failed within an hour, the latest as user 1"),
        "{told}"
    );
    assert!(
        failed.iter().all(|line| line.contains("127.0.0.1")),
        "{told}"
    );
    let renewed = check(&farm.given("", &["token", "renew", "--user", "ann"]), 0);
    assert_eq!(farm.read_as(&token, "/v2/users").await.status, 401);
    assert_eq!(farm.read_as(renewed.trim(), "/v2/users").await.status, 200);
}

#[tokio::test]
async fn what_is_made_is_told_in_json() {
    let farm = Farm::start(&[]).await;
    let schema = Schema::documented();
    let made = |form: &str, input: &str, line: &[&str]| -> Value {
        let output = farm.given(input, &[line, &["--json"]].concat());
        let printed: Value = serde_json::from_str(&check(&output, 0)).unwrap();
        schema.check(form, &printed).unwrap();
        printed
    };
    let create = ["user", "create", "ann", "--password-stdin"];
    let user = made("user_create", PASSWORD, &create);
    assert_eq!(user["user"]["name"], "ann");
    let create = ["token", "create", "--user", "ann", "--name", "ci"];
    let token = made("token_create", "", &create);
    let text = token["text"].as_str().unwrap();
    assert_eq!(farm.read_as(text, "/v1/build").await.status, 200);
    // The lists show neither passwords nor tokens.
    for (form, line) in [
        ("user_list", ["user", "list"]),
        ("token_list", ["token", "list"]),
    ] {
        let listed = made(form, "", &line).to_string();
        assert!(
            !listed.contains(text) && !listed.contains(PASSWORD),
            "{listed}"
        );
    }
}
