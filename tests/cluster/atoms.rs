//! What an atom sees and what comes back of it, in odd cases.

use crate::archives::zip_of;
use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildStatus;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

async fn raw_consoles(farm: &Farm, build: clusterrunner_common::ids::BuildId) -> Vec<Vec<u8>> {
    let zip = zip_of(farm, build).await;
    let consoles = farm.atoms(build).await.into_iter().map(|atom| {
        let name = format!(
            "artifact_{}_{}/clusterrunner_console_output",
            atom.subjob_id, atom.id
        );
        zip[&name].clone()
    });
    consoles.collect()
}

/// What a shell could take for something else.
const VALUES: [&str; 16] = [
    "plain",
    "  blanks  inside  ",
    "single ' quote",
    r#"double \" quote"#,
    r#"broken"quote"out"#,
    "$HOME and ${NOT_SET:-default}",
    "$(echo substituted) `echo too`",
    r"back\slash \\ \n",
    "semicolon; true && false | cat",
    "glob * ? [a-z] ~",
    "unicode ä ö ü € 日本 🎉",
    "hash # mark",
    "percent %s %d {a,b}",
    "-n",
    "*",
    "quote\"inside$(touch x)`touch x`$HOME",
];

/// The variable is what was printed, but for `$PROJECT_DIR`.
#[tokio::test]
async fn a_variable_holds_the_line_that_was_printed() {
    let printing = "echo '  blanks before'; cat values; echo \"$PROJECT_DIR/test\"";
    let job = job("printf %s \"$VALUE\"").with("atomizers", json!([{"VALUE": printing}]));
    let repository = Repository::of(&job);
    repository.commit(&[("values", &format!("{}\n", VALUES.join("\n")))]);
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await.passes();
    let consoles = raw_consoles(&farm, build.id).await;
    let consoles: Vec<String> = consoles
        .into_iter()
        .map(|console| String::from_utf8(console).unwrap())
        .collect();
    let (last, printed) = consoles.split_last().unwrap();
    let (first, printed) = printed.split_first().unwrap();
    assert_eq!(first, "  blanks before");
    assert_eq!(printed, VALUES);
    assert!(last.starts_with('/') && last.ends_with("/test"), "{last}");

    let atoms = farm.atoms(build.id).await;
    let named = atoms.iter().map(|atom| {
        (
            atom.name.as_deref().unwrap(),
            atom.value.as_deref().unwrap(),
        )
    });
    let shown = ["  blanks before"].into_iter().chain(VALUES);
    let shown = shown.chain(["$PROJECT_DIR/test"]);
    assert!(named.eq(shown.map(|value| ("VALUE", value))), "{atoms:#?}");
}

/// With `raw_atoms`, and in `atoms_override`, the shell alone says what a value means, as in the original.
#[tokio::test]
async fn raw_values_reach_the_atom_as_the_shell_makes_them() {
    let values = VALUES;
    let repository = Repository::empty();
    repository.commit(&[
        (
            "clusterrunner.yaml",
            "Job:\n  commands: ['printf %s \"$VALUE\"']\n  atomizers: [{VALUE: cat values}]\n  \
             raw_atoms: true\n",
        ),
        ("values", &values.join("\n")),
    ]);
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    let atoms = farm.atoms(build.id).await;
    let lines: Vec<String> = values
        .iter()
        .map(|value| format!("export VALUE=\"{value}\";"))
        .collect();
    let settings: Vec<&str> = atoms
        .iter()
        .map(|atom| atom.command_string.as_str())
        .collect();
    assert_eq!(settings, lines);
    let consoles = raw_consoles(&farm, build.id).await;
    for ((atom, console), line) in atoms.iter().zip(consoles).zip(&lines) {
        let shell = Command::new("/bin/bash")
            .args([
                "-c",
                &format!("set -o pipefail; {line} printf %s \"$VALUE\""),
            ])
            .env("HOME", farm.path("home"))
            .current_dir(repository.path())
            .output()
            .unwrap();
        assert_eq!(atom.exit_code, shell.status.code(), "{line}");
        let text = [shell.stdout, shell.stderr].concat();
        assert_eq!(
            String::from_utf8_lossy(&console),
            String::from_utf8_lossy(&text),
            "{line}"
        );
    }
}

