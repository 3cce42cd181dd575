//! Builds of what a user has not committed, on a farm that does not see the user's files.

mod faults;
mod hostile;
mod latest;

use crate::farm::{Extra, Farm};
use crate::machine::files_below;
use crate::raw::Raw;
use crate::repository::Repository;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Prints all that is there but for git's own.
const LIST: &str = "List:
  commands:
    - cd \"$PROJECT_DIR\"
    - find . -name .git -prune -o ! -type d -printf '%P %M\\n' | LC_ALL=C sort
    - cat code
    - git log --format=%s
  atomizers: [{N: echo 1}]
";

/// Prints one file.
const CODE: &str = "Code:
  commands: [cat code]
  atomizers: [{N: echo 1}]
";

/// A clone of a repository, which a user works in.
struct Clone {
    upstream: Repository,
    path: PathBuf,
}

impl Clone {
    fn of(farm: &Farm, jobs: &str, files: &[(&str, &str)]) -> Self {
        let upstream = Repository::with_jobs(jobs);
        upstream.commit(files);
        let path = farm.path("clone");
        let clone = Self { upstream, path };
        let (from, to) = (clone.upstream.path(), &clone.path);
        let from = from.to_str().unwrap();
        clone
            .upstream
            .git(&["clone", "--quiet", from, to.to_str().unwrap()]);
        clone
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut whole = vec!["-C", self.path.to_str().unwrap()];
        whole.extend(arguments);
        self.upstream.git(&whole)
    }

    /// All of the repository that a command could change without meaning to.
    fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut state = Vec::new();
        let mut waiting = vec![self.path.join(".git")];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => waiting.push(path),
                    false => state.push((path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        state.sort();
        state
    }
}

/// Builds a directory on a farm as if the farm were elsewhere.
fn build(farm: &Farm, directory: &Path, more: &[&str]) -> Output {
    command(farm, directory, more).output().unwrap()
}

fn command(farm: &Farm, directory: &Path, more: &[&str]) -> Command {
    let mut command = farm.command();
    command
        .args(["build", "--send", "--master-url", &farm.master_address()])
        .args(more)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("USER", "ada")
        .env("TMPDIR", temporary(farm))
        .current_dir(directory);
    command
}

/// Where the command makes what it sends.
fn temporary(farm: &Farm) -> PathBuf {
    let path = farm.path("tmp");
    fs::create_dir_all(&path).unwrap();
    path
}

/// The packs that the master has.
fn packs(farm: &Farm) -> Vec<PathBuf> {
    let files = files_below(&farm.path("base/master/working_trees"));
    let is_pack = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "pack");
    files.into_iter().filter(is_pack).collect()
}

/// Bytes that do not get fewer when they are packed.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..length / 4).flat_map(|_| next().to_be_bytes()).collect()
}

#[track_caller]
fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

async fn printed(farm: &Farm, build: u64) -> String {
    let build = BuildId(build);
    let atoms = farm.atoms(build).await;
    farm.console(build, &atoms[0]).await
}

