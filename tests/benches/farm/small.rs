//! Small builds: one at a time, many at once, and from Enter to the prompt.

use crate::Bench;
use crate::farm::Farm;
use crate::floor;
use crate::numbers::{largest, median, part};
use crate::usage::Usage;
use crate::wait;
use crate::{seconds, time};
use clusterrunner_common::clock::Timestamp;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many builds there are at once, and how many clients submit them.
pub(crate) const BUILDS: u32 = 200;
const CLIENTS: usize = 16;

/// How many builds there are one after the other.
const SINGLE: usize = 30;
const PROMPTS: usize = 10;

/// How often a client looks that waits for a build.
const LOOK: Duration = Duration::from_millis(1);

/// The pause between two builds, in which slaves clear the first one away.
const PAUSE: Duration = Duration::from_millis(100);

impl Bench {
    /// Builds of one atom, of a directory and of a git repository, one after the other.
    pub(super) async fn single_atoms(&self) {
        let directory = self.request("single", 1, "true");
        let repository = of_repository(&directory);
        for (what, request) in [("directory", directory), ("git", repository)] {
            let (mut latencies, mut seen) = (Vec::new(), Vec::new());
            for _ in 0..SINGLE {
                let began = Instant::now();
                let view = self.run_looking(&request, LOOK).await;
                seen.push(began.elapsed().as_secs_f64() * 1000.0);
                latencies.push(seconds(&view, "queued", "finished") * 1000.0);
                tokio::time::sleep(PAUSE).await;
            }
            println!(
                "     1 atom, {what}: queued to finished median {:.1} ms, 90 % {:.1} ms; as a client sees it median \
                 {:.1} ms, 90 % {:.1} ms",
                median(&latencies),
                part(&latencies, 90),
                median(&seen),
                part(&seen, 90)
            );
        }
    }

    pub(super) async fn many_builds(&self) {
        let request = self.request("single", 1, "true");
        let (mut first, mut last) = (f64::MAX, 0.0_f64);
        let mut builds = Vec::new();
        let floor = floor::times_per_second(&["seq 1", "true"], BUILDS);
        let processes = [self.farm.master_process(), self.farm.slave_process(0)];
        let before = processes.map(Usage::of);
        let client = self.farm.client();
        let params = request.as_object().expect("an object");
        let submit = async |_| client.submit_params(params).await.expect("a build");
        let mut submitted = stream::iter(0..BUILDS)
            .map(submit)
            .buffer_unordered(CLIENTS);
        while let Some(build) = submitted.next().await {
            builds.push(build);
        }
        for build in builds {
            let is_over = async || {
                let view = client.build(build).await.expect("the build's state");
                view.status.is_over().then_some(view)
            };
            let view = wait::wait_for("the build is over", is_over).await;
            first = first.min(time(&view, "queued"));
            last = last.max(time(&view, "finished"));
        }
        let rate = f64::from(BUILDS) / (last - first);
        // Their tear-downs are part of what they cost.
        self.farm.wait_for_rest().await;
        let [master, slave] = processes.map(Usage::of);
        let [master_before, slave_before] = before;
        println!(
            "   {BUILDS} builds of one atom at once: {rate:.0} builds/s, {:.2} of the floor (bash for atomizer and atom, \
             {floor:.0}/s); of a build master {:.0} us, slave {:.0} us",
            rate / floor,
            master.since(master_before).micros_each(BUILDS),
            slave.since(slave_before).micros_each(BUILDS)
        );
    }

    /// From Enter to the prompt of `clusterrunner build`, which brings the results, on a farm that knows the job: of atoms
    /// that take no time and of some that take a second.
    pub(super) async fn prompts(&self) {
        for (name, atoms, command) in [("prompt", 1, "true"), ("longer", 2, "sleep 1")] {
            let request = self.request(name, atoms, command);
            let project = request["project_directory"].as_str().expect("a project");
            build(&self.farm, Path::new(project));
            let (mut whole, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..PROMPTS {
                tokio::time::sleep(PAUSE).await;
                let began = Timestamp::now().as_unix_seconds();
                build(&self.farm, Path::new(project));
                let ended = Timestamp::now().as_unix_seconds();
                let builds = self.farm.client().builds().await.expect("all builds");
                let view = builds.last().expect("a build");
                whole.push((ended - began) * 1000.0);
                before.push((time(view, "queued") - began) * 1000.0);
                after.push((ended - time(view, "finished")) * 1000.0);
            }
            println!(
                "   clusterrunner build, {atoms} x `{command}`: Enter to prompt median {:.0} ms, at most {:.0} ms; until \
                 queued {:.0} ms, from finished on {:.0} ms",
                median(&whole),
                largest(&whole),
                median(&before),
                median(&after)
            );
        }
    }
}

/// The request for the project of another request as a git repository, which it becomes.
fn of_repository(request: &Value) -> Value {
    let project = request["project_directory"].as_str().expect("a project");
    for arguments in [
        ["init", "--quiet", "--initial-branch=main"].as_slice(),
        &["add", "--all"],
        &["commit", "--quiet", "--message=a project"],
    ] {
        let status = Command::new("git")
            .args([
                "-c",
                "user.name=Bench",
                "-c",
                "user.email=bench@example.org",
            ])
            .args(["-c", "commit.gpgSign=false"])
            .args(arguments)
            .current_dir(project)
            .status();
        assert!(status.expect("git").success(), "git {arguments:?}");
    }
    json!({"type": "git", "url": project, "branch": "main", "job_name": request["job_name"]})
}

/// Runs `clusterrunner build` in a project.
fn build(farm: &Farm, project: &Path) {
    let status = farm
        .command()
        .args(["build", "--quiet"])
        .current_dir(project)
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("clusterrunner build").success());
}
