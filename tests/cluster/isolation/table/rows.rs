//! The rows.

use super::super::cells::Cell::{self, Open, Stopped};
use super::super::cells::{CANARY, IN, SECRET};
use super::Surroundings;
use clusterrunner_common::process::confinement::keeps_abstract_sockets;
use std::path::PathBuf;

/// What the slave demands from the level `limits` on.
pub(super) const LIMITS: &str = "atom_memory = 96 MiB\natom_pids = 60\natom_cpus = 1.5\n";

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) canary: Canary,
    /// None where nothing is asked.
    pub(super) cells: [Option<Cell>; 4],
}

/// What is run, and how it is seen whether it got in.
pub(super) enum Canary {
    /// It prints [`IN`].
    Prints(String),
    /// One of two atoms prints it that run one after the other.
    Twice(String),
    /// One of two atoms that run beside each other.
    TwoAtATime(String),
    /// It prints it, in a job that asks for no network.
    WithoutNetwork(String),
    /// It ends with 0.
    Succeeds(String),
    /// A process with this text is there when its build is over.
    Leaves { script: String, text: String },
}

impl Row {
    pub(super) fn scripts(&self) -> Vec<String> {
        match &self.canary {
            Canary::Prints(script)
            | Canary::WithoutNetwork(script)
            | Canary::Succeeds(script)
            | Canary::Leaves { script, .. } => vec![script.clone()],
            Canary::Twice(script) | Canary::TwoAtATime(script) => vec![script.clone(); 2],
        }
    }

    /// Whether another runtime of the same name may do otherwise: it is built or set up with a filter of its own, or without.
    pub(super) fn is_up_to_the_runtime(&self, level: &str) -> bool {
        self.name == NAMESPACES && level == "container"
    }

    /// What a cell says comes true where the system can do it.
    pub(super) fn on_this_system(&self, cell: Cell, level: &str) -> Cell {
        match self.name == ABSTRACT && level == "user" && !keeps_abstract_sockets() {
            true => Open,
            false => cell,
        }
    }
}

const NAMESPACES: &str = "makes namespaces of its own, mounts, loads BPF, uses `io_uring`";

const ABSTRACT: &str = "connects to a socket with an abstract name";

pub(super) fn service(around: &Surroundings) -> PathBuf {
    PathBuf::from(format!("/run/clusterrunner-table-{}.sock", around.port))
}

pub(super) fn abstract_name(around: &Surroundings) -> String {
    format!("clusterrunner-table-{}", around.port)
}

pub(super) fn artifact(around: &Surroundings) -> PathBuf {
    around.slave_directory.join("artifacts/999/artifact")
}

/// Says so if what a command prints has this.
fn finds(command: &str, text: &str) -> String {
    format!("({command}; true) 2> /dev/null | grep -a '{text}' > /dev/null && echo '{IN}'; true")
}

fn canary(arguments: &str) -> String {
    format!("$PROJECT_DIR/canary {arguments}; true")
}

const YES: Option<Cell> = Some(Open);
const NO: Option<Cell> = Some(Stopped);

fn row(name: &'static str, cells: [Option<Cell>; 4], canary: Canary) -> Row {
    Row {
        name,
        canary,
        cells,
    }
}

