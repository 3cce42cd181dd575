//! `clusterrunner artifacts`: single files of atoms, listed and fetched.

use crate::job::job;
use crate::machine::{Machine, files_below, interrupt};
use crate::wait::wait_for;
use std::fs;
use std::path::Path;

/// Two atoms, each with three files, one of them of a hostile name.
const LEAVING: &str = r#"mkdir -p "$ARTIFACT_DIR/deep/er" && cd "$ARTIFACT_DIR" &&
    echo "report $N" >deep/er/report.xml && echo "picture $N" >picture.png && echo odd >'a b%2f#?.txt'"#;

fn content(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.path("project").join(path)).unwrap()
}

#[test]
fn files_are_listed_and_fetched_by_patterns() {
    let machine = Machine::new(&job(LEAVING).atoms(2).to_string());
    machine.run_to(0, &["build", "--no-results"]);
    let listed = machine.run_to(0, &["artifacts", "1"]).stdout;
    let names: Vec<&str> = listed
        .lines()
        .skip(1)
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(names.len(), 6, "{listed}");
    assert!(
        names.contains(&"artifact_1_0/deep/er/report.xml"),
        "{listed}"
    );

    // One pattern of names, one of paths.
    let brought = machine.run_to(0, &["artifacts", "1", "*.xml", "-o", "out"]);
    assert_eq!(brought.stdout, "");
    assert!(
        brought.stderr.contains("2 files (18 B) in out\n"),
        "{brought:#?}"
    );
    let out = machine.path("project/out");
    assert_eq!(files_below(&out).len(), 2);
    assert_eq!(
        content(&machine, "out/artifact_0_0/deep/er/report.xml"),
        "report 1\n"
    );
    machine.run_to(0, &["artifacts", "1", "artifact_1_0/**", "-o", "one"]);
    assert_eq!(files_below(&machine.path("project/one")).len(), 3);
    assert_eq!(content(&machine, "one/artifact_1_0/a b%2f#?.txt"), "odd\n");

    // Nothing is replaced, and nothing fetched beside what is there, unless the user says so.
    let mine = out.join("artifact_0_0/deep/er/report.xml");
    fs::write(&mine, "mine").unwrap();
    let refused = machine.run_to(2, &["artifacts", "1", "-o", "out"]);
    for text in [
        "2 files are there already",
        "out/artifact_0_0/deep/er/report.xml",
        "--force",
    ] {
        assert!(refused.stderr.contains(text), "{refused:#?}");
    }
    assert_eq!(files_below(&out).len(), 2);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    machine.run_to(0, &["artifacts", "1", "-o", "out", "--force"]);
    assert_eq!(files_below(&out).len(), 6);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "report 1\n");

    // Where nothing is meant the user learns what there is.
    let none = machine.run_to(2, &["artifacts", "1", "*.pdf", "-o", "none"]);
    assert!(
        none.stderr
            .contains("none of the 6 files of build 1 fits '*.pdf'"),
        "{none:#?}"
    );
    assert!(!machine.path("project/none").exists());
    machine.run_to(2, &["artifacts", "99"]);
}

/// No link on the way leads a file elsewhere, and nothing is left of one that could not be put in place.
#[test]
fn a_link_in_the_way_is_not_followed() {
    let machine = Machine::new(&job(LEAVING).atoms(1).to_string());
    machine.run_to(0, &["build", "--no-results"]);
    let elsewhere = machine.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir_all(machine.path("project/out/artifact_0_0")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, machine.path("project/out/artifact_0_0/deep")).unwrap();
    for options in [&["-o", "out"][..], &["-o", "out", "--force"]] {
        machine.run_to(5, &[&["artifacts", "1", "*.xml"], options].concat());
    }
    assert!(files_below(&elsewhere).is_empty());
}

/// Several commands may fetch into one directory: each file is whole, whoever is first.
#[test]
fn commands_at_once_do_not_mix_their_files() {
    let big = r#"head -c 3000000 /dev/zero | tr '\0' "$N" >"$ARTIFACT_DIR/big""#;
    let machine = Machine::new(&job(big).atoms(4).to_string());
    machine.run_to(0, &["build", "--no-results"]);
    let line = ["artifacts", "1", "-o", "out", "--force"];
    let fetching: Vec<_> = (0..3).map(|_| machine.start(&line)).collect();
    for child in fetching {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let files = files_below(&machine.path("project/out"));
    assert_eq!(files.len(), 4, "{files:?}");
    let is_whole = |path: &Path| {
        let content = fs::read(path).unwrap();
        content.len() == 3_000_000 && content.iter().all(|byte| *byte == content[0])
    };
    assert!(files.iter().all(|path| is_whole(path)));
}

/// While the build runs there is what its ended atoms left, and the command says that more may come.
#[tokio::test]
async fn atoms_that_have_not_ended_are_told() {
    let command = r#"echo "$N" >"$ARTIFACT_DIR/file"; test "$N" = 1 || until test -e "$PROJECT_DIR/go"; do sleep 0.02; done"#;
    let machine = Machine::new(&job(command).atoms(2).to_string());
    let build = machine.start(&["build", "--no-results"]);
    let listed = wait_for("the first atom has ended", async || {
        let listed = machine.run(&["artifacts", "1"]);
        listed
            .stdout
            .contains("artifact_0_0/file")
            .then_some(listed)
    })
    .await;
    assert!(
        listed.stderr.contains("1 atom has not ended yet"),
        "{listed:#?}"
    );
    let none = machine.run_to(2, &["artifacts", "1", "nothing"]);
    assert!(
        none.stderr.contains("1 of its atoms has not ended"),
        "{none:#?}"
    );
    interrupt(&build);
    build.wait_with_output().unwrap();
    // What was cut off leaves nothing more.
    let canceled = machine.run_to(0, &["artifacts", "1"]);
    assert!(!canceled.stderr.contains("not ended"), "{canceled:#?}");
}
