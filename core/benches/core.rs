//! How many events the core takes in a second, alone: what a turn of the coordinator does with the cluster,
//! without journal and network.
//!
//! `cargo bench -p clusterrunner-core --bench core` prints events per second of two farms and the memory of
//! an atom that waits, as the allocator was asked for it. `-- --count` runs small farms that are always the same and prints nothing, so that
//! its instructions can be counted (`valgrind --tool=callgrind`) and compared: `./check-core`.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(
    clippy::expect_used,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SessionId};
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The goals.
const EVENTS_PER_SECOND: f64 = 500_000.0;
const BYTES_PER_ATOM: usize = 1024;

/// Builds among slaves with ten executors each.
struct Case {
    name: &'static str,
    slaves: u64,
    builds: u64,
    atoms: u64,
    /// What is expected of each atom; nothing where nothing is known.
    expected_ms: Option<u64>,
}

const fn case(
    name: &'static str,
    slaves: u64,
    builds: u64,
    atoms: u64,
    expected_ms: Option<u64>,
) -> Case {
    Case {
        name,
        slaves,
        builds,
        atoms,
        expected_ms,
    }
}

/// What is measured.
const LARGE: [Case; 4] = [
    case(
        "1,000 slaves, one build of 100,000 atoms of 1 ms",
        1000,
        1,
        100_000,
        Some(1),
    ),
    case(
        "1,000 slaves, one build of 100,000 atoms of a minute",
        1000,
        1,
        100_000,
        Some(60_000),
    ),
    case(
        "1,000 slaves, 200 builds of 500 atoms of 1 ms",
        1000,
        200,
        500,
        Some(1),
    ),
    case(
        "1,000 slaves, 200 builds of 500 atoms of a minute",
        1000,
        200,
        500,
        Some(60_000),
    ),
];

/// What is counted: the same in small.
const SMALL: [Case; 3] = [
    case("one build", 20, 1, 3000, Some(1)),
    case("many builds", 20, 20, 100, Some(60_000)),
    case("a new project", 20, 1, 2000, None),
];

fn main() {
    if std::env::args().any(|argument| argument == "--count") {
        for case in &SMALL {
            Farm::run(case);
        }
        return;
    }
    for case in &LARGE {
        let farm = Farm::run(case);
        let per_second = farm.events as f64 / farm.busy.as_secs_f64();
        let verdict = if per_second < EVENTS_PER_SECOND {
            ", which is too few"
        } else {
            ""
        };
        println!(
            "{}: {} events, {per_second:.0} a second{verdict}",
            case.name, farm.events
        );
    }
    let waiting = 100_000_u64;
    let mut farm = Farm::default();
    IS_COUNTED.store(true, Ordering::Relaxed);
    farm.build(&case("", 0, 1, waiting, Some(1)), 1);
    IS_COUNTED.store(false, Ordering::Relaxed);
    let bytes = IN_USE.load(Ordering::Relaxed) / 100_000;
    let verdict = if bytes > BYTES_PER_ATOM {
        ", which is too much"
    } else {
        ""
    };
    println!("{bytes} bytes for each atom that waits{verdict}");
}

/// What this process has had of its processor: other work on the machine does not count.
fn cpu_time() -> Duration {
    let times = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let spent = times.split(' ').next().and_then(|time| time.parse().ok());
    Duration::from_nanos(spent.unwrap_or(0))
}

/// What was asked for and not given back while it was counted.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static IS_COUNTED: AtomicBool = AtomicBool::new(false);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "the form of an allocator")]
// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_COUNTED.load(Ordering::Relaxed) {
            IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if IS_COUNTED.load(Ordering::Relaxed) {
            IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if IS_COUNTED.load(Ordering::Relaxed) {
            IN_USE.fetch_add(size, Ordering::Relaxed);
            IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[derive(Default)]
struct Farm {
    cluster: Cluster,
    now: u64,
    events: u64,
    /// What slaves will say.
    reports: VecDeque<Command>,
    busy: Duration,
}

impl Farm {
    fn run(case: &Case) -> Self {
        let mut farm = Self::default();
        let started = cpu_time();
        for slave in 0..case.slaves {
            farm.tell(Command::ConnectSlave {
                key: None,
                url: format!("slave-{slave}:43001"),
                session: SessionId("life".to_owned()),
                num_executors: 10,
                labels: BTreeSet::new(),
                known_as: None,
                finished: Vec::new(),
                seen: Vec::new(),
                fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
            });
        }
        for build in 1..=case.builds {
            farm.build(case, build);
        }
        while let Some(report) = farm.reports.pop_front() {
            farm.tell(report);
        }
        farm.busy = cpu_time().saturating_sub(started);
        assert!(
            farm.cluster
                .builds()
                .all(|build| build.num_unstarted() == 0)
        );
        farm
    }

    fn build(&mut self, case: &Case, build: u64) {
        let request = serde_json::json!({"type": "git", "url": format!("https://host/{build}")});
        let request = BuildRequest::from_json(&request).expect("a good request");
        let request = Box::new(request);
        self.tell(Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        });
        let atom = |n: u64| format!("export TEST=\"tests/unit/test_{n}.py\";");
        let plan = Plan {
            job_name: "unit".to_owned(),
            command: "python -m unittest $TEST".to_owned(),
            atoms: (0..case.atoms).map(atom).collect(),
            expected_ms: case.expected_ms.map_or_else(Vec::new, |expected| {
                (0..case.atoms).map(|n| expected + n % 3).collect()
            }),
            ..Plan::default()
        };
        let build = BuildId(build);
        let plan = Box::new(plan);
        self.tell(Command::ReportPrepared { build, plan });
    }

    /// What one turn does, but for journal and answers.
    fn tell(&mut self, command: Command) {
        self.now += 1;
        let at = Timestamp(self.now);
        let events = self.cluster.decide(command, at).expect("nobody is wrong");
        for event in events {
            self.take(&event);
        }
        while let Some(event) = self.cluster.follow_up(at) {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Event) {
        self.events += 1;
        self.cluster.apply(event);
        std::hint::black_box(self.cluster.effects(event));
        match &event.fact {
            Fact::Build(build, BuildFact::SetupRequested { slave, .. }) => {
                self.reports.push_back(Command::ReportSetUp {
                    slave: *slave,
                    session: SessionId("life".to_owned()),
                    build: *build,
                });
            }
            Fact::Build(
                build,
                BuildFact::SubjobHandedOut {
                    slave,
                    subjob,
                    attempt,
                },
            ) => self.reports.push_back(Command::ReportFinished {
                hand_out: HandOut {
                    slave: *slave,
                    build: *build,
                    subjob: *subjob,
                    attempt: *attempt,
                },
                executor: None,
                outcomes: vec![AtomOutcome {
                    exit_code: 0,
                    duration_ms: 1,
                    trouble: None,
                    started_at: None,
                    usage: None,
                }],
            }),
            Fact::Build(build, BuildFact::TeardownRequested { slave }) => {
                self.reports.push_back(Command::ReportTornDown {
                    slave: *slave,
                    build: *build,
                });
            }
            _ => {}
        }
    }
}
