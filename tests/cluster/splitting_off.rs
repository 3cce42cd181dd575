//! Processes for builds are split off from one that has started once: builds do not depend on it.

use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use rustix::process::Signal;
use std::fs;

/// The process that processes are split off from which prepare builds; not these themselves, which are called the same: it
/// has started none, and leads the session that it was started in.
async fn nursery_of(master: u32) -> u32 {
    let is_nursery = |id: &u32| {
        let read = |name| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
        let stat = read("stat");
        let Some((_, fields)) = stat.rsplit_once(") ") else {
            return false;
        };
        let parent = fields.split(' ').nth(1).and_then(|id| id.parse().ok());
        let arguments = read("cmdline");
        let threads = fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
        parent == Some(master) && arguments.contains("prepare-build\0split-off") && threads == 1
    };
    wait_for("there is something to split off from", async || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found: Vec<u32> = ids.filter(is_nursery).collect();
        (found.len() == 1).then(|| found[0])
    })
    .await
}

#[tokio::test]
async fn builds_go_on_when_what_their_processes_are_split_off_from_is_killed() {
    let farm = Farm::start(&[1]).await;
    let master = farm.master_process();
    farm.works().await;
    let first = nursery_of(master).await;
    farm.works().await;
    assert_eq!(nursery_of(master).await, first, "it serves many builds");
    processes::signal(first, Signal::KILL);
    farm.works().await;
    farm.works().await;
    assert_ne!(nursery_of(master).await, first);
    assert_eq!(farm.master_process(), master);
}

/// Its successor has other addresses: nobody can try where something lies until it is found.
#[tokio::test]
async fn a_process_that_dies_is_the_last_of_its_kind() {
    let farm = Farm::start(&[1]).await;
    let master = farm.master_process();
    farm.works().await;
    let first = nursery_of(master).await;
    let repository = Repository::empty();
    repository.commit_job(&job("true").atomizer("kill -ABRT $PPID; sleep 600".to_owned()));
    farm.run(&repository.request())
        .await
        .errs(&["could not be prepared", "signal 6"]);
    farm.works().await;
    assert_ne!(nursery_of(master).await, first);
}

/// What runs in a process that was split off finds the same as in one that was started: a session of its own, its mark, an
/// empty input, and no more open than the three streams.
#[tokio::test]
async fn an_atomizer_finds_a_process_of_its_own() {
    let farm = Farm::start(&[1]).await;
    farm.works().await;
    let nursery = nursery_of(farm.master_process()).await;
    let repository = Repository::empty();
    let seen = repository.outside("seen");
    let line = format!(
        "{{ ps -o sid= -p $PPID; echo $PPID; echo $CLUSTERRUNNER_PROCESS_MARK; ls /proc/self/fd | tr '\\n' ' '; }} > '{}.new' \
         && mv '{0}.new' '{0}'; echo A=1",
        seen.display()
    );
    repository.commit_job(&job("true").atomizer(line));
    farm.run(&repository.request()).await.passes();
    let seen = fs::read_to_string(seen).unwrap();
    let lines: Vec<&str> = seen.lines().map(str::trim).collect();
    let [session, parent, mark, open] = lines[..] else {
        panic!("{seen}");
    };
    assert_eq!(session, parent, "it leads a session");
    assert_ne!(parent, nursery.to_string());
    assert!(mark.contains(":prepare-build-"), "{mark}");
    // The marks of commands begin with that of their process, which no other has.
    let environment = fs::read(format!("/proc/{nursery}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let of_nursery = environment
        .split('\0')
        .find_map(|entry| entry.strip_prefix("CLUSTERRUNNER_PROCESS_MARK="))
        .unwrap();
    assert!(!mark.starts_with(of_nursery), "{mark}, {of_nursery}");
    // The last is the directory that is listed.
    assert_eq!(open, "0 1 2 3");
}
