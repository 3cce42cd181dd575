//! What the parts of this benchmark begin with: a master that says little, and a build of many atoms.

use crate::farm::{Extra, Farm};
use clusterrunner_common::ids::BuildId;
use serde_json::json;

/// A farm that has a master only, which takes slaves for lost after so many seconds without a sign.
pub(crate) async fn master(slave_lost_after: u32) -> Farm {
    let extra = Extra {
        general: "log_level = WARNING",
        master: &format!("slave_lost_after = {slave_lost_after}"),
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_master().await;
    farm
}

/// Submits a build of so many atoms, each of which runs `command`.
pub(crate) async fn submit(farm: &Farm, command: &str, atoms: u32) -> BuildId {
    let project = farm.path("project");
    std::fs::create_dir(&project).unwrap();
    let job =
        format!("Many:\n  commands:\n    - '{command}'\n  atomizers:\n    - N: 'seq {atoms}'\n");
    std::fs::write(project.join("clusterrunner.yaml"), job).unwrap();
    let request = json!({"type": "directory", "project_directory": project});
    farm.submit(&request).await
}
