//! Secrets that builds are given, and that nobody is shown.

mod forks;
mod names;

use crate::farm::Farm;
use crate::job::{Job, job};
use crate::machine::{Ended, Machine, files_below};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildView;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// No text of these tests has it but as a secret.
fn canary() -> String {
    ["canary", "of", "these+tests/", "7d0f6c3e1b"].join("-")
}

/// The same in base64, and in hex.
fn canaries() -> [Vec<u8>; 3] {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary());
    let hex: String = canary().bytes().map(|byte| format!("{byte:02x}")).collect();
    [canary().into_bytes(), base64.into_bytes(), hex.into_bytes()]
}

#[track_caller]
fn has_none(what: &str, bytes: &[u8]) {
    for canary in canaries() {
        let is_there = bytes.windows(canary.len()).any(|part| part == canary);
        assert!(
            !is_there,
            "{what} has a secret:\n{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// No file below a directory has it: journal, results, logs, work trees.
fn no_file_has_it(directory: &Path) {
    for file in files_below(directory) {
        has_none(
            &file.display().to_string(),
            &std::fs::read(&file).unwrap_or_default(),
        );
    }
}

/// Runs `clusterrunner secret` with this input.
fn run(mut command: Command, arguments: &[&str], input: &str) -> Ended {
    command.arg("secret").args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ended: Ended = child.wait_with_output().unwrap().into();
    has_none("the command", ended.stdout.as_bytes());
    has_none("the command", ended.stderr.as_bytes());
    ended
}

/// `clusterrunner secret` for a farm.
fn secret(farm: &Farm, arguments: &[&str], input: &str) -> Ended {
    let master = farm.master_address();
    let arguments = [arguments, &["--master-url", &master]].concat();
    let ended = run(farm.command(), &arguments, input);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:#?}");
    ended
}

/// The project of a repository, as commands name it.
fn project(repository: &Repository) -> String {
    repository.path().display().to_string()
}

/// Fails unless it finds the canary in the variable and in the file. Prints it in many ways, and looks for it in the command
/// lines of all processes.
const LOOKS: &str = r#"test "$(printf %s "$API_TOKEN" | sha256sum | cut -c1-64)" = "$DIGEST" || exit 3
test "$(cat "$KEY_FILE")" = "$API_TOKEN" && test "$(stat -c %a "$KEY_FILE" "$(dirname "$KEY_FILE")" | xargs)" = "600 700" || exit 4
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -a -q -F -f "$KEY_FILE" && exit 5
echo "plain $API_TOKEN."
printf '%s' "${API_TOKEN%%-*}"; sleep 0.2; echo "-${API_TOKEN#*-}"
printf '%s' "$API_TOKEN" | base64; printf 'user:%s' "$API_TOKEN" | base64 -w 20; printf '%s' "$API_TOKEN" | od -An -tx1 | tr -d ' \n'
cat "$KEY_FILE" >&2; set -x; : "$API_TOKEN""#;

fn looking() -> Job {
    let mut sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin
        .take()
        .unwrap()
        .write_all(canary().as_bytes())
        .unwrap();
    let summed = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    let digest = &summed[..64];
    let report = r#"printf '<testsuite><testcase name="t %s"><failure message="%s"/></testcase></testsuite>' "$API_TOKEN" "$API_TOKEN" > "$ARTIFACT_DIR/junit.xml""#;
    job("bash looks.sh")
        .then(report)
        .atoms(1)
        .with("secrets", json!(["API_TOKEN", "KEY_FILE"]))
        .with("env", json!({"DIGEST": digest}))
}

fn repository_of(job: &Job) -> Repository {
    let repository = Repository::empty();
    repository.commit(&[
        ("looks.sh", LOOKS),
        ("clusterrunner.yaml", &job.to_string()),
    ]);
    repository
}

fn set_both(farm: &Farm, project: &str) {
    secret(
        farm,
        &["set", project, "API_TOKEN"],
        &format!("{}\n", canary()),
    );
    secret(farm, &["set", project, "KEY_FILE", "--file"], &canary());
}

async fn no_answer_has_it(farm: &Farm, build: &BuildView) {
    let client = farm.client();
    for path in [
        "",
        "/steps",
        "/atoms",
        "/subjobs",
        "/explanation",
        "/tests",
        "/plan",
    ] {
        let path = format!("/v2/builds/{}{path}", build.id);
        let answer: serde_json::Value = client.read(&path).await.unwrap();
        has_none(&path, answer.to_string().as_bytes());
    }
    for path in [
        "/v2/secrets",
        "/v2/audit?limit=1000",
        "/v2/eventlog",
        "/v2/projects",
    ] {
        let answer: serde_json::Value = client.read(path).await.unwrap();
        has_none(path, answer.to_string().as_bytes());
    }
    for console in farm.consoles(build.id).await {
        has_none("a console", console.as_bytes());
    }
    let master = farm.master_address();
    let mut logs = farm.command();
    logs.args([
        "logs",
        &build.id.to_string(),
        "--raw",
        "--master-url",
        &master,
    ]);
    has_none("logs", &logs.output().unwrap().stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_finds_its_secrets_and_prints_none() {
    let job = looking()
        .setup("echo \"set-up $API_TOKEN\" && cat \"$KEY_FILE\"")
        .teardown("echo \"teardown $API_TOKEN\"; exit 7");
    let repository = repository_of(&job);
    let mut farm = Farm::start(&[1]).await;
    let project = project(&repository);
    // Its error says what helps.
    let failed = farm.run(&repository.request()).await;
    let failed = failed.errs(&[
        "asks for the secret API_TOKEN",
        "clusterrunner secret set clusterrunner/",
    ]);
    assert_eq!(failed.num_atoms, None);
    set_both(&farm, &project);
    let build = farm.run(&repository.request()).await.passes();
    let console = farm.consoles(build.id).await.remove(0);
    assert!(console.starts_with("plain ***.\n***\n***\n"), "{console}");
    assert!(console.contains("+ : ***"), "{console}");
    let after = wait_for("a warning of the teardown", async || {
        let view = farm.client().build(build.id).await.unwrap();
        (!view.warnings.is_empty()).then_some(view)
    })
    .await;
    let is_masked = |warning: &String| warning.contains("teardown ***");
    assert!(after.warnings.iter().any(is_masked), "{after:#?}");
    farm.wait_for_rest().await;
    no_answer_has_it(&farm, &after).await;
    let path = format!("/v2/builds/{}/tests", build.id);
    let tests: serde_json::Value = farm.client().read(&path).await.unwrap();
    assert_eq!(tests["tests"][0]["name"], "t ***", "{tests}");

    // The value counts as it is when a slave is told.
    let listed = secret(&farm, &["list", &project], "").stdout;
    let line = |name: &str| {
        listed
            .lines()
            .find(|line| line.contains(name))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("API_TOKEN").contains("variable") && line("KEY_FILE").contains("file"),
        "{listed}"
    );
    secret(&farm, &["set", &project, "API_TOKEN"], "another-value");
    farm.run(&repository.request()).await.fails(&[(1, 3)]);
    secret(&farm, &["remove", &project, "API_TOKEN"], "");
    farm.run(&repository.request())
        .await
        .errs(&["asks for the secret API_TOKEN"]);
    let audit = farm.client().audit(None, 1000).await.unwrap().entries;
    let asked = |what: &str| {
        audit
            .iter()
            .filter(|entry| entry.what.contains(what))
            .count()
    };
    assert_eq!(
        (
            asked("secret API_TOKEN set"),
            asked("secret API_TOKEN removed")
        ),
        (2, 1),
        "{audit:#?}"
    );

    // It outlives a killed master, and lies nowhere in clear text.
    set_both(&farm, &project);
    farm.kill_master();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.run(&repository.request()).await.passes();
    farm.wait_for_rest().await;
    no_file_has_it(&farm.path("base"));
    has_none("the master's output", farm.output("master").as_bytes());
    has_none("the slave's output", farm.output("slave 0").as_bytes());
    let archive = Command::new("sh")
        .args([
            "-c",
            "cat \"$0\"/*/* | gzip -dc 2>/dev/null",
            &farm.path("base/master/results").display().to_string(),
        ])
        .output()
        .unwrap();
    // What an atom leaves as a file is as the atom wrote it, and nothing else has it.
    let archive = String::from_utf8_lossy(&archive.stdout).replace(&reported(), "");
    has_none("results", archive.as_bytes());
}

/// What `looking` writes into its report, which is an artifact.
fn reported() -> String {
    let canary = canary();
    format!("<testcase name=\"t {canary}\"><failure message=\"{canary}\"/>")
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_batches_and_cached_set_ups_leak_none() {
    let farm = Farm::start(&[1]).await;
    let forms = [
        looking().atoms(3).with("worker", "bash"),
        Job::empty()
            .with("atomizers", json!([{"N": "seq 1 3"}]))
            .with(
                "batch_command",
                "bash looks.sh && for n in $ATOMS; do echo \"ok $n - $API_TOKEN\"; done",
            )
            .with("secrets", json!(["API_TOKEN", "KEY_FILE"]))
            .with("env", looking().field("env").clone()),
        // What is kept of a set-up for others can have none, since the set-up has none.
        looking()
            .setup("test -z \"$API_TOKEN$KEY_FILE\" && mkdir -p made && env > made/env")
            .with("cache", json!({"paths": ["made"], "key": ["looks.sh"]})),
    ];
    for form in forms {
        let repository = repository_of(&form);
        farm.run(&repository.request()).await;
        set_both(&farm, &project(&repository));
        let build = farm.run(&repository.request()).await.passes();
        no_answer_has_it(&farm, &build).await;
    }
    farm.wait_for_rest().await;
    no_file_has_it(&farm.path("base"));
}

/// Passes where no secret is given.
fn without() -> Job {
    job("test -z \"$API_TOKEN\"")
        .atoms(1)
        .with("secrets", json!(["API_TOKEN"]))
}

#[test]
fn another_secret_of_the_farm_opens_none() {
    let jobs = format!("{}", without());
    let machine = Machine::new(&jobs);
    let failed = machine.run(&["build"]);
    assert!(
        failed
            .stdout
            .contains("clusterrunner secret set clusterrunner/project API_TOKEN"),
        "{failed:#?}"
    );
    for (value, why) in [("short", "8 bytes"), ("", "no value")] {
        let refused = run(
            machine.command(&[]),
            &["set", "project", "API_TOKEN"],
            value,
        );
        assert!(
            refused.code == Some(2) && refused.stderr.contains(why),
            "{refused:#?}"
        );
    }
    let set = run(
        machine.command(&[]),
        &["set", "project", "API_TOKEN"],
        &canary(),
    );
    assert_eq!(set.code, Some(0), "{set:#?}");
    assert_eq!(machine.run(&["build"]).code, Some(1));
    machine.run_to(0, &["stop"]);
    let file = machine.path("base/clusterrunner.conf");
    let settings = std::fs::read_to_string(&file).unwrap();
    let is_secret = |line: &&str| line.starts_with("secret ");
    let line = settings.lines().find(is_secret).unwrap();
    let other = settings.replace(line, "secret = another secret of this farm");
    std::fs::write(&file, other).unwrap();
    let failed = machine.run(&["build"]);
    assert!(
        failed
            .stdout
            .contains("was set under another secret of the farm"),
        "{failed:#?}"
    );
    let listed = machine.run_to(0, &["secret", "list"]);
    assert!(
        listed
            .stderr
            .contains("was set under another secret of the farm"),
        "{listed:#?}"
    );
    let looked = machine.run_to(1, &["doctor"]);
    assert!(
        looked
            .stdout
            .contains("builds can not be given API_TOKEN of clusterrunner/project"),
        "{looked:#?}"
    );
    // The former secret opens it; nothing else does.
    for (former, opens, said) in [
        ("short", false, "former_secret"),
        (
            "a secret that nobody has guessed",
            false,
            "neither secret opens",
        ),
        (line.split_once('=').unwrap().1, true, "1 values are sealed"),
        (line.split_once('=').unwrap().1, true, "0 values are sealed"),
    ] {
        let sealed = run(machine.command(&[]), &["rekey"], former);
        let printed = format!("{}{}", sealed.stdout, sealed.stderr);
        assert!(printed.contains(said), "{former}: {sealed:#?}");
        assert_eq!(sealed.code == Some(0), opens, "{former}: {sealed:#?}");
    }
    assert_eq!(machine.run(&["build"]).code, Some(1));
    let set = run(
        machine.command(&[]),
        &["set", "project", "API_TOKEN"],
        &canary(),
    );
    assert_eq!(set.code, Some(0), "{set:#?}");
    assert_eq!(machine.run(&["build"]).code, Some(1));
    machine.run_to(0, &["stop"]);
    no_file_has_it(&machine.path("base"));
    let values = std::fs::read_dir(machine.path("base/master/secrets"))
        .unwrap()
        .count();
    assert_eq!(values, 1, "the old value is gone");
}
