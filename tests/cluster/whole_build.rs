//! One large build over several slaves: everything that comes back, compared with what must.

use crate::archives::{Member, tar_of, zip_of};
use crate::farm::Farm;
use crate::repository::Repository;
use clusterrunner_common::api::{AtomState, AtomView, BuildResult, BuildStatus, BuildView};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many atoms the build has.
pub(crate) const ATOMS: u32 = 200;

/// The atoms that fail, and how; 9 ends itself by a signal.
const FAILING: [(u32, i32); 7] = [
    (7, 1),
    (31, 2),
    (64, 3),
    (99, 77),
    (128, 126),
    (150, 255),
    (200, -9),
];

/// A project whose atom N leaves a line in `log` each time it runs, and takes `pause` seconds.
pub(crate) fn many_atoms(log: &Path, pause: &str) -> String {
    let codes: String = FAILING
        .iter()
        .map(|(atom, code)| match code {
            -9 => format!("{atom}) kill -9 $$ ;; "),
            code => format!("{atom}) exit {code} ;; "),
        })
        .collect();
    format!(
        r#"Many:
  setup_build:
    - echo setup > set_up
  commands:
    - test -f set_up
    - echo "$N $BUILD_EXECUTOR_INDEX $MACHINE_EXECUTOR_INDEX" >> '{log}'
    - echo "stdout of $N"
    - echo "stderr of $N" >&2
    - mkdir "$ARTIFACT_DIR/sub" "$ARTIFACT_DIR/empty"
    - printf 'artifact of %s' "$N" > "$ARTIFACT_DIR/sub/result.txt"
    - ln -s sub/result.txt "$ARTIFACT_DIR/link"
    - sleep {pause}
    - case "$N" in {codes} esac
  atomizers:
    - N: seq 1 {ATOMS}
"#,
        log = log.display()
    )
}

/// How often each atom has run, by the lines in its log.
pub(crate) fn runs(log: &Path) -> BTreeMap<u32, usize> {
    let mut runs = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap_or_default().lines() {
        let atom = line.split(' ').next().unwrap().parse().unwrap();
        *runs.entry(atom).or_default() += 1;
    }
    runs
}

/// N of an atom of [`many_atoms`].
pub(crate) fn number(atom: &AtomView) -> u32 {
    let text = atom.command_string.strip_prefix("export N=\"");
    let text = text.and_then(|text| text.strip_suffix("\";")).unwrap();
    text.parse().unwrap()
}

fn expected_code(number: u32) -> i32 {
    let failing = FAILING.iter().find(|(atom, _)| *atom == number);
    failing.map_or(0, |(_, code)| *code)
}

fn directory(atom: &AtomView) -> String {
    format!("artifact_{}_{}", atom.subjob_id, atom.id)
}

/// Compares a finished build of [`many_atoms`] with what must come out of it.
pub(crate) async fn check_results(farm: &Farm, build: &BuildView) {
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::Failure));
    assert_eq!(build.num_atoms, Some(ATOMS.into()));
    assert_eq!(build.num_atoms_completed, u64::from(ATOMS));
    assert_eq!(build.num_atoms_failed, FAILING.len() as u64);
    assert_eq!(build.num_atoms_in_progress, 0);
    assert_eq!(build.error_message, None);

    let atoms = farm.atoms(build.id).await;
    let numbers: Vec<u32> = atoms.iter().map(number).collect();
    assert_eq!(numbers, (1..=ATOMS).collect::<Vec<_>>());
    let (tar, zip) = (tar_of(farm, build.id).await, zip_of(farm, build.id).await);
    let mut expected_tar = BTreeMap::new();
    for atom in &atoms {
        let number = number(atom);
        assert_eq!(atom.state, AtomState::Completed);
        assert_eq!(atom.exit_code, Some(expected_code(number)), "atom {number}");
        let text = format!("stdout of {number}\nstderr of {number}\n");
        assert_eq!(farm.console(build.id, atom).await, text, "atom {number}");
        add_expected(&mut expected_tar, atom, &text, &zip);
    }
    let failed: BTreeSet<String> = atoms
        .iter()
        .filter(|atom| atom.exit_code != Some(0))
        .map(directory)
        .collect();
    let Some(Member::File(failures)) = tar.get("./failures.txt") else {
        panic!("there is no failures.txt");
    };
    let failures = String::from_utf8(failures.clone()).unwrap();
    let listed: BTreeSet<String> = failures.split('\n').map(str::to_owned).collect();
    assert_eq!(listed, failed);
    expected_tar.insert(
        "./failures.txt".to_owned(),
        Member::File(failures.into_bytes()),
    );
    let names = |tar: &BTreeMap<String, Member>| tar.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&tar), names(&expected_tar));
    for (name, member) in &tar {
        assert_eq!(member, &expected_tar[name], "{name}");
    }
    assert_eq!(zip, files_of(&tar));

    let in_view: Vec<&AtomView> = build.failed_atoms.iter().flatten().collect();
    let failed: Vec<&AtomView> = atoms
        .iter()
        .filter(|atom| atom.exit_code != Some(0))
        .collect();
    assert_eq!(in_view, failed);
}

