//! What an atom costs at each level of isolation.

use crate::farm::{Extra, Farm};
use crate::numbers::median;
use crate::options::Options;
use crate::usage::Usage;
use crate::{Bench, EXECUTORS, seconds};
use clusterrunner_common::api::BuildStatus;
use serde_json::json;
use std::path::Path;

/// The user that commands are at the level `user`.
const USER: &str = "nobody";

/// Runs builds of trivial atoms at each level, in turns.
pub(crate) async fn measure(options: &Options) {
    if !rustix::process::geteuid().is_root() {
        println!("   levels: not measured, they need root");
        return;
    }
    let container = options.image.as_deref().map(|image| ("container", image));
    let levels = [("none", ""), ("limits", ""), ("user", "")];
    let levels: Vec<_> = levels.into_iter().chain(container).collect();
    let settings = options
        .slave_settings
        .as_deref()
        .map(std::fs::read_to_string);
    let settings = settings.transpose().expect("settings of the slave");
    let slave = format!("run_as = {USER}\n{}", settings.unwrap_or_default());
    let extra = Extra {
        general: "log_level = WARNING",
        slave: &slave,
        ..Extra::default()
    };
    // Temporary files are hidden at the level user.
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(parent).expect("a directory");
    let mut farm = Farm::in_directory(parent, crate::daemon::own_address(), &extra);
    farm.start_all(&[EXECUTORS]).await;
    let bench = Bench::of(farm);
    for atoms in &options.sizes {
        let mut costs = vec![Vec::new(); levels.len()];
        for _ in 0..options.rounds {
            for (level, costs) in levels.iter().zip(&mut costs) {
                costs.push(bench.cost_at(*level, *atoms).await);
            }
        }
        let open = median(&costs[0]);
        for ((level, _), costs) in levels.iter().zip(&costs) {
            let cost = median(costs);
            println!(
                "{atoms:>6} trivial atoms at {level}, {} rounds: median {cost:.2} ms for an atom, {:.2} ms more than at none",
                options.rounds,
                cost - open
            );
        }
    }
}

impl Bench {
    /// For how many milliseconds an executor has an atom.
    async fn cost_at(&self, (level, image): (&str, &str), atoms: u32) -> f64 {
        let name = format!("at-{level}");
        let directory = self.projects.join(&name);
        std::fs::create_dir_all(&directory).expect("a project directory");
        let mut job = json!({
            "commands": ["true"], "atomizers": [{"N": format!("seq {atoms}")}], "isolation": level,
        });
        if !image.is_empty() {
            job["image"] = image.into();
        }
        let job = json!({ &name: job });
        std::fs::write(directory.join("clusterrunner.yaml"), job.to_string()).expect("a project");
        let request =
            json!({"type": "directory", "project_directory": directory, "job_name": name});
        let slave = self.farm.slave_process(0);
        let before = Usage::of(slave);
        let view = self.run(&request).await;
        assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
        let used = Usage::of(slave).since(before);
        let took = seconds(&view, "prepared", "finished") * 1000.0;
        let cost = took * f64::from(EXECUTORS) / f64::from(atoms);
        println!(
            "       {level}: {cost:.2} ms for an atom, slave {:.0} us",
            used.micros_each(atoms)
        );
        cost
    }
}