#[tokio::test]
async fn output_comes_back_byte_for_byte() {
    let repository = Repository::empty();
    repository.commit(&[(
        "clusterrunner.yaml",
        r#"Job:
  commands:
    - exec bash "$KIND.sh"
  atomizers:
    - KIND: printf '%s\n' long open binary empty mixed signaled
"#,
    )]);
    repository.commit(&[
        (
            "long.sh",
            "for i in $(seq 1 1000); do echo \"line $i\"; done\n",
        ),
        ("open.sh", "printf 'no newline at the end'\n"),
        (
            "binary.sh",
            "printf '\\000\\001\\377\\376 \\r\\n \\200 end'\n",
        ),
        ("empty.sh", "true\n"),
        ("mixed.sh", "echo 1; echo 2 >&2; echo 3; (echo 4; exit 5)\n"),
        ("signaled.sh", "echo before; kill -SEGV $$\n"),
    ]);
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    let long: String = (1..=1000).map(|i| format!("line {i}\n")).collect();
    let expected: [(&str, &[u8], i32); 5] = [
        ("long", long.as_bytes(), 0),
        ("open", b"no newline at the end", 0),
        ("binary", b"\0\x01\xff\xfe \r\n \x80 end", 0),
        ("empty", b"", 0),
        ("mixed", b"1\n2\n3\n4\n", 5),
    ];
    let atoms = farm.atoms(build.id).await;
    let consoles = raw_consoles(&farm, build.id).await;
    for (((kind, bytes, code), atom), console) in expected.iter().zip(&atoms).zip(&consoles) {
        assert_eq!(atom.command_string, format!("export KIND=\"{kind}\";"));
        assert_eq!(atom.exit_code, Some(*code), "{kind}");
        assert_eq!(&console, bytes, "{kind}");
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(farm.console(build.id, atom).await, text, "{kind}");
    }
    // The shell itself got the signal, and that has a number of its own.
    assert_eq!(atoms[5].exit_code, Some(-11));
    assert_eq!(consoles[5], b"before\n");

    let client = farm.client();
    let piece = async |lines, offset| {
        let atom = &atoms[0];
        let piece = client.console(build.id, atom.subjob_id, atom.id, lines, offset);
        piece.await.unwrap()
    };
    let last = piece(3, None).await;
    assert_eq!(last.content, "line 998\nline 999\nline 1000\n");
    assert_eq!(
        (last.offset_line, last.num_lines, last.total_num_lines),
        (997, 3, 1000)
    );
    let middle = piece(2, Some(499)).await;
    assert_eq!(middle.content, "line 500\nline 501\n");
    assert_eq!((middle.offset_line, middle.num_lines), (499, 2));
}

/// Every variable that the documentation names, and none of the farm's own settings.
#[tokio::test]
async fn an_atom_knows_where_it_runs() {
    let repository =
        Repository::with_jobs("Job:\n  commands: [env, pwd]\n  atomizers: [{N: echo 1}]\n");
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.passes();
    let atom = farm.atoms(build.id).await.remove(0);
    let console = farm.console(build.id, &atom).await;
    let variables: BTreeMap<&str, &str> = console
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    for (name, value) in [
        ("N", "1"),
        ("ATOM_ID", "0"),
        ("EXECUTOR_INDEX", "0"),
        ("MACHINE_EXECUTOR_INDEX", "0"),
        ("BUILD_EXECUTOR_INDEX", "0"),
        ("PROJECT_DIR", console.lines().last().unwrap()),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}");
    }
    let own = "/artifacts/executor_0_1";
    assert!(variables["ARTIFACT_DIR"].ends_with(own), "{console}");
    assert!(!variables.contains_key("CLUSTERRUNNER_BASE_DIRECTORY"));
    assert!(!console.contains("secret of"), "{console}");
}

#[tokio::test]
async fn max_executors_bounds_what_runs_at_a_time() {
    let farm = Farm::start(&[2, 2]).await;
    for (limit, per_slave, bound) in [(Some(1), None, 1), (None, Some(1), 2), (Some(3), None, 3)] {
        let repository = Repository::empty();
        let log = repository.outside("log");
        // Lines of one process are not torn: each is one short write to a file opened to append.
        let mut config = json!({
            "commands": [
                format!("echo begin >> '{}'", log.display()),
                "sleep 0.03",
                format!("echo end >> '{}'", log.display()),
            ],
            "atomizers": [{"N": "seq 1 16"}],
        });
        if let Some(limit) = limit {
            config["max_executors"] = json!(limit);
        }
        if let Some(limit) = per_slave {
            config["max_executors_per_slave"] = json!(limit);
        }
        repository.commit(&[("README", "no jobs")]);
        farm.run(&repository.request_with(json!({"config": config})))
            .await
            .passes();
        let (mut running, mut most) = (0, 0);
        for line in fs::read_to_string(&log).unwrap().lines() {
            running += if line == "begin" { 1 } else { -1 };
            most = most.max(running);
        }
        assert_eq!(running, 0);
        assert!(most <= bound, "{most} ran at a time, {bound} are allowed");
    }
}

