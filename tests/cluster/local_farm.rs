//! The farm that `build` starts by itself, on machines whose ports are taken.

use crate::job::job;
use crate::machine::{Ended, Machine};
use crate::ports::free_ports;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};

fn machine() -> Machine {
    Machine::new(&job("echo on").atoms(1).to_string())
}

/// The address of the master that was started, as `build` has told it.
fn told(built: &Ended) -> String {
    let (_, rest) = built.stderr.split_once("starting one at ").unwrap();
    rest.split_once(',').unwrap().0.to_owned()
}

/// Builds where the usual ports are not to be had; what `build` said of that.
fn build_elsewhere(machine: &Machine, taken: u16) -> String {
    machine.write_ports(taken, taken);
    let built = machine.run_to(0, &["build"]);
    let address = told(&built);
    assert!(!address.ends_with(&format!(":{taken}")), "{built:#?}");
    // All commands find it there, and the next build starts nothing.
    let running = machine.processes().len();
    machine.run_to(0, &["status", "1"]);
    machine.run_to(0, &["build"]);
    machine.run_to(0, &["build", "--port", address.rsplit_once(':').unwrap().1]);
    assert_eq!(machine.processes().len(), running);
    machine.run_to(0, &["status", "3", "--master-url", &address]);
    machine.run_to(2, &["build", "--port", "1"]);
    machine.run_to(0, &["stop"]);
    built.stderr
}

#[test]
fn another_program_at_the_port_is_named_and_no_obstacle() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let said = build_elsewhere(&machine(), port);
    let who = format!("Port {port} is taken: Process {} (", std::process::id());
    assert!(said.contains(&who), "{said}");
}

#[test]
fn a_connection_that_is_over_is_no_obstacle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (there, _) = listener.accept().unwrap();
    let port = here.local_addr().unwrap().port();
    drop(here);
    drop(there);
    let said = build_elsewhere(&machine(), port);
    assert!(said.contains(&format!("Port {port} is taken: ")), "{said}");
}

#[test]
fn a_second_user_gets_a_farm_of_his_own() {
    let (first, second) = (machine(), machine());
    let address = told(&first.run_to(0, &["build"]));
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let said = build_elsewhere(&second, port);
    let why = format!("the master at {address} takes another secret: it is somebody else's");
    assert!(said.contains(&why), "{said}");
    let builds = first.run_to(0, &["status", "--json"]).stdout;
    assert_eq!(builds.matches("\"num_subjobs\"").count(), 1, "{builds}");
}

#[test]
fn a_daemon_names_who_has_its_port_and_a_free_one() {
    let machine = machine();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for daemon in ["master", "slave"] {
        let ended = machine.run_to(5, &[daemon, "--port", &port]);
        let who = format!("Process {} (", std::process::id());
        for said in [
            &who,
            ") listens there: choose another port with --port; ",
            " is free",
        ] {
            assert!(ended.stderr.contains(said), "{said}: {ended:#?}");
        }
    }
}

#[test]
fn a_slave_of_one_executor_says_how_to_use_all_processors() {
    let machine = machine();
    let processors = std::thread::available_parallelism().unwrap().get();
    for (arguments, is_hinted) in [
        (
            &["slave", "--port", "0", "--master-url", "127.0.0.1:1"][..],
            processors > 1,
        ),
        (
            &[
                "slave",
                "--port",
                "0",
                "--master-url",
                "127.0.0.1:1",
                "-e",
                "1",
            ],
            false,
        ),
    ] {
        let mut slave = machine.start(arguments);
        let lines = BufReader::new(slave.stderr.take().unwrap()).lines();
        let until_it_listens = |line: &String| !line.contains("slave listens on");
        let said: Vec<String> = lines
            .map(Result::unwrap)
            .take_while(until_it_listens)
            .collect();
        slave.kill().unwrap();
        slave.wait().unwrap();
        let said = said.join("\n");
        let hint = format!("--num-executors {processors}, or num_executors in the settings");
        assert_eq!(said.contains(&hint), is_hinted, "{said}");
    }
}

#[test]
fn a_port_can_be_named() {
    let machine = machine();
    let port = free_ports("127.0.0.1", 1);
    let named = port.to_string();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = machine.run_to(5, &["build", "--port", &named]);
    let who = format!("error: port {port} is taken: ");
    assert!(refused.stderr.contains(&who), "{refused:#?}");
    assert!(refused.stderr.contains(" is free\n"), "{refused:#?}");
    drop(taken);
    let built = machine.run_to(0, &["build", "--port", &named]);
    assert_eq!(told(&built), format!("127.0.0.1:{port}"));
    machine.run_to(0, &["status", "1"]);
}

/// Where only the master has died its slave goes on: two would share the processors.
#[test]
fn a_slave_that_outlives_its_master_is_the_next_ones() {
    let machine = machine();
    machine.run_to(0, &["build"]);
    machine.kill_master();
    let built = machine.run_to(0, &["build"]);
    assert!(
        built.stderr.contains("has outlived the last master"),
        "{built:#?}"
    );
    let slaves = machine.run_to(0, &["slaves"]).stdout;
    assert_eq!(slaves.matches("alive").count(), 1, "{slaves}");
}
