use super::*;
use crate::results::BUILD_FILE;

fn put(destination: &Destination, build: u64) -> InPlace {
    let place = ResultsPlace::find(destination).unwrap();
    place.prepare(BuildId(build)).unwrap();
    let workshop = place.workshop("test.").unwrap();
    let results = workshop.path().join("results");
    std::fs::create_dir(&results).unwrap();
    std::fs::write(results.join("of"), build.to_string()).unwrap();
    place.put(&results, BuildId(build)).unwrap()
}

fn among(root: &Path) -> Destination {
    Destination::Among(root.join("build_results"))
}

fn exactly(root: &Path) -> Destination {
    Destination::Exactly(root.join("build_results"))
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn check_unfit(unfit: &Destination) {
    let error = ResultsPlace::find(unfit).unwrap_err().to_string();
    assert!(error.contains("is not a place for results"), "{error}");
}

#[test]
fn a_place_needs_a_name() {
    for nameless in ["/", "..", "a/.."] {
        for destination in [Destination::Among, Destination::Exactly] {
            let error = ResultsPlace::find(&destination(nameless.into()))
                .err()
                .unwrap();
            assert!(matches!(error, ResultsError::NoName { .. }), "{error}");
        }
    }
}

#[test]
fn a_project_has_one_directory_with_the_results_of_six_builds_and_a_link() {
    let root = tempfile::tempdir().unwrap();
    let (root, results) = (root.path(), root.path().join("build_results"));
    let latest = || std::fs::read_to_string(results.join("latest/of")).unwrap();
    for build in 1..=6 {
        let in_place = put(&among(root), build);
        assert_eq!(in_place.directory, results.join(build.to_string()));
        assert_eq!((in_place.moved_to, in_place.removed), (None, Vec::new()));
        assert_eq!(latest(), build.to_string());
    }
    assert_eq!(put(&among(root), 7).removed, [results.join("1")]);
    assert_eq!(names(root), ["build_results"]);
    let expected = [".gitignore", "2", "3", "4", "5", "6", "7", "latest"];
    assert_eq!(names(&results), expected);
    let ignored = std::fs::read_to_string(results.join(".gitignore")).unwrap();
    assert_eq!(ignored.lines().last(), Some("*"));
}

#[test]
fn results_are_there_where_the_link_can_not_be() {
    let root = tempfile::tempdir().unwrap();
    let (root, results) = (root.path(), root.path().join("build_results"));
    put(&among(root), 1);
    std::fs::remove_file(results.join("latest")).unwrap();
    std::fs::create_dir(results.join("latest")).unwrap();
    let why = put(&among(root), 2).no_link.unwrap();
    assert!(why.starts_with("could not make the link "), "{why}");
    assert_eq!(names(&results), [".gitignore", "1", "2", "latest"]);
}

#[test]
fn two_builds_with_one_id_do_not_overwrite_each_other() {
    let root = tempfile::tempdir().unwrap();
    let (root, results) = (root.path(), root.path().join("build_results"));
    put(&among(root), 1);
    let again = put(&among(root), 1);
    assert_eq!(again.moved_to, Some(results.join("1.1")));
    put(&among(root), 1);
    let expected = [".gitignore", "1", "1.1", "1.1.2", "latest"];
    assert_eq!(names(&results), expected);
    for build in [1, 1, 1] {
        put(&exactly(&root.join("other")), build);
    }
    assert_eq!(
        names(&root.join("other")),
        ["build_results", "build_results.1", "build_results.1.2"]
    );
}

#[test]
fn results_that_lie_directly_in_the_directory_become_one_build_of_several() {
    let root = tempfile::tempdir().unwrap();
    let (root, results) = (root.path(), root.path().join("build_results"));
    put(&exactly(root), 3);
    put(&among(root), 4);
    assert_eq!(names(&results), [".gitignore", "3", "4", "latest"]);
    // The original's have no mark, and are never deleted.
    std::fs::remove_dir_all(&results).unwrap();
    std::fs::create_dir_all(results.join("artifact_0_0")).unwrap();
    for build in 5..=11 {
        put(&among(root), build);
    }
    assert!(results.join("before-5/artifact_0_0").is_dir());
    assert_eq!(names(&results).len(), 1 + KEPT + 1 + 2);
    assert_eq!(names(root), ["build_results"]);
}

#[test]
fn in_a_directory_of_ones_own_old_results_are_named_by_their_build_and_five_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    assert_eq!(put(&exactly(root), 1).moved_to, None);
    let moved = put(&exactly(root), 2).moved_to;
    assert_eq!(moved, Some(root.join("build_results.1")));
    for build in 3..=6 {
        assert_eq!(
            put(&exactly(root), build).removed,
            [""; 0].map(PathBuf::from)
        );
    }
    assert_eq!(
        put(&exactly(root), 7).removed,
        [root.join("build_results.1")]
    );
    let expected = ["build_results", "build_results.2", "build_results.3"];
    assert_eq!(names(root)[..3], expected);
    assert_eq!(names(root).len(), 1 + KEPT);
    // Each of them is kept out of repositories.
    let found = names(&root.join("build_results.2"));
    assert_eq!(found, [BUILD_FILE, ".gitignore", "of"]);
}

#[test]
fn what_somebody_else_put_there_is_never_deleted() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    std::fs::create_dir(root.join("build_results")).unwrap();
    std::fs::create_dir(root.join("build_results.backup")).unwrap();
    for build in 1..=9 {
        put(&exactly(root), build);
    }
    let names = names(root);
    for kept in ["build_results.before-1", "build_results.backup"] {
        assert!(names.contains(&kept.to_owned()), "{names:?}");
    }
    assert_eq!(names.len(), 1 + KEPT + 2);
}

#[test]
fn nothing_but_old_results_is_ever_replaced() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    std::fs::write(root.join("file"), "mine").unwrap();
    std::fs::create_dir_all(root.join("project/src")).unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    std::os::unix::fs::symlink(root.join("empty"), root.join("link")).unwrap();
    let here = std::env::current_dir().unwrap();
    let above = here.parent().unwrap().to_owned();
    for destination in [Destination::Among, Destination::Exactly] {
        for fit in ["new", "new/deeper", "empty"] {
            assert!(
                ResultsPlace::find(&destination(root.join(fit))).is_ok(),
                "{fit}"
            );
        }
        for unfit in ["file", "project", "link"] {
            check_unfit(&destination(root.join(unfit)));
        }
        for unfit in [&here, &above] {
            check_unfit(&destination(unfit.clone()));
        }
        for unfit in [".", "..", "/", "x/.."] {
            assert!(
                ResultsPlace::find(&destination(unfit.into())).is_err(),
                "{unfit}"
            );
        }
    }
    put(&exactly(root), 3);
    assert!(ResultsPlace::find(&exactly(root)).is_ok());
    // Others may call their own directory so.
    std::fs::create_dir_all(root.join("other/build_results/src")).unwrap();
    check_unfit(&among(&root.join("other")));
}

#[test]
fn a_mark_goes_through_no_link_that_an_archive_brought() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (results, mine) = (root.join("results"), root.join("mine"));
    std::fs::create_dir(&results).unwrap();
    std::fs::write(&mine, "mine").unwrap();
    for name in [BUILD_FILE, ".gitignore"] {
        std::os::unix::fs::symlink(&mine, results.join(name)).unwrap();
    }
    let place = ResultsPlace::find(&exactly(root)).unwrap();
    place.put(&results, BuildId(1)).unwrap();
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
    assert_eq!(build_of(&root.join("build_results")), Some(BuildId(1)));
}