/// Adds what an atom must leave in the archive. Its time is not known beforehand, but must be the
/// one that the API tells.
fn add_expected(
    tar: &mut BTreeMap<String, Member>,
    atom: &AtomView,
    console: &str,
    zip: &BTreeMap<String, Vec<u8>>,
) {
    let (name, number) = (directory(atom), number(atom));
    let mut add = |inside: &str, member| tar.insert(format!("./{name}/{inside}"), member);
    for inside in ["", "sub/", "empty/"] {
        add(inside, Member::Directory);
    }
    add("link", Member::Link("sub/result.txt".to_owned()));
    let command = String::from_utf8(zip[&format!("{name}/clusterrunner_command")].clone()).unwrap();
    assert!(
        command.starts_with(&format!("{} test -f set_up && ", atom.command_string)),
        "{command}"
    );
    let time = String::from_utf8(zip[&format!("{name}/clusterrunner_time")].clone()).unwrap();
    let seconds: f64 = time.trim_end().parse().unwrap();
    assert_eq!(time, format!("{seconds:.2}\n"));
    assert_eq!(atom.actual_time, Some(seconds));
    let code = format!("{}\n", expected_code(number));
    for (inside, content) in [
        ("sub/result.txt", format!("artifact of {number}")),
        ("clusterrunner_console_output", console.to_owned()),
        ("clusterrunner_exit_code", code),
        ("clusterrunner_command", command),
        ("clusterrunner_time", time),
    ] {
        add(inside, Member::File(content.into_bytes()));
    }
}

/// The zip archive that belongs to a tar archive.
fn files_of(tar: &BTreeMap<String, Member>) -> BTreeMap<String, Vec<u8>> {
    let files = tar.iter().filter_map(|(name, member)| match member {
        Member::File(content) => {
            let name = name.strip_prefix("./").unwrap().to_owned();
            Some((name, content.clone()))
        }
        Member::Directory | Member::Link(_) => None,
    });
    files.collect()
}

fn check_timestamps(build: &BuildView) {
    let times = &build.state_timestamps;
    let entered = ["queued", "preparing", "prepared", "building", "finished"];
    let values: Vec<f64> = entered
        .iter()
        .map(|state| times[*state].expect("a state that was entered has a time"))
        .collect();
    assert!(values.is_sorted(), "{times:?}");
    assert_eq!((times["error"], times["canceled"]), (None, None));
    assert_eq!(times.len(), entered.len() + 2);
}

#[tokio::test]
async fn two_hundred_atoms_on_three_slaves() {
    let repository = Repository::empty();
    let log = repository.outside("runs");
    let commit = repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0"))]);
    let farm = Farm::start(&[2, 2, 2]).await;

    let build = farm.run(&repository.request()).await;
    check_results(&farm, &build).await;
    check_timestamps(&build);
    farm.wait_for_rest().await;
    assert_eq!(build.commit, Some(commit));
    assert_eq!(
        serde_json::Value::Object(build.request_params.clone()),
        repository.request()
    );
    let subjobs = farm.subjobs(build.id).await;
    let total = subjobs.len();
    assert_eq!(build.num_subjobs, total as u64);
    assert_eq!(
        build.details,
        Some(format!("{total} of {total} subjobs are complete (100.0%)."))
    );
    let slaves: BTreeSet<String> = (0..3).map(|slave| farm.slave_address(slave)).collect();
    for subjob in &subjobs {
        let slave = subjob.slave.as_ref().unwrap();
        assert!(slaves.contains(slave), "{slave} is none of {slaves:?}");
    }

    let once: BTreeMap<u32, usize> = (1..=ATOMS).map(|atom| (atom, 1)).collect();
    assert_eq!(runs(&log), once);
    for line in fs::read_to_string(&log).unwrap().lines() {
        let indexes: Vec<u32> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        let [_, of_build, of_machine] = indexes[..] else {
            panic!("{line}");
        };
        assert!(of_build < 6 && of_machine < 2, "{line}");
    }
}
