//! What `squeue` prints.

use super::super::running::TOLD;
use clusterrunner_core::pools::{Listed, ListedState};

/// A complaint that was cut may be shorter by what is left of a letter.
const LETTER: usize = 3;

/// Id, state, why it waits, and name of a job.
pub(super) const FORMAT: &str = "%i|%T|%r|%j";

/// The jobs whose names begin with `prefix` that are not over; or what is wrong with the text.
pub(super) fn read(printed: &str, prefix: &str) -> Result<Vec<Listed>, String> {
    let mut listed = Vec::new();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        let mut parts = line.trim().splitn(4, '|');
        let [Some(id), Some(state), Some(why), Some(name)] = std::array::from_fn(|_| parts.next())
        else {
            let shown: String = line.chars().take(100).collect();
            return Err(format!("the line {shown:?}"));
        };
        let state = match state {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT"
            | "RESV_DEL_HOLD" => ListedState::Queued {
                why: Some(why.to_owned()).filter(|why| why != "None"),
            },
            "RUNNING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT"
            | "RESIZING" => ListedState::Running,
            // COMPLETING and all that is over: the slave has ended.
            _ => continue,
        };
        if name.starts_with(prefix) {
            listed.push(Listed {
                name: name.to_owned(),
                id: id.to_owned(),
                state,
            });
        }
    }
    Ok(listed)
}

/// Whether `scancel` complains of jobs that are over.
pub(super) fn is_gone(complaint: &str) -> bool {
    // The first line of one that was cut may be the end of a line.
    let is_cut = complaint.len() + LETTER >= TOLD;
    let lines = complaint.split("; ").skip(usize::from(is_cut));
    let mut lines = lines.peekable();
    let says_something = lines.peek().is_some();
    says_something
        && lines.all(|line| {
            line.contains("Invalid job id")
                || line.contains("Job/step already completing or completed")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_the_pool_are_listed_that_are_not_over() {
        let printed = "1|RUNNING|None|cr-f-a-1\n2|PENDING|Resources|cr-f-a-2\n3|COMPLETED|None|cr-f-a-3\n\
                       4|RUNNING|None|other|name\n5|COMPLETING|None|cr-f-a-5\n6|PENDING|None|cr-f-a-6\n\n";
        let listed = read(printed, "cr-f-a-").unwrap();
        let found: Vec<_> = listed.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(found, ["1", "2", "6"]);
        let why = Some("Resources".to_owned());
        assert_eq!(listed[1].state, ListedState::Queued { why });
        assert_eq!(listed[2].state, ListedState::Queued { why: None });
        assert!(read("slurm_load_jobs error", "").is_err());
    }

    #[test]
    fn jobs_that_are_over_are_no_failure() {
        assert!(is_gone(
            "scancel: error: Kill job error on job id 7: Invalid job id specified"
        ));
        let many = ["scancel: error: Kill job error on job id 7: Invalid job id specified"; 20];
        let many = many.join("; ");
        assert!(is_gone(&many[many.len() - TOLD..]));
        assert!(!is_gone(&"x".repeat(TOLD)));
        assert!(!is_gone(
            "scancel: error: Unable to contact slurm controller"
        ));
    }
}
