//! What 1,000 instances cost a master. The slaves are models, so that the machine has nothing else to do.

use crate::binder::Binder;
use crate::model_hosts;
use crate::usage::Usage;
use crate::wait::wait_for;
use std::time::{Duration, Instant};

/// How many slaves there are, and how many instances each runs.
const HOSTS: u32 = 10;
const EACH: u32 = 100;

/// How long instances that nobody uses are watched.
const IDLE: Duration = Duration::from_secs(30);

pub(crate) async fn thousand() {
    // The real slave builds the template and runs none.
    let binder = Binder::start(0).await;
    let template = binder.builds().await;
    let (master, secret) = (binder.farm.master_address(), binder.farm.secret());
    let process = binder.farm.master_process();
    let address = binder.farm.address();
    let hosts = model_hosts::start_all((&master, &secret), address, (HOSTS, EACH)).await;
    let alone = Usage::of(process).memory();
    let number = HOSTS * EACH;
    let began = Instant::now();
    for _ in 0..number {
        binder.launches(&template).await;
    }
    wait_for("all instances are up", async || {
        let up = binder.number_of_up().await;
        (up == number as usize).then_some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    let before = Usage::of(process);
    println!(
        "{number} instances on {HOSTS} model slaves: all are up after {took:.2} s; master {alone:.0} MiB before, {:.0} MiB after",
        before.memory()
    );
    tokio::time::sleep(IDLE).await;
    let share = Usage::of(process).since(before).seconds() / IDLE.as_secs_f64() * 100.0;
    println!("  master, while nobody uses them: {share:.2} % of a core");
    drop(hosts);
}
