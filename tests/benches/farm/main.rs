//! How fast a whole farm runs atoms, next to what this machine can do at all.
//!
//! `cargo bench -p clusterrunner-tests --bench farm -- [ATOMS ...]` (1000 10000 50000 if none are
//! given) starts a master and a slave with two executors, and measures rounds of: the floor (fork
//! and exec of the same shell command, two at a time, and nothing else), then a build of so many
//! trivial atoms. Further: a build of 100 atoms of 100 ms, single-atom builds of a directory and of a git repository one
//! after the other, and 200 of them at once, `clusterrunner build` from Enter to the prompt, and how soon a follower sees a
//! line that an atom prints. `TMPDIR` says on which file system. Figures are printed as they come.
//!
//! * `--rounds N` repeats the trivial atoms, and says best and median.
//! * `--peers` adds xargs and GNU parallel where they are installed, `--peer NAME=COMMAND` any other
//!   program; `{atoms}` in the command is their number. They take turns with the builds.
//! * `--only PART,...` measures these parts: `atoms`, `sleeping`, `single`, `many`, `prompt`, `follow`, and those that
//!   are not measured otherwise: `warm` (the trivial atoms in forks of `worker: bash`, in turns), `growth` (what an atom costs in a small and in a large build),
//!   `slow-link` (25 ms each way between slave and master; root only), `memory` (of a master with
//!   10,000 ended builds and 100,000 waiting atoms), `levels` (what an atom costs at each level of isolation; root only,
//!   with containers only if `--image IMAGE` names one, and with what `--slave-settings FILE` adds to the slave's).
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "made of the parts of tests"
)]

#[path = "../../cluster/daemon.rs"]
mod daemon;
#[path = "../../cluster/farm/mod.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod farm;
#[path = "../../cluster/outcome.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod outcome;
#[path = "../../cluster/ports.rs"]
mod ports;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;

mod floor;
mod follow;
mod levels;
mod numbers;
mod options;
mod slow_link;
mod small;
#[expect(dead_code, reason = "another benchmark uses more of it")]
mod usage;

use clusterrunner_common::api::{BuildStatus, BuildView};
use farm::{Extra, Farm};
use numbers::{largest, median, part};
use options::Options;
use serde_json::{Value, json};
use small::BUILDS;
use std::path::PathBuf;
use std::time::Duration;
use usage::Usage;

const EXECUTORS: u32 = 2;

/// How many atoms the floor runs before and after each build.
const FLOOR_ATOMS: u32 = 4000;

/// How many atoms the small and the large build have that show growth.
const SMALL: u32 = 1000;
const LARGE: u32 = 50_000;

/// How many builds have ended, and how many atoms wait, where memory is looked at.
const ENDED: u32 = 10_000;
const WAITING: u32 = 100_000;

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(&options));
}

async fn measure(options: &Options) {
    if options.in_own_network {
        let (farm, _line) = slow_link::start(EXECUTORS).await;
        let bench = Bench::of(farm);
        return bench.sleeping_atoms("   slow link, 25 ms each way:").await;
    }
    if options.wants("levels") {
        levels::measure(options).await;
    }
    if options.wants_only("levels") {
        return;
    }
    let mut bench = Bench::start().await;
    println!("files in {}", bench.farm.path("").display());
    if options.wants("atoms") {
        for size in &options.sizes {
            bench.trivial_atoms(*size, options).await;
        }
    }
    if options.wants("warm") {
        for size in &options.sizes {
            bench.warm_atoms(*size, options.rounds).await;
        }
    }
    if options.wants("sleeping") {
        bench.sleeping_atoms("  ").await;
    }
    if options.wants("single") {
        bench.single_atoms().await;
    }
    if options.wants("many") {
        bench.many_builds().await;
    }
    if options.wants("prompt") {
        bench.prompts().await;
    }
    if options.wants("follow") {
        bench.follow().await;
    }
    if options.wants("growth") {
        bench.growth().await;
    }
    if options.wants("slow-link") {
        slow_link::run_in_own_network();
    }
    if options.wants("memory") {
        bench.memory().await;
    }
}

struct Bench {
    farm: Farm,
    projects: PathBuf,
}

impl Bench {
    async fn start() -> Self {
        let extra = Extra {
            general: "log_level = WARNING",
            ..Extra::default()
        };
        let mut farm = Farm::with(&extra);
        farm.start_all(&[EXECUTORS]).await;
        Self::of(farm)
    }

    fn of(farm: Farm) -> Self {
        let projects = farm.path("projects");
        Self { farm, projects }
    }