#[tokio::test]
async fn what_is_not_committed_is_built_and_nothing_else_changes() {
    let farm = Farm::start(&[1]).await;
    let files = [
        ("code", "as committed\n"),
        ("gone", "to be deleted\n"),
        ("script", "#!/bin/sh\n"),
        (".gitignore", "*.ignored\n"),
    ];
    let clone = Clone::of(&farm, LIST, &files);
    clone.write("code", "as changed\n");
    fs::remove_file(clone.path.join("gone")).unwrap();
    let script = clone.path.join("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("code", clone.path.join("link")).unwrap();
    clone.write("secret.ignored", "not for others\n");
    clone.write("new/with a space and \"ä\"", "untracked\n");
    clone.write("binary", [0, 159, 146, 150, 0, 255]);
    clone.write("staged", "in the index\n");
    clone.git(&["add", "staged"]);
    let before = (clone.state(), clone.git(&["status", "--porcelain"]));

    let told = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(told.contains("Sending 7 changed files ("), "{told}");
    let head = clone.git(&["rev-parse", "HEAD"]);
    assert!(
        told.contains(&format!(") on top of {}.", &head[..7])),
        "{told}"
    );
    let expected = "\
.gitignore -rw-r--r--
binary -rw-r--r--
clusterrunner.yaml -rw-r--r--
code -rw-r--r--
link lrwxrwxrwx
new/with a space and \"ä\" -rw-r--r--
script -rwxr-xr-x
staged -rw-r--r--
as changed
Working tree
change
change
";
    assert_eq!(printed(&farm, 1).await, expected);
    let after = (clone.state(), clone.git(&["status", "--porcelain"]));
    assert!(before == after, "the repository was changed");
    assert_eq!(files_below(&temporary(&farm)), Vec::<PathBuf>::new());

    // What the others are told of it.
    let view = farm.client().build(BuildId(1)).await.unwrap();
    let tree = &view.request_params["working_tree"];
    assert_eq!((&tree["base"], &tree["files"]), (&json!(head), &json!(7)));
    assert!(tree["by"].as_str().unwrap().starts_with("ada@"), "{tree}");
    let mut status = farm.command();
    status.args(["status", "1", "--master-url", &farm.master_address()]);
    let status = said(&status.output().unwrap());
    let expected = format!("working tree of {} + 7 files", &head[..7]);
    assert!(status.contains(&expected), "{status}");
}

#[tokio::test]
async fn a_second_build_sends_what_the_first_did_not() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    // Nothing to send: a build of the commit, which is in the remote.
    let same = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(same.contains("Nothing differs from "), "{same}");
    assert_eq!(packs(&farm).len(), 0);

    clone.write("large", noise(400_000, 1));
    let first = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(first.contains("Sending 1 changed file (39"), "{first}");
    clone.write("code", "as changed\n");
    let second = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(second.contains("Sending 2 changed files ("), "{second}");
    assert!(second.contains(" B) on top of"), "{second}");
    assert_eq!(printed(&farm, 3).await, "as changed\n");
    let third = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(
        third.contains("The farm has the working tree of "),
        "{third}"
    );
    assert_eq!(packs(&farm).len(), 2);

    // Committed and not pushed, it is the same to the farm; what was sent is not sent again.
    clone.git(&["add", "--all"]);
    clone.git(&["commit", "--quiet", "--message=mine"]);
    let committed = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(
        committed.contains(" B), which was not pushed."),
        "{committed}"
    );
    let view = farm.client().build(BuildId(5)).await.unwrap();
    assert_eq!(view.commit, Some(clone.git(&["rev-parse", "HEAD"])));

    // All that the mirrors have of it can be made again.
    for made in files_below(&farm.path("base/master")) {
        if made.to_string_lossy().contains(".sent/") {
            fs::remove_file(made).unwrap();
        }
    }
    clone.write("code", "changed again\n");
    clone.git(&["checkout", "--quiet", "--detach"]);
    said(&build(&farm, &clone.path, &["--no-results"]));
    assert_eq!(printed(&farm, 6).await, "changed again\n");
}

#[tokio::test]
async fn what_others_have_elsewhere_is_still_sent() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    // Another branch of the remote has the very file, and a bitmap says so.
    clone.upstream.git(&["checkout", "--quiet", "-b", "other"]);
    clone.upstream.commit(&[("code", "as changed\n")]);
    clone.git(&["fetch", "--quiet"]);
    clone.git(&["repack", "-adbq"]);
    clone.write("code", "as changed\n");
    let mut command = command(&farm, &clone.path, &["--no-results"]);
    // As in a hook of another repository, and with settings that write beside the index.
    clone.git(&["config", "core.splitIndex", "true"]);
    let before = clone.state();
    let elsewhere = clone.upstream.path().join(".git");
    command
        .env("GIT_DIR", &elsewhere)
        .env("GIT_WORK_TREE", "/")
        .env("GIT_INDEX_FILE", "/nowhere");
    said(&command.output().unwrap());
    assert_eq!(printed(&farm, 1).await, "as changed\n");
    assert!(before == clone.state(), "the repository was changed");
}

