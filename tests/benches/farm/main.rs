//! How fast a whole farm runs atoms, next to what this machine can do at all.
//!
//! `cargo bench -p clusterrunner-tests --bench farm -- [ATOMS ...]` (1000 10000 50000 if none are
//! given) starts a master and a slave with two executors, and measures rounds of: the floor (fork
//! and exec of the same shell command, two at a time, and nothing else), then a build of so many
//! trivial atoms. Further: a build of 100 atoms of 100 ms, single-atom builds one after the other,
//! and 200 of them at once. `TMPDIR` says on which file system; `--peers` adds xargs and GNU
//! parallel, where they are installed. Figures are printed as they come.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(clippy::unwrap_used, reason = "made of the parts of tests")]

#[path = "../../cluster/daemon.rs"]
mod daemon;
#[path = "../../cluster/farm.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod farm;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;

mod floor;
#[expect(dead_code, reason = "another benchmark asks for more of it")]
mod usage;

use clusterrunner_common::api::{BuildStatus, BuildView};
use farm::{Extra, Farm};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use usage::Usage;

const EXECUTORS: u32 = 2;

/// How many atoms the floor runs before and after each build.
const FLOOR_ATOMS: u32 = 4000;

fn main() {
    let mut sizes = Vec::new();
    let mut with_peers = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // What `cargo bench` itself says.
            "--bench" => {}
            "--peers" => with_peers = true,
            number => sizes.push(number.parse().expect("a number of atoms")),
        }
    }
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 50_000];
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(&sizes, with_peers));
}

async fn measure(sizes: &[u32], with_peers: bool) {
    let mut bench = Bench::start().await;
    println!("files in {}", bench.farm.path("").display());
    for size in sizes {
        bench.trivial_atoms(*size).await;
    }
    bench.sleeping_atoms().await;
    bench.single_atoms().await;
    bench.many_builds().await;
    if with_peers {
        floor::peers(FLOOR_ATOMS);
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
        let projects = farm.path("projects");
        farm.start_all(&[EXECUTORS]).await;
        Self { farm, projects }
    }

    /// A build of a project in place, whose job has so many atoms of one command.
    fn request(&self, name: &str, atoms: u32, command: &str) -> Value {
        let directory = self.projects.join(name);
        std::fs::create_dir_all(&directory).expect("a project directory");
        let job = format!(
            "{name}:\n  commands:\n    - '{command}'\n  atomizers:\n    - N: 'seq {atoms}'\n"
        );
        std::fs::write(directory.join("clusterrunner.yaml"), job).expect("a project");
        json!({"type": "directory", "project_directory": directory, "job_name": name})
    }

    async fn run(&self, request: &Value) -> BuildView {
        let build = self.farm.submit(request).await;
        let client = self.farm.client();
        loop {
            let view = client.build(build).await.expect("the build's state");
            if view.status.is_over() {
                assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
                return view;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn trivial_atoms(&mut self, atoms: u32) {
        let request = self.request("trivial", atoms, "true");
        let before = floor::atoms_per_second(FLOOR_ATOMS);
        let (master, slave) = (
            Usage::of(self.farm.master_process()),
            Usage::of(self.farm.slave_process(0)),
        );
        let view = self.run(&request).await;
        let master = Usage::of(self.farm.master_process()).since(master);
        let slave = Usage::of(self.farm.slave_process(0)).since(slave);
        let after = floor::atoms_per_second(FLOOR_ATOMS);
        let floor = f64::midpoint(before, after);
        let seconds = seconds(&view, "prepared", "finished");
        let rate = f64::from(atoms) / seconds;
        println!(
            "{atoms:>6} trivial atoms: {rate:>6.0}/s = {:.2} of the floor ({before:.0}/s before, \
             {after:.0}/s after), {seconds:.2} s, prepared in {:.2} s",
            rate / floor,
            self::seconds(&view, "queued", "prepared"),
        );
        println!("       master {master}, slave {slave}");
    }

    async fn sleeping_atoms(&self) {
        let request = self.request("sleeping", 100, "sleep 0.1");
        let view = self.run(&request).await;
        let seconds = seconds(&view, "prepared", "finished");
        let best = 100.0 * 0.1 / f64::from(EXECUTORS);
        println!(
            "   100 atoms of 100 ms: {seconds:.3} s = {:.3} of what sleeping alone takes ({best} s)",
            seconds / best
        );
    }

    async fn single_atoms(&self) {
        let request = self.request("single", 1, "true");
        let mut latencies = Vec::new();
        for _ in 0..30 {
            let view = self.run(&request).await;
            latencies.push(seconds(&view, "queued", "finished") * 1000.0);
        }
        latencies.sort_by(f64::total_cmp);
        let at = |part: usize| latencies.get(latencies.len() * part / 100).copied();
        println!(
            "     1 atom, queued to finished: median {:.1} ms, 90 % {:.1} ms",
            at(50).unwrap_or_default(),
            at(90).unwrap_or_default()
        );
    }

    async fn many_builds(&self) {
        const BUILDS: u32 = 200;
        let request = self.request("single", 1, "true");
        let (mut first, mut last) = (f64::MAX, 0.0_f64);
        let mut builds = Vec::new();
        for _ in 0..BUILDS {
            builds.push(self.farm.submit(&request).await);
        }
        for build in builds {
            let view = self.farm.end_of(build).await;
            first = first.min(time(&view, "queued"));
            last = last.max(time(&view, "finished"));
        }
        let seconds = last - first;
        println!(
            "   200 builds of one atom at once: {:.0} builds/s",
            f64::from(BUILDS) / seconds
        );
    }
}

fn time(view: &BuildView, state: &str) -> f64 {
    let time = view.state_timestamps.get(state).copied().flatten();
    time.unwrap_or_else(|| panic!("the build was never {state}: {view:?}"))
}

fn seconds(view: &BuildView, from: &str, to: &str) -> f64 {
    time(view, to) - time(view, from)
}
