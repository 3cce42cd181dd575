//! `artifacts`: what it asks the master for, and what it says where files do not come.

use crate::fake_master::{FakeMaster, atom_of, finished};
use crate::run::User;
use axum::http::StatusCode;
use clusterrunner_common::api::{AtomState, ErrorCode, SubjobView};
use clusterrunner_common::ids::SubjobId;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A master with a build of three subjobs, each with an atom that left a file.
fn master() -> FakeMaster {
    let master = FakeMaster::start([finished(3, vec![])]);
    let subjob = |id| SubjobView {
        id: SubjobId(id),
        command: "true".to_owned(),
        atoms: vec![atom_of(id, AtomState::Completed, Some(0))],
        slave: None,
    };
    master.script().subjobs = (0..3).map(subjob).collect();
    master.script().left_files = vec!["report.xml".to_owned()];
    master
}

#[test]
fn only_atoms_that_are_meant_are_asked_for() {
    let (user, master) = (User::new(), master());
    let one = master.script().subjobs[1].atoms[0].clone();
    let name = format!("{}_{}", one.subjob_id, one.id);
    let pattern = format!("artifact_{name}/**");
    let ended = user.run_at(&master, &["artifacts", "1", &pattern]);
    let file = format!("artifact_{name}/report.xml");
    ended.expect_code(0).expect(&[&file], &[]);
    assert_eq!(master.script().looked_at, [name]);
    let none = ["no file of build 1 fits 'artifact_9_9/**'", "artifacts 1"];
    user.run_at(&master, &["artifacts", "1", "artifact_9_9/**"])
        .expect_code(2)
        .expect(&[], &none);
    // A program is told the same: it has asked for something.
    user.run_at(&master, &["artifacts", "1", "artifact_9_9/**", "--json"])
        .expect_code(2)
        .expect(&["\"artifacts\""], &none);
}

#[test]
fn a_master_without_lists_of_files_is_told_from_files_that_are_gone() {
    let (user, master) = (User::new(), master());
    master.script().left_refusal = Some((StatusCode::NOT_FOUND, Some(ErrorCode::NoRoute)));
    let older = ["does not list single files: it is older", "results 1"];
    user.run_at(&master, &["artifacts", "1"])
        .expect_code(5)
        .expect(&[], &older);
    master.script().left_refusal = Some((StatusCode::NOT_FOUND, None));
    let gone = ["the results of its atoms are not on the master any more"];
    user.run_at(&master, &["artifacts", "1"])
        .expect_code(0)
        .expect(&[], &gone);
}

#[test]
fn an_interrupted_fetch_says_how_to_go_on() {
    let (user, master) = (User::new(), master());
    master.script().keeps_files = true;
    let running = user.start_at(&master, &["artifacts", "1", "-o", "out"]);
    let began = Instant::now();
    while !master.script().was_asked_for_file {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "nothing is fetched"
        );
        std::thread::yield_now();
    }
    running.signal(Signal::INT);
    let ended = running.end().expect_code(5);
    ended.expect(&[], &["interrupted", "--force fetches all of them again"]);
}
