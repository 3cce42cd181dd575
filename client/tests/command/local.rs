//! The commands that need no master: `validate` and `stop`, and the farm that `build` starts.

use crate::fake_master::FakeMaster;
use crate::run::User;
use serde_json::json;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

#[test]
fn a_right_file_is_described() {
    let user = User::new();
    user.run(&["validate", "project"]).expect_code(0).expect(
        &[
            "project/clusterrunner.yaml is fine: 1 job\n",
            "\nUnit\n",
            "one atom for each line of:  seq 2  (as $TEST)\n",
            "each atom runs:             true\n",
        ],
        &[],
    );
}

#[test]
fn each_mistake_has_its_place_and_cure() {
    let user = User::new();
    let file = user.path("wrong.yaml");
    std::fs::write(
        &file,
        "A:\n  comands:\n    - make\n  atomizers:\n    - X: seq 3\n",
    )
    .unwrap();
    let ended = user.run(&["validate", "wrong.yaml"]).expect_code(1).expect(
        &[
            "wrong.yaml:2:3: Definition for job \"A\" contains an invalid config section \"comands\".\n    instead: ",
            "commands",
        ],
        &[],
    );
    assert!(ended.stdout.ends_with(" problems\n"), "{ended:?}");
    std::fs::write(&file, "A: [\n").unwrap();
    user.run(&["validate", "wrong.yaml"])
        .expect_code(1)
        .expect(&["wrong.yaml:"], &[]);
    std::fs::write(&file, b"A:\n  \xff\n").unwrap();
    user.run(&["validate", "wrong.yaml"])
        .expect_code(1)
        .expect(&[], &["error: wrong.yaml:2: the file is not UTF-8 text"]);
    user.run(&["validate", "nowhere"]).expect_code(2).expect(
        &[],
        &[
            "error: there is no nowhere",
            "hint: a clusterrunner.yaml says what to run: `clusterrunner init` writes one",
        ],
    );
}

#[test]
fn a_slip_of_shell_syntax_has_its_line() {
    let user = User::new();
    let text = "A:\n  commands:\n    - make\n    - 'echo $(date'\n  atomizers:\n    - X: 'for x in 1 2; echo $x'\n";
    std::fs::write(user.path("slips.yaml"), text).unwrap();
    user.run(&["validate", "slips.yaml"]).expect_code(1).expect(
        &[
            "slips.yaml:4: bash does not understand a command in commands of A: ",
            "    the command: echo $(date\n",
            "slips.yaml:6: bash does not understand a command in atomizers of A: ",
            "slips.yaml: 2 problems\n",
        ],
        &[],
    );
    // What begins in one command may end in the next one.
    for commands in [
        "['( make', 'make check )']",
        // What the first line turns on is in force when a slave runs the second one.
        "[\"shopt -s extglob\\nls !(keep)\"]",
        "['cc \\', '-DFOO=1']",
    ] {
        let text = format!("A:\n  commands: {commands}\n  atomizers:\n    - X: seq 2\n");
        std::fs::write(user.path("slips.yaml"), text).unwrap();
        user.run(&["validate", "slips.yaml"]).expect_code(0);
    }
}

#[test]
fn what_the_original_runs_otherwise_is_a_warning() {
    let user = User::new();
    let text =
        "A:\n  commands:\n    - 'make # all'\n    - make check\n  atomizers:\n    - X: seq 3\n";
    std::fs::write(user.path("odd.yaml"), text).unwrap();
    user.run(&["validate", "odd.yaml"]).expect_code(0).expect(
        &[
            "odd.yaml is fine: 1 job\nodd.yaml:3:7: warning: Definition for job \"A\" has a command in config section \
             \"commands\" that ends with a comment, which hides all later commands from the original.\n    instead: ",
            "each atom runs:             make # all ...\n",
        ],
        &[],
    );
}