    /// A build of a project in place, whose job has so many atoms of one command.
    fn request(&self, name: &str, atoms: u32, command: &str) -> Value {
        self.request_by(name, atoms, command, "none")
    }

    /// The same by a worker.
    fn request_by(&self, name: &str, atoms: u32, command: &str, worker: &str) -> Value {
        let directory = self.projects.join(name);
        std::fs::create_dir_all(&directory).expect("a project directory");
        let job = format!(
            "{name}:\n  commands:\n    - '{command}'\n  worker: {worker}\n  atomizers:\n    - N: 'seq {atoms}'\n"
        );
        std::fs::write(directory.join("clusterrunner.yaml"), job).expect("a project");
        json!({"type": "directory", "project_directory": directory, "job_name": name})
    }

    async fn run(&self, request: &Value) -> BuildView {
        self.run_looking(request, Duration::from_millis(50)).await
    }

    /// Runs a build; so often is it looked whether it is over.
    async fn run_looking(&self, request: &Value, pause: Duration) -> BuildView {
        let build = self.farm.submit(request).await;
        let client = self.farm.client();
        loop {
            let view = client.build(build).await.expect("the build's state");
            if view.status.is_over() {
                assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
                return view;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs a build of trivial atoms: atoms per second, and what master and slave used.
    async fn run_trivial(&self, atoms: u32) -> (f64, BuildView, [Usage; 2]) {
        self.run_by("none", atoms).await
    }

    /// The same by a worker.
    async fn run_by(&self, worker: &str, atoms: u32) -> (f64, BuildView, [Usage; 2]) {
        let request = self.request_by("trivial", atoms, "true", worker);
        let processes = [self.farm.master_process(), self.farm.slave_process(0)];
        let before = processes.map(Usage::of);
        let view = self.run(&request).await;
        let [master, slave] = processes.map(Usage::of);
        let [master_before, slave_before] = before;
        let used = [master.since(master_before), slave.since(slave_before)];
        let rate = f64::from(atoms) / seconds(&view, "prepared", "finished");
        (rate, view, used)
    }

    async fn trivial_atoms(&mut self, atoms: u32, options: &Options) {
        let (mut rates, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_peers = vec![Vec::new(); options.peers.len()];
        for _ in 0..options.rounds {
            let before = floor::atoms_per_second(FLOOR_ATOMS);
            let (rate, view, [master, slave]) = self.run_trivial(atoms).await;
            let after = floor::atoms_per_second(FLOOR_ATOMS);
            let floor = f64::midpoint(before, after);
            println!(
                "{atoms:>6} trivial atoms: {rate:>6.0}/s = {:.2} of the floor ({before:.0}/s before, \
                 {after:.0}/s after), {:.2} s, prepared in {:.2} s",
                rate / floor,
                seconds(&view, "prepared", "finished"),
                seconds(&view, "queued", "prepared"),
            );
            println!(
                "       master {master}, {:.0} us for an atom; slave {slave}, {:.0} us for an atom",
                master.micros_each(atoms),
                slave.micros_each(atoms)
            );
            rates.push(rate);
            floors.push(floor);
            ratios.push(rate / floor);
            for ((_, command), rates) in options.peers.iter().zip(&mut of_peers) {
                rates.push(floor::of_peer(command, FLOOR_ATOMS.min(atoms)));
            }
        }
        println!(
            "{atoms:>6} trivial atoms, {} rounds: best {:.0}/s, median {:.0}/s = {:.2} of the floor (best {:.0}/s, \
             median {:.0}/s)",
            options.rounds,
            largest(&rates),
            median(&rates),
            median(&ratios),
            largest(&floors),
            median(&floors)
        );
        for ((name, _), rates) in options.peers.iter().zip(&of_peers) {
            println!(
                "{:>6} trivial atoms by {name}: best {:.0}/s, median {:.0}/s = {:.2} of the floor",
                FLOOR_ATOMS.min(atoms),
                largest(rates),
                median(rates),
                median(rates) / median(&floors)
            );
        }
    }

    /// Trivial atoms in processes of their own and in forks of a worker, in turns with the floor.
    async fn warm_atoms(&self, atoms: u32, rounds: u32) {
        let (mut of_cold, mut of_floor) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let before = floor::atoms_per_second(FLOOR_ATOMS);
            let (cold, ..) = self.run_by("none", atoms).await;
            let (warm, view, [master, slave]) = self.run_by("bash", atoms).await;
            let floor = f64::midpoint(before, floor::atoms_per_second(FLOOR_ATOMS));
            let found = self.farm.atoms(view.id).await;
            let in_worker = found.iter().filter(|atom| atom.worker.is_some()).count();
            println!(
                "{atoms:>6} trivial atoms by worker: bash (it ran {in_worker}): {warm:.0}/s = {:.2} of processes of their own \
                 ({cold:.0}/s), {:.2} of the floor ({floor:.0}/s); master {:.0} us, slave {:.0} us for an atom",
                warm / cold,
                warm / floor,
                master.micros_each(atoms),
                slave.micros_each(atoms)
            );
            of_cold.push(warm / cold);
            of_floor.push(warm / floor);
        }
        println!(
            "{atoms:>6} trivial atoms by worker: bash, {rounds} rounds: median {:.2} of processes of their own, {:.2} of the floor",
            median(&of_cold),
            median(&of_floor)
        );
    }

    /// The first time nothing is known of the job's atoms and set-up.
    async fn sleeping_atoms(&self, what: &str) {
        let request = self.request("sleeping", 100, "sleep 0.1");
        for time in ["the first time", "again"] {
            let view = self.run(&request).await;
            let seconds = seconds(&view, "prepared", "finished");
            let best = 100.0 * 0.1 / f64::from(EXECUTORS);
            println!(
                "{what} 100 atoms of 100 ms, {time}: {seconds:.3} s = {:.3} of what sleeping alone takes ({best} s)",
                seconds / best
            );
        }
    }

    async fn follow(&self) {
        let request = self.request("talking", 1, &follow::command());
        let build = self.farm.submit(&request).await;
        let took = follow::follow(&self.farm, build);
        self.farm.end_of(build).await;
        println!(
            "   a line of an atom, printed to seen by a follower: median {:.0} ms, 99 % {:.0} ms, at most {:.0} ms",
            median(&took),
            part(&took, 99),
            largest(&took)
        );
    }

    /// What an atom costs in a small build and in a large one.
    async fn growth(&self) {
        let mut costs = Vec::new();
        for atoms in [SMALL, LARGE] {
            let (rate, _, [master, slave]) = self.run_trivial(atoms).await;
            println!(
                "{atoms:>6} atoms in one build: {rate:.0}/s, master {:.0} us and slave {:.0} us for an atom",
                master.micros_each(atoms),
                slave.micros_each(atoms)
            );
            costs.push((rate, master.micros_each(atoms)));
        }
        if let [(small_rate, small_cost), (large_rate, large_cost)] = costs.as_slice() {
            println!(
                "   growth from {SMALL} to {LARGE} atoms: rate x {:.2}, master's time for an atom x {:.2}",
                large_rate / small_rate,
                large_cost / small_cost
            );
        }
    }

    /// What the master keeps in memory of builds that are over, and of atoms that wait.
    async fn memory(&self) {
        let memory = || Usage::of(self.farm.master_process()).memory();
        let at_first = memory();
        let request = self.request("single", 1, "true");
        let mut ended = 0;
        while ended < ENDED {
            let mut builds = Vec::new();
            for _ in 0..BUILDS {
                builds.push(self.farm.submit(&request).await);
            }
            for build in builds {
                let view = self.farm.end_of(build).await;
                assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
            }
            ended += BUILDS;
        }
        let with_ended = memory();
        println!(
            "   {ENDED} ended builds: master {with_ended:.1} MiB ({at_first:.1} MiB before them)"
        );
        let request = self.request("waiting", WAITING, "sleep 60");
        let build = self.farm.submit(&request).await;
        let client = self.farm.client();
        let is_building = async || {
            let view = client.build(build).await.expect("the build's state");
            (view.status == BuildStatus::Building).then_some(())
        };
        wait::wait_for("the build runs", is_building).await;
        let with_all = memory();
        let each = (with_all - with_ended) * f64::from(1 << 20) / f64::from(WAITING);
        let peak = Usage::of(self.farm.master_process());
        println!(
            "   {ENDED} ended builds and {WAITING} waiting atoms: master {with_all:.1} MiB, {each:.0} bytes for a \
             waiting atom; {peak}"
        );
        client.cancel(build).await.expect("it is canceled");
        self.farm.wait_for_rest().await;
    }
}

fn time(view: &BuildView, state: &str) -> f64 {
    let time = view.state_timestamps.get(state).copied().flatten();
    time.unwrap_or_else(|| panic!("the build was never {state}: {view:?}"))
}

fn seconds(view: &BuildView, from: &str, to: &str) -> f64 {
    time(view, to) - time(view, from)
}
