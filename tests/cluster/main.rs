//! Whole clusters: the real programs on loopback addresses of their own, with real repositories.
//!
//! Each test starts a [`farm::Farm`], drives it as a user or a slave would, and compares what comes
//! back with what it knows beforehand. A farm that goes out of scope ends its daemons and checks that
//! nothing of them is left.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that can not go on should say where it stopped"
)]

mod app_commands;
mod archives;
mod daemon;
mod events;
mod farm;
mod gate;
mod job;
mod json_schema;
mod machine;
mod orphans;
mod outcome;
mod polyaxon;
mod ports;
mod preparing;
mod processes;
mod program;
mod pusher;
mod raw;
mod repository;
mod skipping;
mod splitting_off;
mod steps;
mod stories;
mod wait;

mod accounts;
mod atomizers;
mod atoms;
#[path = "../attacks/mod.rs"]
mod attacks;
mod audit;
mod bad_atoms;
mod bad_line;
mod batches;
mod binder;
mod bisect;
mod canceling;
mod certificates;
mod chaos;
mod command_line;
mod containers;
mod daemons;
mod damage;
mod deis;
mod deploy;
mod doctor;
mod doors;
mod drop_in;
mod durations;
mod full_disk;
mod guarded_reads;
mod held_results;
mod history;
mod house;
mod https;
mod hunting;
mod incarnations;
mod init_jobs;
mod instances;
mod isolation;
mod job_commands;
mod joining;
mod journal;
mod json_forms;
mod kill_points;
mod kubernetes_files;
mod languages;
mod large_consoles;
mod launching;
mod legacy;
mod limits;
mod local_farm;
mod master_faults;
mod matrix;
mod network;
mod notify;
mod odd_projects;
mod operations;
mod page;
mod plan;
mod polling;
mod polyaxon_code;
mod polyaxon_logs;
mod polyaxon_projects;
mod polyaxon_reads;
mod pools;
mod project_from_master;
mod projects;
mod push;
mod readme;
mod repro;
mod results_here;
mod retention;
mod retries;
mod secrets;
mod set_up;
mod setup_cache;
mod shown;
mod shown_settings;
mod shutdown;
mod sick_slaves;
mod signatures;
mod single_artifacts;
mod slave_faults;
mod slave_keys;
mod strangers;
mod submitting;
mod terminal;
mod tested;
mod variables;
mod whole_build;
mod workers;
mod working_trees;