#[test]
fn validate_says_whether_a_worker_can_do_what_the_commands_say() {
    let user = User::new();
    for (command, worker, said) in [
        (
            "pytest \"$X\"",
            "pytest",
            "in a worker:                pytest\n",
        ),
        (
            "pytest $X > y",
            "pytest",
            "pytest, but atoms run without it, since its command is not plain: it has a redirection",
        ),
        (
            "echo $$",
            "bash",
            "bash, but atoms run without it, since the commands could tell",
        ),
        (
            "x",
            "{command: ./run, confirm_failures: false}",
            "./run; what fails there counts at once\n",
        ),
    ] {
        let text =
            format!("A:\n  commands: ['{command}']\n  worker: {worker}\n  atomizers: [X: seq 3]\n");
        std::fs::write(user.path("worker.yaml"), text).unwrap();
        let ended = user.run(&["validate", "worker.yaml"]);
        ended.expect_code(0).expect(&[said], &[]);
    }
}

#[test]
fn stop_ends_what_runs_and_nothing_else() {
    let user = User::new();
    user.run(&["stop"])
        .expect_code(0)
        .expect(&["No ClusterRunner is running for "], &[]);
    let mut slave = named("clusterrunner-slave");
    std::fs::create_dir_all(user.path("base/slave-43001")).unwrap();
    std::fs::create_dir_all(user.path("base/master")).unwrap();
    let pid_file = user.path("base/slave-43001/slave.pid");
    std::fs::write(pid_file, format!("{}\n", slave.id())).unwrap();
    // The master's process is long gone, and its id is now that of this test.
    let pid_file = user.path("base/master/master.pid");
    std::fs::write(pid_file, std::process::id().to_string()).unwrap();
    let ended = user.run(&["stop"]).expect_code(0);
    let expected = format!(
        "Stopped the slave at port 43001 (process {}).\n",
        slave.id()
    );
    assert_eq!(ended.stdout, expected);
    assert_eq!(slave.wait().unwrap().signal(), Some(15));
    user.run(&["stop"])
        .expect_code(0)
        .expect(&["No ClusterRunner is running for "], &[]);
}

#[test]
fn stop_finds_daemons_under_the_name_that_the_program_was_given() {
    let user = User::new();
    let mut slave = named("farm");
    std::fs::create_dir_all(user.path("base/slave-43001")).unwrap();
    let pid_file = user.path("base/slave-43001/slave.pid");
    std::fs::write(pid_file, slave.id().to_string()).unwrap();
    user.run(&["stop"])
        .expect_code(0)
        .expect(&["No ClusterRunner is running for "], &[]);
    let renamed = user.path("farm");
    let program = env!("CARGO_BIN_EXE_clusterrunner");
    std::fs::hard_link(program, &renamed)
        .or_else(|_| std::fs::copy(program, &renamed).map(drop))
        .unwrap();
    let stop = user.command(&["stop"]);
    let variables = stop
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let ended = Command::new(&renamed)
        .arg("stop")
        .envs(variables)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(slave.wait().unwrap().signal(), Some(15));
}

