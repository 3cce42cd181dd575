//! Builds of git repositories.

use crate::fake_master::FakeMaster;
use crate::test_slave::{TestSlave, job};
use clusterrunner_common::api::SlaveState;

/// Runs git in a directory; returns what it prints.
fn git(directory: &std::path::Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"];
    let output = std::process::Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_git_build_runs_at_exactly_its_commit_in_a_work_tree_of_its_own() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    let repository = tempfile::tempdir().unwrap();
    let commit_with = |content: &str| {
        std::fs::create_dir_all(repository.path().join("sub")).unwrap();
        std::fs::write(repository.path().join("sub/file"), content).unwrap();
        git(repository.path(), &["add", "."]);
        git(repository.path(), &["commit", "-q", "-m", content]);
        git(repository.path(), &["rev-parse", "HEAD"])
    };
    git(repository.path(), &["init", "-q", "-b", "main"]);
    let (old, new) = (commit_with("old"), commit_with("new"));
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), "remote").unwrap();
    for (build, commit) in [(1, &old), (2, &new)] {
        let mut body = slave.setup_body(job(Some("touch set_up"), None));
        body["project_type_params"] = serde_json::json!({
            "type": "git",
            "url": repository.path(),
            "branch": "main",
            "project_directory": "sub",
            "remote_files": {"fetched": format!("file://{}", source.path().display())},
        });
        body["commit"] = commit.as_str().into();
        slave
            .send(&format!("/v1/build/{build}/setup"), &body)
            .await
            .unwrap();
    }
    for build in [1, 2] {
        let atom = "cat file fetched; pwd; ls; git rev-parse HEAD 2> /dev/null";
        slave.start_subjob(build, 0, 1, &[atom]).await.unwrap();
    }
    master.hears_result(2).await;
    for result in master.results() {
        let (content, commit) = if result.build == 1 {
            ("old", &old)
        } else {
            ("new", &new)
        };
        let project = slave.data.join(format!("work/{}/sub", result.build));
        let expected = format!(
            "{content}remote{}\nfetched\nfile\nset_up\n{commit}\n",
            project.display()
        );
        assert_eq!(
            result.text("artifact_0_0/clusterrunner_console_output"),
            expected
        );
    }
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    assert!(!slave.data.join("work/1").exists() && slave.data.join("work/2").exists());

    // A commit that is nowhere, and a directory that is not in the commit.
    for (build, commit, directory, said) in [
        (
            3,
            "0123456789012345678901234567890123456789",
            "sub",
            "there is no commit 0123",
        ),
        (4, old.as_str(), "none", "there is no directory \"none\""),
    ] {
        let mut body = slave.setup_body(job(None, None));
        body["project_type_params"] = serde_json::json!({
            "type": "git", "url": repository.path(), "project_directory": directory,
        });
        body["commit"] = commit.into();
        slave
            .send(&format!("/v1/build/{build}/setup"), &body)
            .await
            .unwrap();
        let reason = master
            .hears_state(SlaveState::SetupFailed, build)
            .await
            .unwrap();
        assert!(reason.contains(said), "{reason}");
    }
    slave.end().await;
}
