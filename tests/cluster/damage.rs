//! Disks that are damaged while the master is down: what is told, what is made good, and that whoever refuses or only
//! reads leaves every byte as it was.

use crate::archives::zip_of;
use crate::farm::Farm;
use crate::machine::Ended;
use crate::raw::Raw;
use crate::repository::Repository;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const JOB: &str =
    "Job:\n  commands: [\"echo $N > $ARTIFACT_DIR/number\"]\n  atomizers: [{N: seq 5}]\n";

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn flip(file: &Path, bit: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

fn run(farm: &Farm, arguments: &[&str]) -> Ended {
    farm.command().args(arguments).output().unwrap().into()
}

#[tokio::test]
async fn a_refused_start_changes_nothing_and_a_repair_keeps_the_old_journal() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[]).await;
    for _ in 0..5 {
        farm.submit(&repository.request()).await;
    }
    assert!(farm.stop_master().success());
    let journal = farm.path("base/master/journal");
    let (db, settings) = (journal.join("db"), journal.join("conf"));
    let acknowledged = journal.join("acknowledged");
    let good = fs::read(&acknowledged).unwrap();
    let damages: [&dyn Fn(); 5] = [
        &|| flip(&db, 8 * 400),
        &|| flip(&settings, 8 * 16),
        &|| flip(&acknowledged, 60),
        &|| fs::write(&acknowledged, "").unwrap(),
        &|| fs::remove_file(&acknowledged).unwrap(),
    ];
    let sound = files(&journal);
    for (number, damage) in damages.iter().enumerate() {
        damage();
        let before = files(&journal);
        let refused = run(&farm, &["master"]);
        assert_eq!(refused.code, Some(5), "{number}: {refused:#?}");
        assert!(
            refused.stderr.contains("nothing was changed"),
            "{number}: {refused:#?}"
        );
        let verified = run(&farm, &["journal", "verify"]);
        assert_eq!(verified.code, Some(1), "{number}: {verified:#?}");
        let exported = run(&farm, &["journal", "export", "-o", "export.jsonl"]);
        assert!(exported.code < Some(2), "{number}: {exported:#?}");
        let asked = run(&farm, &["journal", "repair"]);
        assert_eq!(asked.code, Some(1), "{number}: {asked:#?}");
        assert!(files(&journal) == before, "{number}: something was changed");
        let repaired = run(&farm, &["journal", "repair", "--yes"]);
        assert_eq!(repaired.code, Some(0), "{number}: {repaired:#?}");
        let kept = repaired.stdout.split("saved as ").nth(1).unwrap();
        let kept = PathBuf::from(kept.trim().trim_end_matches('.'));
        let kept_files = files(&kept).into_values().collect::<Vec<_>>();
        assert!(
            kept_files == before.into_values().collect::<Vec<_>>(),
            "{number}"
        );
        farm.start_master().await;
        let builds = farm.client().builds().await.unwrap().len();
        assert!(number == 0 || builds == 5, "{number}: {builds} builds");
        assert!(farm.stop_master().success());
        // The next kind of damage is done to the sound one.
        fs::remove_dir_all(&journal).unwrap();
        fs::rename(&kept, &journal).unwrap();
        for (file, bytes) in &sound {
            fs::write(file, bytes).unwrap();
        }
        assert_eq!(fs::read(&acknowledged).unwrap(), good);
    }
    farm.start_master().await;
    assert_eq!(farm.client().builds().await.unwrap().len(), 5);
}

#[tokio::test]
async fn damaged_results_are_told_and_made_good_and_never_written_to() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await;
    let atoms = farm.atoms(build.id).await;
    let zip = zip_of(&farm, build.id).await;
    let results = farm.path("base/master/results/1");
    for (file, bit) in [("index", 8 * 60), ("archive.json", 8 * 20)] {
        assert!(farm.stop_master().success());
        let good = fs::read(results.join(file)).unwrap();
        flip(&results.join(file), bit);
        let before = files(&results);
        farm.start_master().await;
        assert_eq!(zip_of(&farm, build.id).await, zip, "{file}");
        for atom in &atoms {
            farm.console(build.id, atom).await;
        }
        let view = farm.client().build(build.id).await.unwrap();
        let warning = view.warnings.join("\n");
        assert!(
            warning.contains("The stored results are damaged: "),
            "{file}: {warning}"
        );
        let told = farm
            .output("master")
            .matches("stored results are damaged")
            .count();
        assert!(told > 0, "{file}");
        assert!(files(&results) == before, "{file}: something was changed");
        fs::write(results.join(file), good).unwrap();
    }
    // The only copy of the results.
    assert!(farm.stop_master().success());
    let blocks = results.join("blocks");
    let length = fs::metadata(&blocks).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&blocks)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    farm.start_master().await;
    let path = format!("/v1/build/{}/artifacts.zip", build.id);
    let asked = Raw::json("GET", &farm.master_address(), &path, &Value::Null);
    let answer = asked.send(&Vec::new()).await;
    assert_eq!(answer.status, 500);
    let said = answer.body["error"].as_str().unwrap();
    assert!(
        said.contains("The stored results of build 1 are damaged: "),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_refused_and_the_rest_survives_a_restart() {
    let mut farm = Farm::start(&[]).await;
    let body = |levels: usize| {
        let nested = (1..levels).fold(json!([]), |inner, _| json!([inner]));
        let config = json!({"commands": ["true"], "x": nested});
        json!({"type": "directory", "project_directory": "/", "config": config})
    };
    let post = async |farm: &Farm, body: &Value| {
        let request = Raw::json("POST", &farm.master_address(), "/v1/build", body);
        request.send(&request.body_digest(&farm.secret())).await
    };
    for levels in [31, 100, 124] {
        let answer = post(&farm, &body(levels)).await;
        let said = answer.body["error"].as_str().unwrap();
        assert_eq!(answer.status, 400, "{levels}: {said}");
        assert!(said.contains("field 'config.x"), "{said}");
        assert!(said.contains("keep to 32 levels"), "{said}");
    }
    assert_eq!(post(&farm, &body(30)).await.status, 202);
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(farm.client().builds().await.unwrap().len(), 1);
}
