use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn open(base: &Path, port: u16) -> Result<DataDirectory, DataDirectoryError> {
    DataDirectory::open(base, port, SessionId("s".to_owned()))
}

#[test]
fn two_slaves_share_a_base_but_not_a_directory() {
    let base = tempfile::tempdir().unwrap();
    let first = open(base.path(), 1).unwrap();
    let _second = open(base.path(), 2).unwrap();
    let error = open(base.path(), 1).unwrap_err();
    assert!(error.to_string().contains("slave-1"), "{error}");
    drop(first);
    open(base.path(), 1).unwrap();
}

#[test]
fn what_can_not_be_removed_keeps_no_slave_from_its_start() {
    let base = tempfile::tempdir().unwrap();
    let data = open(base.path(), 1).unwrap();
    data.empty().unwrap();
    let work = data.path().join("work");
    std::fs::write(work.join("another user's"), "x").unwrap();
    let refused = io::Error::from(io::ErrorKind::PermissionDenied);
    data.set_aside(&work, &refused).unwrap();
    assert!(!work.exists());
    let aside = data.path().join("not-removed-work-s");
    assert!(aside.join("another user's").exists());
    data.empty().unwrap();
    assert!(work.is_dir() && aside.is_dir());
}

#[test]
fn what_is_gone_of_it_is_made_anew() {
    let base = tempfile::tempdir().unwrap();
    let data = open(base.path(), 1).unwrap();
    data.empty().unwrap();
    data.mend().unwrap();
    assert!(!data.mend().unwrap());
    std::fs::remove_dir_all(data.path().join("consoles")).unwrap();
    assert!(data.mend().unwrap());
    assert!(data.path().join("consoles").is_dir());
    std::fs::remove_dir_all(base.path()).unwrap();
    assert!(data.mend().unwrap());
    let parts = ["work", "consoles", "repos", "slave.pid"];
    assert!(parts.iter().all(|part| data.path().join(part).exists()));
    // No other process may have it.
    open(base.path(), 1).unwrap_err();
    drop(data);
    assert!(!base.path().join("slave-1/slave.pid").exists());
    open(base.path(), 1).unwrap();
}

#[tokio::test]
async fn one_that_can_not_be_made_anew_is_broken() {
    let parent = tempfile::tempdir().unwrap();
    let base = parent.path().join("base");
    let data = open(&base, 1).unwrap();
    std::fs::remove_dir_all(&base).unwrap();
    std::fs::write(&base, "a file").unwrap();
    data.mend().unwrap_err();
    let reason = data.broken().await;
    assert!(
        reason.contains("slave-1 is gone and can not be made anew"),
        "{reason}"
    );
}

#[test]
fn a_start_keeps_the_mirrors_and_nothing_else() {
    let base = tempfile::tempdir().unwrap();
    let data = open(base.path(), 1).unwrap();
    data.empty().unwrap();
    let stale = data.artifacts(BuildId(1)).join("locked");
    make_private(&stale).unwrap();
    make_private(&data.mirrors().join("kept")).unwrap();
    std::fs::write(stale.join("file"), "x").unwrap();
    std::fs::set_permissions(&stale, std::fs::Permissions::from_mode(0o500)).unwrap();
    drop(data);
    let data = open(base.path(), 1).unwrap();
    data.empty().unwrap();
    assert!(!data.artifacts(BuildId(1)).exists());
    assert!(data.mirrors().join("kept").exists());
}
