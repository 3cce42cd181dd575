//! Builds, atoms, slaves and archives for scripts.

use clusterrunner_common::api::{
    AtomState, AtomView, BuildResult, BuildStatus, BuildView, SlaveView,
};
use clusterrunner_common::ids::{AtomId, BuildId, SlaveId, SubjobId};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, json};

/// An archive with these members, whatever their names.
pub(crate) fn archive(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Build 1 in this state, as it was submitted.
pub(crate) fn view(status: BuildStatus) -> BuildView {
    let entered = json!({"queued": 100.0, "preparing": null, "prepared": null, "building": null});
    BuildView {
        id: BuildId(1),
        status,
        details: None,
        error_message: None,
        num_atoms: None,
        num_subjobs: 0,
        failed_atoms: None,
        result: None,
        request_params: Map::from_iter([
            ("type".to_owned(), json!("directory")),
            ("project_directory".to_owned(), json!("/srv/project")),
            ("job_name".to_owned(), json!("Unit")),
        ]),
        state_timestamps: serde_json::from_value(entered).unwrap(),
        artifacts: None,
        commit: None,
        job_name: None,
        num_atoms_completed: 0,
        num_atoms_failed: 0,
        num_atoms_in_progress: 0,
        num_atoms_in_trouble: 0,
        retry_of: None,
        children: Vec::new(),
        parent: None,
        matrix: None,
        failing: None,
        num_atoms_not_run: None,
        num_atoms_flaky: None,
        warnings: Vec::new(),
        lacks_atoms: false,
        seconds_left: None,
        finish: None,
        slaves_setting_up: Vec::new(),
        template: None,
        project_id: None,
        started_by: None,
        flaky_fails: false,
    }
}

/// Build 1 with so many atoms done and failed.
pub(crate) fn building(atoms: u64, done: u64, failed: u64) -> BuildView {
    BuildView {
        num_atoms: Some(atoms),
        num_subjobs: atoms,
        num_atoms_completed: done,
        num_atoms_failed: failed,
        num_atoms_in_progress: u64::from(done < atoms),
        ..view(BuildStatus::Building)
    }
}

/// Build 1 after its end.
pub(crate) fn finished(atoms: u64, failed: Vec<AtomView>) -> BuildView {
    let result = if failed.is_empty() {
        BuildResult::NoFailures
    } else {
        BuildResult::Failure
    };
    BuildView {
        status: BuildStatus::Finished,
        result: Some(result),
        failed_atoms: Some(failed.clone()),
        num_atoms_failed: failed.len() as u64,
        ..building(atoms, atoms, 0)
    }
}

/// Build 1 after somebody canceled it.
pub(crate) fn canceled() -> BuildView {
    BuildView {
        status: BuildStatus::Canceled,
        result: Some(BuildResult::Failure),
        ..building(2, 1, 0)
    }
}

/// Atom 0 of a subjob.
pub(crate) fn atom_of(subjob: u32, state: AtomState, exit_code: Option<i32>) -> AtomView {
    AtomView {
        command_string: format!("export TEST=\"test_{subjob}\";"),
        name: None,
        value: None,
        expected_time: None,
        actual_time: exit_code.map(|_| 1.25),
        exit_code,
        state,
        id: AtomId(0),
        subjob_id: SubjobId(subjob),
        trouble: None,
        started_at: None,
        executor_id: None,
        attempt: None,
        failed_attempts: Vec::new(),
        is_flaky: false,
        fails_as_flaky: false,
        signal: None,
        timed_out_after: None,
        output_bytes: None,
        max_memory_bytes: None,
        cpu_seconds: None,
        worker: None,
        batch_in_vain: None,
    }
}

pub(super) fn slave() -> SlaveView {
    SlaveView {
        url: "10.0.0.7:43001".to_owned(),
        id: SlaveId(1),
        session_id: None,
        num_executors: 8,
        num_executors_in_use: 3,
        current_build_id: Some(BuildId(7)),
        current_build_state: None,
        is_alive: true,
        is_in_shutdown_mode: false,
        labels: Vec::new(),
        is_drained: false,
        is_quarantined: false,
        quarantine_reason: None,
        next_probe_at: None,
        is_in_doubt: false,
        lost_reason: None,
        is_stopped: false,
        last_heard_at: None,
        version: None,
        load_of_last_hour: Vec::new(),
        isolation: None,
        runs_containers: None,
        key: None,
    }
}