/// The output of an atom that runs can be read from the master, and progress is shown.
#[tokio::test]
async fn a_running_atom_can_be_followed() {
    let repository = Repository::empty();
    let release = repository.outside("release");
    let job = format!(
        "Job:\n  commands:\n    - echo \"early $N\"\n    - until test -e '{}'; do sleep 0.02; done\n    - echo late\n  \
         atomizers: [{{N: seq 1 3}}]\n",
        release.display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let client = farm.client();
    let (first, id) = (
        clusterrunner_common::ids::SubjobId(0),
        clusterrunner_common::ids::AtomId(0),
    );
    wait_for("the first line can be read", async || {
        let console = client.console(build, first, id, 10, None).await.ok()?;
        (console.content == "early 1\n").then_some(())
    })
    .await;
    let view = client.build(build).await.unwrap();
    assert_eq!(view.status, BuildStatus::Building);
    assert_eq!((view.num_atoms, view.num_atoms_completed), (Some(3), 0));
    assert_eq!(
        view.details.as_deref(),
        Some("0 of 3 subjobs are complete (0.0%).")
    );
    assert!(view.num_atoms_in_progress >= 1);
    assert_eq!((view.result, view.failed_atoms), (None, None));
    let zip = farm.path("too-early.zip");
    let hasty = farm.client().with_patience(std::time::Duration::ZERO);
    let early = hasty
        .download(build, clusterrunner_client::client::Archive::Zip, &zip)
        .await;
    assert!(early.is_err(), "the archive is not there yet");
    fs::write(&release, "").unwrap();
    farm.end_of(build).await.passes();
    let atom = farm.atoms(build).await.remove(0);
    assert_eq!(farm.console(build, &atom).await, "early 1\nlate\n");
}

/// Whatever an atom does to its artifact directory, there is a result, and it is not the atom's word
/// that counts.
#[tokio::test]
async fn odd_artifacts_do_no_harm() {
    let repository = Repository::with_jobs(
        r#"Job:
  commands:
    - cd "$ARTIFACT_DIR"
    - eval "$DO"
  atomizers:
    - DO: cat list
"#,
    );
    let private = repository.outside("private");
    fs::write(&private, "for nobody else\n").unwrap();
    let links = format!(
        "mkfifo pipe; ln -s {} outside; ln -s . inside; ln -s nowhere dangling",
        private.display()
    );
    let deeds = [
        "rm -rf ../*",
        "echo 0 > clusterrunner_exit_code; echo lie > clusterrunner_console_output; exit 4",
        "rm clusterrunner_console_output; mkdir clusterrunner_console_output clusterrunner_exit_code",
        &links,
        "mkdir locked; echo x > locked/file; chmod 0 locked/file locked",
        "pwd | xargs -I DIR sh -c 'rm -r DIR; echo file > DIR'",
        "echo x > 'name with blanks'; echo x > -dash; echo x > ünïcode",
    ];
    repository.commit(&[("list", &deeds.join("\n"))]);
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    let codes: Vec<Option<i32>> = farm
        .atoms(build.id)
        .await
        .iter()
        .map(|atom| atom.exit_code)
        .collect();
    let expected = [0, 4, 0, 0, 0, 0, 0].map(Some);
    assert_eq!(codes, expected);
    let zip = zip_of(&farm, build.id).await;
    for (subjob, code) in codes.iter().enumerate() {
        let name = format!("artifact_{subjob}_0/clusterrunner_exit_code");
        let text = format!("{}\n", code.unwrap());
        assert_eq!(
            zip.get(&name).map(Vec::as_slice),
            Some(text.as_bytes()),
            "{name}"
        );
    }
    let content = fs::read(&private).unwrap();
    assert_eq!(content, b"for nobody else\n");
    assert!(zip.values().all(|member| *member != content));
    for name in ["name with blanks", "-dash", "ünïcode"] {
        assert_eq!(zip[&format!("artifact_6_0/{name}")], b"x\n", "{name}");
    }
    farm.wait_for_rest().await;
}
