//! From the steps of a build to the one command of a job, and from what that command printed to the step that failed.

use super::Specification;
use clusterrunner_common::settings::ImagePolicy;
use serde_json::{Map, Value, json};

/// The name of the job.
pub(in crate::http::polyaxon) const JOB: &str = "build";

/// The variable that tells a step how many there are. It makes the build's only atom.
const NUM_STEPS: &str = "BUILD_STEPS";

/// How much of a step a message shows.
const SHOWN_CHARACTERS: usize = 200;

/// How the line begins that says which step failed.
const FAILED: &str = "Build step ";

/// A job that runs the steps one after the other, each in a shell of its own, and its only atom.
pub(in crate::http::polyaxon) fn job(
    specification: &Specification,
    policy: ImagePolicy,
) -> (Map<String, Value>, String) {
    let num_steps = specification.build_steps.len();
    let job = json!({
        "commands": [script(specification, policy)],
        "atomizers": [{NUM_STEPS: format!("echo {num_steps}")}],
    });
    let job = match job {
        Value::Object(job) => job,
        _ => Map::new(),
    };
    (job, format!("export {NUM_STEPS}=\"{num_steps}\";"))
}

/// What the log says first where the build names an image that is not used.
pub(super) fn not_used(specification: &Specification) -> Option<String> {
    let (what, name) = match (&specification.image, &specification.dockerfile) {
        (Some(image), _) => ("image", image),
        (None, Some(dockerfile)) => ("dockerfile", dockerfile),
        (None, None) => return None,
    };
    Some(format!(
        "The {what} {name} was not used: there is no container runtime here."
    ))
}

fn script(specification: &Specification, policy: ImagePolicy) -> String {
    let mut lines = Vec::new();
    if let Some(sentence) = not_used(specification) {
        lines.push(format!("printf '%s\\n' {}", quoted(&sentence)));
        if policy == ImagePolicy::Require {
            lines.push("exit 1".to_owned());
            return lines.join("\n");
        }
    }
    // The shell that runs this is the one that runs all commands of builds.
    lines.push(format!(
        "step_failed() {{ code=$?; printf '{FAILED}%s failed with exit code %s: %s\\n' \"$1\" \"$code\" \"$2\"; exit \"$code\"; }}"
    ));
    for (number, step) in (1..).zip(&specification.build_steps) {
        let (step, shown) = (quoted(step), quoted(&shown(step)));
        lines.push(format!(
            "\"${{BASH:-/bin/sh}}\" -c {step} || step_failed {number} {shown}"
        ));
    }
    lines.push("exit 0".to_owned());
    lines.join("\n")
}

/// A text that the shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A step as one line of bounded length.
fn shown(step: &str) -> String {
    let mut words = step.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(SHOWN_CHARACTERS) {
        words.truncate(end);
        words.push('…');
    }
    words.retain(|c| !c.is_control());
    words
}

/// Why a build failed, from the end of what it printed; none if it does not say.
pub(in crate::http::polyaxon) fn failure_in(
    specification: &Specification,
    printed: &str,
) -> Option<String> {
    let last = printed.lines().next_back()?.trim_end();
    let is_step = last.starts_with(FAILED) && last.contains(" failed with exit code ");
    let is_refusal = not_used(specification).is_some_and(|sentence| sentence == last);
    (is_step || is_refusal).then(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::job::config::JobConfig;
    use std::process::Command;

    fn specification(steps: &[&str]) -> Specification {
        Specification {
            build_steps: steps.iter().map(|step| (*step).to_owned()).collect(),
            ..Specification::default()
        }
    }

    /// Exit code and output of the job's command, as a slave runs it.
    fn run(specification: &Specification, policy: ImagePolicy) -> (i32, String) {
        let (job, atom) = job(specification, policy);
        let file = serde_json::to_string(&json!({JOB: job})).unwrap();
        let config = JobConfig::parse(&file, "job").unwrap();
        let (_, job) = config.job(None).unwrap();
        let line = format!("set -o pipefail; {atom} {}", job.commands);
        let output = Command::new("/bin/bash")
            .args(["-c", &line])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), printed)
    }

    #[test]
    fn steps_run_in_order_each_in_a_shell_of_its_own() {
        let steps = [
            "X=1; cd /; echo \"one '$BUILD_STEPS' $X\" # a comment",
            "echo \"two ${X:-none}\" \\",
            "false | true\nif true; then echo 'it''s three'; fi",
            "cat <<END\n  four\nEND",
        ];
        let (code, printed) = run(&specification(&steps), ImagePolicy::Use);
        assert_eq!(
            (code, printed.as_str()),
            (0, "one '4' 1\ntwo none \\\nits three\n  four\n")
        );
        assert_eq!(
            run(&specification(&[]), ImagePolicy::Use),
            (0, String::new())
        );
    }

    #[test]
    fn the_first_step_that_fails_ends_the_build_and_is_named() {
        let check = |steps: &[&str], code, failure: &str| {
            let specification = specification(steps);
            let (found, printed) = run(&specification, ImagePolicy::Use);
            assert_eq!(found, code, "{printed}");
            assert_eq!(
                failure_in(&specification, &printed).as_deref(),
                Some(failure)
            );
            assert!(!printed.contains("never"), "{printed}");
        };
        check(
            &["echo a", "echo 'b c'; exit 3", "echo never"],
            3,
            "Build step 2 failed with exit code 3: echo 'b c'; exit 3",
        );
        check(
            &["kill -9 $$", "echo never"],
            137,
            "Build step 1 failed with exit code 137: kill -9 $$",
        );
        check(
            &["if true; then\n  exit 7\nfi", "echo never"],
            7,
            "Build step 1 failed with exit code 7: if true; then exit 7 fi",
        );
        let long = format!("true {}; exit 2", "x".repeat(1000));
        let shown = format!(
            "Build step 1 failed with exit code 2: true {}…",
            "x".repeat(195)
        );
        check(&[&long], 2, &shown);
        // What is no shell text does not reach the steps after it.
        let (code, printed) = {
            let specification = specification(&["echo 'open 2>/dev/null", "echo never"]);
            let (job, _) = job(&specification, ImagePolicy::Use);
            let line = job["commands"][0].as_str().unwrap();
            let output = Command::new("/bin/bash")
                .args(["-c", line])
                .output()
                .unwrap();
            (
                output.status.code().unwrap(),
                String::from_utf8(output.stdout).unwrap(),
            )
        };
        assert!(code != 0 && !printed.contains("\nnever"), "{printed}");
    }

    #[test]
    fn an_image_that_is_not_used_is_said_first_or_fails_the_build() {
        let specification = Specification {
            image: Some("busybox:1".to_owned()),
            ..specification(&["echo one"])
        };
        let sentence = "The image busybox:1 was not used: there is no container runtime here.";
        let (code, printed) = run(&specification, ImagePolicy::Use);
        assert_eq!((code, printed), (0, format!("{sentence}\none\n")));
        let (code, printed) = run(&specification, ImagePolicy::Require);
        assert_eq!((code, printed.clone()), (1, format!("{sentence}\n")));
        assert_eq!(
            failure_in(&specification, &printed).as_deref(),
            Some(sentence)
        );
        let dockerfile = Specification {
            dockerfile: Some("a/Dockerfile".to_owned()),
            ..Specification::default()
        };
        assert!(
            not_used(&dockerfile)
                .unwrap()
                .starts_with("The dockerfile a/Dockerfile was not")
        );
        assert_eq!(failure_in(&dockerfile, "Build steps\n"), None);
        assert_eq!(failure_in(&dockerfile, ""), None);
    }
}
