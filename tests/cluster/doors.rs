//! What strangers may try with names, links, pipes, modes and addresses: each story ends as if nothing
//! had been tried, or with a message that says what is refused.

use crate::archives::{Member, tar_of};
use crate::farm::{Extra, Farm, object};
use crate::job::job;
use crate::repository::Repository;
use clusterrunner_common::text::printable::is_obeyed;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

fn one_atom() -> Repository {
    Repository::of(&job("echo on").atoms(1))
}

/// The message of a build that must end in an error.
async fn error_of(farm: &Farm, request: &Value) -> String {
    farm.run(request).await.errs(&[]).0.error_message.unwrap()
}

#[tokio::test]
async fn no_link_among_artifacts_leads_out_by_way_of_another() {
    let farm = Farm::start(&[1]).await;
    let links = job("cd $ARTIFACT_DIR; mkdir d; ln -s . l; ln -s l/l/../../etc/passwd x")
        .then("ln -s d/../l kept; mkfifo pipe");
    let build = farm.runs(&links.atoms(1)).await;
    let members = tar_of(&farm, build.id).await;
    let member = |name: &str| members.get(&format!("./artifact_0_0/{name}"));
    assert_eq!(member("l"), Some(&Member::Link(".".to_owned())));
    assert_eq!(member("kept"), Some(&Member::Link("d/../l".to_owned())));
    assert_eq!((member("x"), member("pipe")), (None, None));
}

#[tokio::test]
async fn a_job_file_that_is_a_link_shows_nothing_from_elsewhere() {
    let farm = Farm::start(&[1]).await;
    let elsewhere = farm.path("shadow");
    fs::write(&elsewhere, "root:$6$hidden:19000::::\n").unwrap();
    let repository = Repository::empty();
    symlink(&elsewhere, repository.path().join("clusterrunner.yaml")).unwrap();
    repository.commit(&[("README", "")]);
    let directory = json!({"type": "directory", "project_directory": repository.path()});
    for request in [repository.request(), directory] {
        let message = error_of(&farm, &request).await;
        assert!(message.contains("leads out of its project"), "{message}");
        assert!(!message.contains("hidden"), "{message}");
    }
}

#[tokio::test]
async fn a_message_of_megabytes_is_kept_by_its_ends() {
    let farm = Farm::start(&[1]).await;
    let command = format!("false {} the end", "x".repeat(2_800_000));
    let repository = Repository::of(&job("true").atomizer(command));
    let message = error_of(&farm, &repository.request()).await;
    assert!(message.len() < 20_000, "{}", message.len());
    assert!(message.starts_with("Atomizer command failed!"));
    assert!(message.contains("bytes left out") && message.contains("the end"));
}

/// Whatever lies below a directory and others may write to.
fn open_to_others(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_symlink() && metadata.permissions().mode() & 0o022 != 0 {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_open_to_others_whatever_the_umask() {
    let mut farm = Farm::new();
    for daemon in ["master", "slave 0"] {
        let wrapper = ["sh", "-c", "umask 000; exec \"$@\"", "sh"];
        farm.wrap(daemon, wrapper.map(str::to_owned).to_vec());
    }
    farm.start_all(&[1]).await;
    let job = job("umask")
        .then("echo > $ARTIFACT_DIR/left")
        .setup("umask");
    let build = farm.runs(&job.atomizer("umask")).await;
    let atoms = farm.atoms(build.id).await;
    // Commands have the umask that the daemons were started with.
    assert_eq!(atoms[0].command_string, "export N=\"0000\";");
    assert_eq!(farm.console(build.id, &atoms[0]).await, "0000\n");
    assert_eq!(open_to_others(&farm.path("base")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_pipe_in_a_repository_ends_its_build() {
    let farm = Farm::start(&[1]).await;
    let repository = one_atom();
    repository.git(&["pack-refs", "--all"]);
    let refs = repository.path().join(".git/packed-refs");
    fs::remove_file(&refs).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &refs, kind, mode, 0).unwrap();
    let message = error_of(&farm, &repository.request()).await;
    assert!(message.contains("packed-refs is a pipe"), "{message}");
    farm.works().await;
}

#[tokio::test]
async fn remote_files_reach_no_private_address_unless_it_is_allowed() {
    let farm = Farm::start(&[1]).await;
    let repository = one_atom();
    let with_file = |url: &str| repository.request_with(json!({"remote_files": {"file": url}}));
    let own = format!("http://{}/v1/version", farm.master_address());
    let refused = farm.client().submit_params(&object(&with_file(&own))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.status().map(|s| s.as_u16()), Some(400), "{refused}");
    assert!(
        refused.to_string().contains("remote_files_allow"),
        "{refused}"
    );
    let by_name = error_of(
        &farm,
        &with_file("http://me:hidden@localhost:1/x?token=hidden"),
    )
    .await;
    assert!(
        by_name.contains("is not public") && !by_name.contains("hidden"),
        "{by_name}"
    );

    let mut open = Farm::with(&Extra {
        general: "remote_files_allow = 127.0.0.0/8",
        ..Extra::default()
    });
    open.start_all(&[1]).await;
    let own = format!("http://{}/v1/version", open.master_address());
    open.run(&with_file(&own)).await.passes();
}

/// What a request says goes to the logs of both daemons.
#[tokio::test]
async fn no_line_of_a_log_is_forged_and_no_terminal_obeys_it() {
    let farm = Farm::start(&[1]).await;
    let hostile = "x\n2026-01-01T00:00:00.000000Z  INFO forged\u{1b}[2J\u{9b}31m\u{202e}\r\u{8}";
    let nowhere = json!({"type": "directory", "project_directory": format!("/tmp/{hostile}")});
    error_of(&farm, &nowhere).await;
    let printed = "printf 'x\\n2026-01-01T00:00:00Z  INFO forged\\033[2J\\n'; exit 1";
    for job in [
        json!({"commands": ["true"], "atomizers": [{"N": printed}]}),
        json!({"commands": ["true"], "setup_build": [printed], "atomizers": [{"N": "echo 1"}]}),
    ] {
        let directory = farm.path("base");
        error_of(
            &farm,
            &json!({"type": "directory", "project_directory": directory, "config": job, "job_name": hostile}),
        )
        .await;
    }
    let mut logs = vec![farm.output("master"), farm.output("slave 0")];
    for entry in fs::read_dir(farm.path("base/log")).unwrap() {
        logs.push(fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    for log in logs {
        let is_stray = |character: char| is_obeyed(character) && character != '\n';
        assert!(!log.contains(is_stray), "{log}");
        assert!(
            !log.lines().any(|line| line.starts_with("2026-01-01")),
            "{log}"
        );
    }
}
