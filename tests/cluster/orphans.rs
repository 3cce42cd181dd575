//! What commands leave behind: nobody is left with it.

use crate::farm::Farm;
use crate::job::job;
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildView;
use rustix::process::Signal;
use std::fs;

/// The parent and the state of each process of the machine.
fn parents_and_states() -> Vec<(u32, u32, char)> {
    let stat = |entry: fs::DirEntry| -> Option<(u32, u32, char)> {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        Some((id, fields.next()?.parse().ok()?, state))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(stat).collect()
}

fn children_of(parent: u32) -> Vec<(u32, char)> {
    let all = parents_and_states().into_iter();
    let of_parent = all.filter(|(_, of, _)| *of == parent);
    of_parent.map(|(id, _, state)| (id, state)).collect()
}

/// As in a container without an init: the slave is the first process of its namespace.
#[tokio::test]
async fn a_slave_that_is_the_first_process_waits_for_orphans() {
    let repository = Repository::of(&job("(sleep 0.01 &) ; (sleep 0.02 &)").atoms(20));
    let mut farm = Farm::new();
    let first = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    farm.wrap("slave 0", first.map(str::to_owned).to_vec());
    farm.start_all(&[2]).await;
    farm.run(&repository.request()).await.passes();
    let [(first, _)] = children_of(farm.slave_process(0))[..] else {
        panic!("unshare has one child");
    };
    wait_for("no zombie is left", async || {
        let zombies = children_of(first)
            .into_iter()
            .filter(|(_, state)| *state == 'Z');
        (zombies.count() == 0).then_some(())
    })
    .await;
    farm.works().await;
    processes::signal(first, Signal::TERM);
    assert!(farm.end_of_slave(0).await.success());
}

/// Also where the slave does not start again.
#[tokio::test]
async fn what_a_killed_slave_has_started_is_ended() {
    let repository = Repository::empty();
    let marker = repository.marker();
    let atom = format!("export {marker}; trap '' TERM; setsid sleep 301 & sleep 302; sleep 303");
    repository.commit_job(&job(atom).atoms(1));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let runs = |view: &BuildView| view.num_atoms_in_progress == 1;
    farm.wait_for_build(build, "an atom runs", runs).await;
    wait_for("it has started all", async || {
        (processes::with_text(&repository.marker()).len() >= 2).then_some(())
    })
    .await;
    farm.kill_slave(0);
    repository.wait_until_gone().await;
}

/// A script of its own for a command that is longer than an argument may be.
#[tokio::test]
async fn a_long_command_needs_no_directory_for_temporary_files() {
    let long = job(format!(
        "text='{}'; test ${{#text}} = 300000",
        "x".repeat(300_000)
    ));
    let repository = Repository::of(&long.atoms(1));
    let mut farm = Farm::new();
    farm.wrap(
        "slave 0",
        vec!["env".to_owned(), "TMPDIR=/dev/null".to_owned()],
    );
    farm.start_all(&[1]).await;
    farm.run(&repository.request()).await.passes();
}
