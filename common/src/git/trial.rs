//! One try of what hostile trees may do, for fuzzing and for a property test.

#![expect(
    clippy::expect_used,
    reason = "a trial of the fuzzer, which is told by a panic"
)]

use super::{CommitId, GitLimits, GitOptions, GitUrl, Mirror};
use git2::{ObjectType, Odb, Oid};
use std::fs;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Names that mean something to somebody.
const NAMES: [&[u8]; 14] = [
    b"d",
    b"e",
    b"f",
    b".git",
    b".GIT",
    b"git~1",
    b"..",
    b".",
    b".gitmodules",
    b"precious",
    b"a/b",
    b"",
    b"x\ny",
    b"../outside",
];

/// Modes of trees, files, links and submodules, and one of nothing.
const MODES: [&[u8]; 7] = [
    b"40000", b"100644", b"100755", b"120000", b"160000", b"100664", b"70000",
];

/// Makes tree objects of `bytes`, and a commit of the last; has it checked and checked out below a directory of its own,
/// twice, so that the second one finds what the first has left; and looks whether anything outside of that has changed.
///
/// Never fails for what the trees are: most are refused.
///
/// # Panics
/// If something outside was written, changed or removed, or the disk does not work.
#[doc(hidden)]
pub fn try_trees(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let outside = folder.path().join("outside");
    fs::create_dir_all(outside.join("precious")).expect("a directory");
    fs::write(outside.join("precious/data"), "important").expect("a file");
    let url = GitUrl::parse("https://example.invalid/x", false).expect("a URL");
    let options = GitOptions {
        limits: GitLimits {
            entries: 10_000,
            depth: 64,
            file_bytes: 1 << 16,
            work_tree_bytes: 1 << 20,
            ..GitLimits::default()
        },
        ..GitOptions::default()
    };
    let mirror = Mirror::new(folder.path().join("mirror"), url, options);
    let work_tree = folder.path().join("work");
    for bytes in [bytes, bytes.split_at(bytes.len() / 2).1] {
        let commit = commit(&mirror, bytes, &outside);
        // Whether it is refused is not the question here.
        mirror
            .check_out(&commit, &work_tree, &CancellationToken::new())
            .ok();
        let names = |path: &Path| {
            let entries = fs::read_dir(path).expect("a directory");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        assert_eq!(names(&outside), ["precious"]);
        assert_eq!(names(&outside.join("precious")), ["data"]);
        let data = fs::read(outside.join("precious/data")).expect("a file");
        assert_eq!(data, b"important");
        let beside = names(folder.path());
        let expected = ["mirror", "outside", "work"];
        assert!(
            beside.iter().all(|name| expected.iter().any(|e| name == e)),
            "{beside:?}"
        );
    }
}

fn commit(mirror: &Mirror, bytes: &[u8], outside: &Path) -> CommitId {
    let repository = mirror.open().expect("a mirror");
    let objects = repository.odb().expect("its objects");
    let tree = trees(&objects, bytes, outside);
    let text = format!("tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n");
    CommitId::from_oid(write(&objects, ObjectType::Commit, text.as_bytes()))
}

fn write(objects: &Odb<'_>, kind: ObjectType, data: &[u8]) -> Oid {
    objects.write(kind, data).expect("an object")
}

/// Each tree: how many entries, and for each its mode, its name and one of the objects so far. The last one is returned.
fn trees(objects: &Odb<'_>, mut bytes: &[u8], outside: &Path) -> Oid {
    let outside = outside.as_os_str().as_encoded_bytes();
    let modules = b"[submodule \"s\"]\n\tpath = d/precious\n\turl = ext::false\n";
    let blobs = [
        b"text".as_slice(),
        outside,
        b"../outside",
        b"..",
        b"d",
        modules,
    ];
    let mut made: Vec<Oid> = blobs
        .iter()
        .map(|blob| write(objects, ObjectType::Blob, blob))
        .collect();
    made.push(write(objects, ObjectType::Tree, b""));
    let mut next = || {
        let (first, rest) = bytes.split_first()?;
        bytes = rest;
        Some(*first)
    };
    while let Some(num_entries) = next() {
        let mut tree = Vec::new();
        for _ in 0..num_entries % 8 {
            let (Some(mode), Some(name), Some(object)) = (next(), next(), next()) else {
                break;
            };
            let pick = |from: &[&[u8]], index: u8| from[usize::from(index) % from.len()].to_vec();
            tree.extend(pick(&MODES, mode));
            tree.push(b' ');
            match name.checked_sub(200) {
                // As it comes.
                Some(length) => tree.extend((0..length % 16).map_while(|_| next())),
                None => tree.extend(pick(&NAMES, name)),
            }
            tree.push(0);
            // The latest are the most interesting.
            let object = made.len() - 1 - usize::from(object) % made.len();
            tree.extend(made[object].as_bytes());
        }
        made.push(write(objects, ObjectType::Tree, &tree));
    }
    made[made.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_tree_changes_anything_outside(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            try_trees(&bytes);
        }
    }

    #[test]
    fn a_name_that_is_a_link_and_a_directory_changes_nothing_outside() {
        // A directory with a submodule `precious`; then `d` as a link to the outside, and `d` as that directory.
        try_trees(&[1, 4, 9, 0, 2, 3, 0, 6, 0, 0, 1]);
        // The same in the other order, with what `.gitmodules` says of it.
        try_trees(&[1, 4, 9, 0, 3, 0, 0, 0, 3, 0, 6, 1, 8, 2]);
    }
}