/// All, as they are tried at a level.
pub(super) fn rows(around: &Surroundings, level: &str) -> Vec<Row> {
    [
        limits(around, level),
        slave(around),
        machine(around),
        system(around),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn limits(around: &Surroundings, level: &str) -> Vec<Row> {
    let quota = "for group in $(sed 's/.*://' /proc/self/cgroup); do
        for root in /sys/fs/cgroup /sys/fs/cgroup/cpu; do
            cat $root/cpu.max $root/cpu.cfs_quota_us $root/$group/cpu.max $root/$group/cpu.cfs_quota_us
        done; done 2> /dev/null";
    let sleep = format!("sleep 94{}{}", around.port, level.len());
    let leaves_group = "before=$(cat /proc/self/cgroup)
        for group in /sys/fs/cgroup/pids /sys/fs/cgroup; do
            [ -e $group/cgroup.procs ] || continue
            after=$(exec 2> /dev/null; echo 0 > $group/cgroup.procs; cat /proc/self/cgroup)
            [ \"$before\" = \"$after\" ] || echo 'GOT IN'
        done; true";
    vec![
        row(
            "gets more memory than `atom_memory`, `memory`",
            [YES, NO, NO, NO],
            Canary::Prints(canary("memory 200")),
        ),
        row(
            "starts more processes than `atom_pids`, `pids`",
            [YES, NO, NO, NO],
            Canary::Prints(canary("processes 80")),
        ),
        row(
            "keeps more processors busy than `atom_cpus`, `cpus`",
            [YES, NO, NO, NO],
            Canary::Prints(format!("({quota}) | grep 150000 || echo '{IN}'; true")),
        ),
        row(
            "leaves a process that gave up its session and environment, beyond its build",
            [YES, NO, NO, NO],
            Canary::Leaves {
                script: format!("(setsid env -i {sleep} < /dev/null > /dev/null 2>&1 &)"),
                text: sleep.replace(' ', "\0"),
            },
        ),
        row(
            "says in place of the first process behind its walls how it has ended",
            [None, None, NO, None],
            Canary::Succeeds("$PROJECT_DIR/canary word; exit 5".to_owned()),
        ),
        row(
            "leaves its control group on purpose, to be without limits",
            [None, YES, NO, NO],
            Canary::Prints(leaves_group.to_owned()),
        ),
    ]
}

/// What is the slave's own, and the farm's.
fn slave(around: &Surroundings) -> Vec<Row> {
    let slave = around.slave;
    let cat = |path: PathBuf| finds(&format!("cat {}", path.display()), SECRET);
    let settings = around.farm.join("base/clusterrunner.conf");
    vec![
        row(
            "reads the slave's own variables",
            [YES, YES, NO, NO],
            Canary::Prints(finds(
                &format!(
                    "cat /proc/{slave}/environ /proc/*/environ | tr '\\0' '\\n' | grep -v ^{CANARY}_ | grep ^{CANARY}="
                ),
                SECRET,
            )),
        ),
        row(
            "inherits the slave's own variables",
            [YES, NO, NO, NO],
            Canary::Prints(finds(&format!("printenv {CANARY}"), SECRET)),
        ),
        row(
            "inherits files that the slave's parent left open",
            [NO; 4],
            Canary::Prints(finds("cat <&9", SECRET)),
        ),
        row(
            "reads the keys of the slave's session",
            [YES, YES, NO, NO],
            Canary::Prints(canary(&format!("key {SECRET}"))),
        ),
        row(
            "reads the farm's secret, the settings, keys, the data of master and slave",
            [YES, YES, NO, NO],
            Canary::Prints(finds(&format!("cat {}", settings.display()), "secret")),
        ),
        row(
            "reads artifacts of other builds on its slave",
            [YES, YES, NO, YES],
            Canary::Prints(cat(artifact(around))),
        ),
        row(
            "signals or kills the slave",
            [YES, YES, NO, NO],
            Canary::Prints(format!("kill -0 {slave} 2> /dev/null && echo '{IN}'; true")),
        ),
        row(
            "sees other processes of the machine",
            [YES, YES, NO, NO],
            Canary::Prints(finds(
                "cat /proc/*/cmdline | tr '\\0' ' '",
                "[c]lusterrunner slave",
            )),
        ),
        row(
            "ends a neighbouring atom",
            [YES, YES, NO, NO],
            Canary::TwoAtATime(neighbours(around)),
        ),
    ]
}

/// One of two atoms waits until the other one has looked for it.
fn neighbours(around: &Surroundings) -> String {
    // No shell has this number in its command line.
    let number = format!("9$(({} + 600000))", around.port);
    format!(
        "cd $PROJECT_DIR; if mkdir first 2> /dev/null; then sleep {number} & child=$!; touch there
         until [ -e looked ]; do sleep 0.05; done
         kill $child; true
         else until [ -e there ]; do sleep 0.05; done
         pkill -f \"sleep {number}\" && echo '{IN}'; touch looked; fi"
    )
}

/// What is the machine's.
fn machine(around: &Surroundings) -> Vec<Row> {
    let outside = around.outside.display();
    let tmp = format!("/tmp/left-{}", around.port);
    let left = |path: &str| format!("[ -e {path} ] && echo '{IN}'; touch {path}");
    vec![
        row(
            "reads homes: ssh keys, tokens",
            [YES, YES, NO, NO],
            Canary::Prints(finds(
                &format!("cat {}", around.farm.join("home/.netrc").display()),
                SECRET,
            )),
        ),
        row(
            "writes outside of its project, `$ARTIFACT_DIR`, home and `/tmp`",
            [YES, YES, NO, NO],
            Canary::Prints(format!("touch {outside}/$$ && echo '{IN}'; true")),
        ),
        row(
            "reads what its user may read elsewhere: `/etc`, `/usr`, `/srv`",
            [YES, YES, YES, NO],
            Canary::Prints(finds(&format!("cat {outside}/readable"), SECRET)),
        ),
        row(
            "leaves something in `/tmp` for the next atom",
            [YES, YES, NO, YES],
            Canary::Twice(left(&tmp)),
        ),
        row(
            "changes what other atoms of its build find in the project",
            [YES; 4],
            Canary::Twice(left("$PROJECT_DIR/changed")),
        ),
        row(
            "reaches the master, loopback, the network",
            [YES; 4],
            Canary::Prints(canary(&network(around))),
        ),
        row(
            "the same where its job says `network: false`",
            [NO; 4],
            Canary::WithoutNetwork(canary(&network(around))),
        ),
        row(
            "connects to a service's socket in `/run`, as docker's",
            [YES, YES, NO, NO],
            Canary::Prints(canary(&format!("local {}", service(around).display()))),
        ),
        row(
            ABSTRACT,
            [YES, YES, NO, YES],
            Canary::Prints(canary(&format!("local @{}", abstract_name(around)))),
        ),
    ]
}

fn network(around: &Surroundings) -> String {
    format!("network {} {}", around.host, around.port)
}

/// What is the system's.
fn system(_: &Surroundings) -> Vec<Row> {
    vec![
        row(
            NAMESPACES,
            [YES, YES, NO, YES],
            Canary::Prints(canary("namespaces")),
        ),
        row(
            "has a program of the machine read what is left of it when it crashes",
            [YES, YES, NO, YES],
            Canary::Prints(format!(
                "[ \"$(ulimit -Hc)\" = unlimited ] && echo '{IN}'; true"
            )),
        ),
        row(
            "types into the terminal that its slave was started from",
            [NO; 4],
            Canary::Prints(format!("(: > /dev/tty) 2> /dev/null && echo '{IN}'; true")),
        ),
        row(
            "gets more rights by `sudo` or a set-user-id program",
            [YES, YES, NO, YES],
            Canary::Prints(finds("grep NoNewPrivs /proc/self/status", "0$")),
        ),
    ]
}