/// A process with a name that runs: a shell that waits for input.
fn named(name: &str) -> Child {
    let mut shell = Command::new("/bin/sh")
        .arg0(name)
        .args(["-c", "echo ready; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its name can be seen only when it really runs.
    let mut ready = [0; 6];
    let stdout = shell.stdout.as_mut().unwrap();
    stdout.read_exact(&mut ready).unwrap();
    shell
}

#[test]
fn a_local_master_that_does_not_start_says_why() {
    let user = User::new();
    // A file where the master needs a directory.
    std::fs::write(user.path("base/master"), "").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let output = user
        .command(&["build", "project"])
        .env("CLUSTERRUNNER_PORT", &port)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    for text in [
        "No master of yours runs on this machine: starting one",
        "error: the local master ended at once (exit status: ",
        "It said:\n    ",
        "local_master.log",
    ] {
        assert!(stderr.contains(text), "{text:?} in {stderr}");
    }
}

#[test]
fn the_master_that_the_settings_name_is_used() {
    let user = User::new();
    let master = FakeMaster::start([crate::fake_master::finished(1, vec![])]);
    let output = user
        .command(&["build", "project"])
        .env("CLUSTERRUNNER_PORT", master.address.port().to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(master.script().submitted.len(), 1);
}

#[test]
fn slaves_are_shut_down() {
    let user = User::new();
    let master = FakeMaster::start([]);
    user.run_at(&master, &["shutdown"])
        .expect_code(1)
        .expect(&[], &["error: No slaves specified to shutdown.\n"]);
    for arguments in [
        &["shutdown", "--slave-id", "1", "-s", "2"][..],
        &["shutdown", "-s", "1", "2"],
        &["shutdown", "-a"],
        &["shutdown", "--all-slaves"],
    ] {
        let ended = user.run_at(&master, arguments).expect_code(0);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
    let (two, all) = (json!({"slaves": [1, 2]}), json!({"shutdown_all": true}));
    assert_eq!(
        master.script().shutdowns,
        [two.clone(), two, all.clone(), all.clone()]
    );
    user.run_at(&master, &["shutdown", "-s", "99"])
        .expect_code(2)
        .expect(
            &[],
            &[" has no slave 99\n", "hint: `clusterrunner slaves -m "],
        );
    user.run(&["shutdown", "-s", "all"]).expect_code(2);
    // Without an address it is the master that the settings name.
    let output = user
        .command(&["shutdown", "-a"])
        .env("CLUSTERRUNNER_PORT", master.address.port().to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(master.script().shutdowns.last(), Some(&all));
}

#[test]
fn completions_and_the_manual_know_every_subcommand() {
    let user = User::new();
    let help = user.run(&["--help"]).expect_code(0).stdout;
    let commands = help.split_once("Commands:\n").unwrap().1;
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        // clap makes it, without a page of its own.
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(names.len() > 10 && names.contains(&"shutdown"), "{names:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = user.run(&["completions", shell]).expect_code(0).stdout;
        assert!(script.lines().count() > 50, "{script}");
        for text in names.iter().chain(&["all-slaves", "job-name"]) {
            assert!(script.contains(text), "{text} in {script}");
        }
    }
    let checked = user.command(&["completions", "bash"]).output().unwrap();
    let script = user.path("completions");
    std::fs::write(&script, checked.stdout).unwrap();
    let bash = Command::new("bash").arg("-n").arg(&script).output();
    assert!(bash.unwrap().status.success());
    user.run(&["completions", "tcsh"]).expect_code(2);

    let page = user.run(&["man"]).expect_code(0).stdout;
    user.run(&["man", "--output", "pages/man1"]).expect_code(0);
    for name in names {
        assert!(
            page.contains(&format!("clusterrunner\\-{name}(1)")),
            "{page}"
        );
        let written = user.path(&format!("pages/man1/clusterrunner-{name}.1"));
        let written = std::fs::read_to_string(written).unwrap();
        assert!(written.contains(".SH SYNOPSIS"), "{written}");
    }
    user.run(&["man", "--output", "project/clusterrunner.yaml"])
        .expect_code(5)
        .expect(&[], &["error: could not write manual pages into "]);
}

#[test]
fn help_and_version_are_there() {
    let user = User::new();
    let version = format!("ClusterRunner {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(user.run(&["--version"]).stdout, version);
    assert_eq!(user.run(&["-V"]).stdout, version);
    user.run(&["build", "--help"])
        .expect_code(0)
        .expect(&["Examples:", "Exit codes:\n  0  success"], &[]);
    user.run(&["bulid"])
        .expect_code(2)
        .expect(&[], &["error: unrecognized subcommand 'bulid'", "'build'"]);
    user.run(&["-c", "/no/such/file", "status"])
        .expect_code(2)
        .expect(&[], &["error: there is no settings file /no/such/file"]);
}

#[test]
fn the_example_projects_are_right() {
    let user = User::new();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for project in [
        "hello",
        "python",
        "rust",
        "pytest-batches",
        "node-batches",
        "own-worker",
    ] {
        user.run(&["validate", &format!("{examples}/{project}")])
            .expect_code(0);
    }
}
