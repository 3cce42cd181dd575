//! Damage to what is stored of a finished build: it is found, told, and made good from the rest where that goes.
//! Nobody writes to the files.

use super::*;
use std::collections::BTreeMap;

/// How many flips are tried in each file.
const FLIPS: u64 = 50;

type Files = BTreeMap<String, Vec<u8>>;

fn files(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn members(zip: Vec<u8>) -> Files {
    let mut zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    let number = zip.len();
    let read = |index| {
        let mut member = zip.by_index(index).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        (member.name().unwrap().into_owned(), content)
    };
    (0..number).map(read).collect()
}

const FAILURES: [&str; 1] = ["artifact_0_0"];

fn failures() -> Vec<String> {
    FAILURES.map(str::to_owned).to_vec()
}

/// What a finished build was given as, and what lies on the disk of it.
struct Finished {
    keys: Vec<(SubjobId, Attempt)>,
    zip: Files,
    files: Files,
}

/// Results in shared blocks, in one of its own, and some that do not count.
async fn finished() -> Finished {
    let scenario = Scenario::new();
    scenario
        .append(&[key(0, 1), key(1, 1), key(2, 1)], false)
        .await;
    scenario.append(&[key(3, 1)], true).await;
    scenario.append(&[key(4, 1), key(1, 2)], false).await;
    scenario.append(&[key(5, 2), key(6, 1)], false).await;
    let keys = vec![
        key(0, 1),
        key(1, 2),
        key(2, 1),
        key(3, 1),
        key(4, 1),
        key(5, 2),
        key(6, 1),
    ];
    let go_on = CancellationToken::new();
    let made = scenario
        .results
        .make_archive(BUILD, &keys, &failures(), &go_on);
    made.unwrap();
    scenario.results.clear_unused(BUILD).unwrap();
    let zip = bytes_of(
        scenario
            .results
            .archive(BUILD)
            .unwrap()
            .zip(Turns::default()),
    )
    .await;
    Finished {
        keys,
        zip: members(zip),
        files: files(&scenario.file("")),
    }
}

/// What somebody who looks at everything gets.
#[derive(Debug, PartialEq)]
struct Given {
    /// The whole zip, if it was given to its end.
    has_zip: bool,
    num_consoles: usize,
    is_told: bool,
}

/// Looks at everything of a build with these files: nothing wrong is given as if it were right, and nothing changes.
async fn look(good: &Finished, damaged: &Files, what: &str) -> Given {
    let scenario = Scenario::new();
    std::fs::create_dir_all(scenario.file("")).unwrap();
    for (name, bytes) in damaged {
        std::fs::write(scenario.file(name), bytes).unwrap();
    }
    let results = &scenario.results;
    results.remove_incoming().unwrap();
    let number = good.keys.len() as u64;
    let archive = match results.archive_of(BUILD, number) {
        Err(error) if is_damage(&error) => results.archive_again(BUILD, &good.keys, &failures()),
        opened => opened,
    };
    let zip = match archive {
        Ok(archive) => {
            archive
                .zip(Turns::default())
                .try_collect::<Vec<Bytes>>()
                .await
        }
        Err(error) => Err(error),
    };
    let zip = zip.map(|chunks| chunks.concat());
    let zip = zip.map(members);
    if let Ok(zip) = &zip {
        assert!(
            *zip == good.zip,
            "{what}: another archive is given as if it were right"
        );
    }
    let mut num_consoles = 0;
    for (subjob, attempt) in &good.keys {
        if let Some(console) = scenario.console((*subjob, *attempt)) {
            assert_eq!(
                console,
                format!("subjob {subjob}, attempt {attempt}\n"),
                "{what}"
            );
            num_consoles += 1;
        }
    }
    assert!(
        files(&scenario.file("")) == *damaged,
        "{what}: a file was changed"
    );
    Given {
        has_zip: zip.is_ok(),
        num_consoles,
        is_told: !results.damages(BUILD).is_empty(),
    }
}

fn pick(seed: u64, below: usize) -> usize {
    // SplitMix64.
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
}

#[tokio::test]
async fn whatever_bit_is_flipped_nothing_wrong_is_given_and_nothing_is_written() {
    let good = finished().await;
    let all = good.keys.len();
    let whole = look(&good, &good.files, "sound").await;
    assert_eq!(
        whole,
        Given {
            has_zip: true,
            num_consoles: all,
            is_told: false
        }
    );
    assert!(good.files.len() >= 4, "{:?}", good.files.keys());
    for (name, bytes) in &good.files {
        for seed in 1..=FLIPS {
            let bit = pick(seed, bytes.len() * 8);
            let mut damaged = good.files.clone();
            damaged.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let what = format!("bit {bit} of {name}");
            let given = look(&good, &damaged, &what).await;
            if name.starts_with("block") {
                // Some bits of the head of a block say nothing, and some blocks do not count.
                let is_whole = given.has_zip && given.num_consoles == all;
                assert!(is_whole || given.is_told, "{what}: {given:?}");
                assert!(given.num_consoles >= all - 3, "{what}: {given:?}");
            } else {
                // Everything can be made good from the blocks.
                assert_eq!(
                    given,
                    Given {
                        has_zip: true,
                        num_consoles: all,
                        is_told: true
                    },
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn files_that_are_gone_empty_or_cut_are_missed() {
    let good = finished().await;
    let all = good.keys.len();
    for name in ["index", "archive.json", "blocks"] {
        for keep in [None, Some(0), Some(good.files[name].len() / 2)] {
            let mut damaged = good.files.clone();
            match keep {
                None => drop(damaged.remove(name)),
                Some(length) => damaged.get_mut(name).unwrap().truncate(length),
            }
            let what = format!("{name} cut to {keep:?}");
            let given = look(&good, &damaged, &what).await;
            match (name, keep) {
                ("blocks", None) => {
                    let nothing = Given {
                        has_zip: false,
                        num_consoles: 0,
                        is_told: true,
                    };
                    assert_eq!(given, nothing, "{what}");
                }
                ("blocks", _) => assert!(!given.has_zip && given.is_told, "{what}: {given:?}"),
                _ => assert_eq!(
                    given,
                    Given {
                        has_zip: true,
                        num_consoles: all,
                        is_told: true
                    },
                    "{what}"
                ),
            }
        }
    }
}

/// A build that goes on after damage to its index loses nothing of what was acknowledged.
#[tokio::test]
async fn what_is_appended_after_damage_lies_behind_all_that_is_there() {
    for bit in [5 * 8, 60 * 8, 110 * 8, 3 * 52 * 8 - 1] {
        let scenario = Scenario::new();
        scenario.append(&[key(0, 1)], false).await;
        scenario.append(&[key(1, 1)], false).await;
        scenario.append(&[key(2, 1)], false).await;
        let before = files(&scenario.file(""));
        let mut index = before["index"].clone();
        index[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(scenario.file("index"), &index).unwrap();
        let scenario = scenario.restarted();
        scenario.append(&[key(3, 1)], false).await;
        let after = files(&scenario.file(""));
        assert!(after["blocks"].starts_with(&before["blocks"]), "bit {bit}");
        assert!(after["index"].starts_with(&index), "bit {bit}");
        let scenario = scenario.restarted();
        let keys = [key(0, 1), key(1, 1), key(2, 1), key(3, 1)];
        assert_eq!(scenario.archived(&keys).await, expected(&keys), "bit {bit}");
    }
}