#[tokio::test]
async fn what_is_not_of_the_repository_is_told_and_not_sent() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(
        &farm,
        LIST,
        &[("code", "as committed\n"), ("outside/code", "x\n")],
    );
    let inner = clone.path.join("inner");
    let (from, to) = (clone.upstream.path(), inner.to_str().unwrap());
    clone
        .upstream
        .git(&["clone", "--quiet", from.to_str().unwrap(), to]);
    clone.git(&["sparse-checkout", "set", "nothing"]);
    clone.write("outside/new", "untracked\n");
    clone.write(".git/info/exclude", "*.secret\n");
    clone.write("a.secret", "not for others\n");
    let told = said(&build(&farm, &clone.path, &["--no-results"]));
    assert!(
        told.contains("not sent are repositories inside of this one: inner/"),
        "{told}"
    );
    assert!(
        told.contains("sent with 1 file that git does not track: outside/new"),
        "{told}"
    );
    let printed = printed(&farm, 1).await;
    assert!(printed.contains("outside/code -rw"), "{printed}");
    assert!(printed.contains("outside/new -rw"), "{printed}");
    assert!(!printed.contains("inner"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");

    // What git can not read is no directory without a repository: nothing would be ignored there.
    fs::write(clone.path.join(".git/HEAD"), "damaged").unwrap();
    let refused = build(&farm, &clone.path, &["--no-results"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{errors}");
    assert!(errors.contains("git rev-parse failed"), "{errors}");
    assert_eq!(packs(&farm).len(), 1);
}

#[tokio::test]
async fn a_directory_without_history_is_sent_whole() {
    let farm = Farm::start(&[1]).await;
    let plain = farm.path("plain");
    fs::create_dir_all(plain.join("sub")).unwrap();
    fs::write(plain.join("clusterrunner.yaml"), CODE).unwrap();
    fs::write(plain.join("code"), "plain\n").unwrap();
    fs::write(plain.join(".gitignore"), "*.ignored\n").unwrap();
    fs::write(plain.join("sub/large.ignored"), noise(200_000, 2)).unwrap();
    let told = said(&build(&farm, &plain, &["--no-results"]));
    assert!(told.contains("Sending 3 files ("), "{told}");
    assert_eq!(printed(&farm, 1).await, "plain\n");
    assert!(!plain.join(".git").exists());

    // The same without a commit, and then without a remote.
    let repository = Repository::empty();
    for (name, content) in [("clusterrunner.yaml", CODE), ("code", "unborn\n")] {
        fs::write(repository.path().join(name), content).unwrap();
    }
    said(&build(&farm, repository.path(), &["--no-results"]));
    assert_eq!(printed(&farm, 2).await, "unborn\n");
    repository.commit(&[("code", "committed\n")]);
    fs::write(repository.path().join("code"), "changed\n").unwrap();
    let told = said(&build(&farm, repository.path(), &["--no-results"]));
    assert!(told.contains("Sending 1 changed file ("), "{told}");
    assert_eq!(printed(&farm, 3).await, "changed\n");

    // It runs again as it was, whatever the directory has now.
    fs::write(repository.path().join("code"), "changed again\n").unwrap();
    let mut retry = farm.command();
    let address = farm.master_address();
    retry.args(["retry", "3", "--no-results", "--master-url", &address]);
    said(&retry.output().unwrap());
    assert_eq!(printed(&farm, 4).await, "changed\n");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_cure() {
    let mut farm = Farm::with(&Extra {
        master: "max_working_tree_bytes = 100000\n",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    clone.write("large", noise(400_000, 3));
    let refused = build(&farm, &clone.path, &["--no-results"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    for part in ["max_working_tree_bytes", ".gitignore"] {
        assert!(errors.contains(part), "{errors}");
    }
    assert_eq!(packs(&farm).len(), 0);
    assert_eq!(farm.client().builds().await.unwrap(), []);
    assert_eq!(files_below(&temporary(&farm)), Vec::<PathBuf>::new());
}

/// What the command prints when it is given this on its standard input.
fn given(farm: &Farm, input: &str, arguments: &[&str]) -> String {
    let mut command = farm.command();
    let command = command.args(arguments);
    let command = command.args(["--master-url", &farm.master_address()]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn users_build_what_they_have_sent_themselves() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, CODE, &[("code", "as committed\n")]);
    clone.write("code", "as changed\n");
    let tokens = ["ada", "bob"].map(|user| {
        let password = "correct horse battery";
        given(
            &farm,
            password,
            &["user", "create", user, "--password-stdin"],
        );
        let create = ["token", "create", "--user", user, "--name", "n", "--role"];
        given(&farm, "", &[&create[..], &["submit"]].concat())
    });
    let elsewhere = farm.path("home/elsewhere");
    let mut of_ada = command(&farm, &clone.path, &["--no-results"]);
    of_ada
        .env("CLUSTERRUNNER_BASE_DIRECTORY", &elsewhere)
        .env("CLUSTERRUNNER_TOKEN", &tokens[0]);
    said(&of_ada.output().unwrap());
    assert_eq!(printed(&farm, 1).await, "as changed\n");
    let view = farm.client().build(BuildId(1)).await.unwrap();
    let request = Value::Object(view.request_params);
    let submit = async |token: &str| {
        let submit = Raw::json("POST", &farm.master_address(), "/v2/builds", &request);
        let proof = vec![("authorization", format!("Bearer {token}"))];
        submit.send(&proof).await
    };
    let of_bob = submit(&tokens[1]).await;
    assert_eq!(of_bob.status, 409, "{of_bob:?}");
    let of_ada = submit(&tokens[0]).await;
    assert_eq!(of_ada.status, 202, "{of_ada:?}");
    // Who may only read sends nothing.
    let create = [
        "token", "create", "--user", "bob", "--name", "r", "--role", "read",
    ];
    let reader = given(&farm, "", &create);
    let path = format!(
        "/v2/working_trees?url=https://h/p&commit={}",
        request["hash"].as_str().unwrap()
    );
    let sent = Raw::json("POST", &farm.master_address(), &path, &Value::Null);
    let sent = sent
        .send(&vec![("authorization", format!("Bearer {reader}"))])
        .await;
    assert_eq!(sent.status, 403, "{sent:?}");
}

#[tokio::test]
async fn each_build_of_a_matrix_is_of_the_working_tree() {
    let farm = Farm::start(&[2]).await;
    let jobs = CODE.to_owned() + "  matrix: {PY: [\"1\", \"2\"]}\n";
    let clone = Clone::of(&farm, &jobs, &[("code", "as committed\n")]);
    clone.write("code", "as changed\n");
    said(&build(&farm, &clone.path, &["--no-results"]));
    for build in [2, 3] {
        assert_eq!(printed(&farm, build).await, "as changed\n");
        let view = farm.client().build(BuildId(build)).await.unwrap();
        assert_eq!(view.request_params["working_tree"]["files"], 1);
    }
}
