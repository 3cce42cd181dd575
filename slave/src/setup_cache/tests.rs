//! Making entries of projects and putting them into others, without a child process.

use super::packing::entry_of;
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use tar::EntryType::{Char, Directory, Fifo, Link, Regular, Symlink};

const ROOM: u64 = 1 << 20;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for project in ["old", "new"] {
            fs::create_dir(place.path(project)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn pack(&self, cache: &SetupCache, max_bytes: u64) -> Result<u64, String> {
        let order = PackOrder {
            project: self.path("old"),
            paths: cache.paths().to_vec(),
            archive: self.path("entry"),
            max_bytes,
            reserve: 0,
        };
        pack(&order, &CancellationToken::new()).map_err(Stopped::reason)
    }

    fn restore(&self, cache: &SetupCache, max_bytes: u64) -> Answer {
        let order = UnpackOrder {
            archive: self.path("entry"),
            beside: self.path("beside"),
            project: self.path("new"),
            cache: cache.clone(),
            max_bytes,
            reserve: 0,
        };
        let answer = carry_out(&Order::Unpack(order), &CancellationToken::new());
        remove_all(&self.path("beside")).unwrap();
        answer
    }

    /// All files and links of the new project; a directory without any, too.
    fn found(&self) -> BTreeMap<String, String> {
        let root = self.path("new");
        let mut found = BTreeMap::new();
        let mut waiting = vec![root.clone()];
        while let Some(directory) = waiting.pop() {
            let entries: Vec<_> = fs::read_dir(&directory).unwrap().collect();
            let shown = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
            if entries.is_empty() && directory != root {
                found.insert(shown(&directory), "empty".to_owned());
            }
            for entry in entries {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let content = match kind.is_symlink() {
                    true => format!("-> {}", fs::read_link(&path).unwrap().display()),
                    false => fs::read_to_string(&path).unwrap(),
                };
                found.insert(shown(&path), content);
            }
        }
        found
    }

    fn check(&self, expected: &[(&str, &str)]) {
        let own = |(path, content): &(&str, &str)| ((*path).to_owned(), (*content).to_owned());
        assert_eq!(self.found(), expected.iter().map(own).collect());
    }
}

fn cache(paths: &[&str], key: &[&str]) -> SetupCache {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    SetupCache::new(texts(paths), texts(key)).unwrap()
}

fn placed(answer: &Answer) {
    assert!(matches!(answer, Answer::Placed), "{answer:?}");
}

#[test]
fn a_virtual_environment_works_in_another_project() {
    let place = Place::new();
    let old = place.path("old").display().to_string();
    let new = place.path("new").display().to_string();
    let long = format!("{}/{}", "x".repeat(120), "y".repeat(120));
    place.write(
        "old/.venv/bin/pytest",
        &format!("#!{old}/.venv/bin/python\n"),
    );
    place.write("old/.venv/lib/data", &format!("\0{old}/binary"));
    place.write(&format!("old/.venv/{long}"), "deep");
    place.write("old/other", "not kept");
    fs::create_dir(place.path("old/.venv/include")).unwrap();
    symlink("/usr/bin/python3", place.path("old/.venv/bin/python")).unwrap();
    symlink(format!("{old}/.venv/lib"), place.path("old/.venv/lib64")).unwrap();
    let script = place.path("old/.venv/bin/pytest");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o555)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("old/.venv/socket")).unwrap();
    fs::set_permissions(
        place.path("old/.venv/lib"),
        fs::Permissions::from_mode(0o500),
    )
    .unwrap();
    fs::set_permissions(place.path("old/.venv"), fs::Permissions::from_mode(0o750)).unwrap();
    let cache = cache(&[".venv"], &["k"]);
    let bytes = place.pack(&cache, ROOM).unwrap();
    assert_eq!(bytes, fs::metadata(place.path("entry")).unwrap().len());
    placed(&place.restore(&cache, ROOM));
    place.check(&[
        (".venv/bin/pytest", &format!("#!{new}/.venv/bin/python\n")),
        (".venv/bin/python", "-> /usr/bin/python3"),
        (".venv/include", "empty"),
        (".venv/lib/data", &format!("\0{old}/binary")),
        (".venv/lib64", &format!("-> {new}/.venv/lib")),
        (&format!(".venv/{long}"), "deep"),
    ]);
    let of = |path: &Path| fs::metadata(path).unwrap();
    let copy = of(&place.path("new/.venv/bin/pytest"));
    assert_eq!(copy.mode() & 0o777, 0o555);
    assert!(copy.mtime() > of(&script).mtime(), "it is another text");
    let data = ".venv/lib/data";
    let [old, new] = ["old", "new"].map(|project| of(&place.path(project).join(data)));
    assert_eq!((new.mtime(), new.nlink()), (old.mtime(), 1));
    for (directory, mode) in [(".venv", 0o750), (".venv/lib", 0o500), (".venv/bin", 0o755)] {
        let found = of(&place.path("new").join(directory));
        assert_eq!(found.mode() & 0o777, mode, "{directory}");
    }
    // What a build does to its copy is nothing to the next one.
    let first = place.found();
    remove_all(&place.path("new")).unwrap();
    fs::create_dir(place.path("new")).unwrap();
    placed(&place.restore(&cache, ROOM));
    assert_eq!(place.found(), first);
}

#[test]
fn what_python_compiled_of_a_text_that_is_another_one_does_not_count() {
    let place = Place::new();
    let root = place.path("old").display().to_string();
    // As pip writes it of an editable package. The paths of both projects have the same length.
    place.write("old/v/finder.py", &format!("print('{root}/src')\n"));
    let compile = std::process::Command::new("python3")
        .args(["-m", "compileall", "-q"])
        .arg(place.path("old/v"))
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env_remove("PYTHONPYCACHEPREFIX")
        .status();
    assert!(compile.unwrap().success());
    assert!(place.path("old/v/__pycache__").is_dir());
    let cache = cache(&["v"], &["k"]);
    place.pack(&cache, ROOM).unwrap();
    placed(&place.restore(&cache, ROOM));
    assert!(place.path("new/v/__pycache__").is_dir());
    let ran = std::process::Command::new("python3")
        .args(["-c", "import finder"])
        .current_dir(place.path("new/v"))
        .output()
        .unwrap();
    let expected = format!("{}/src\n", place.path("new").display());
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
}

#[test]
fn a_project_is_known_by_all_of_its_names() {
    let place = Place::new();
    let real = place.path("old").display().to_string();
    symlink(place.path("old"), place.path("link")).unwrap();
    let told = place.path("link").display().to_string();
    place.write("old/v/script", &format!("#!{told}/v/a {real}/v/b\n"));
    let cache = cache(&["v"], &["k"]);
    let order = PackOrder {
        project: place.path("link"),
        paths: cache.paths().to_vec(),
        archive: place.path("entry"),
        max_bytes: ROOM,
        reserve: 0,
    };
    assert!(pack(&order, &CancellationToken::new()).is_ok());
    placed(&place.restore(&cache, ROOM));
    let new = place.path("new").display().to_string();
    place.check(&[("v/script", &format!("#!{new}/v/a {new}/v/b\n"))]);
}

#[test]
fn a_path_that_is_not_there_is_never_kept() {
    let place = Place::new();
    place.write("old/v/file", "x");
    for missing in ["none", "none/at/all", "v/none"] {
        let error = place.pack(&cache(&[missing], &["k"]), ROOM).unwrap_err();
        assert_eq!(
            error,
            format!("there is no {missing} when setup_build has run")
        );
    }
}

#[test]
fn where_the_disk_is_nearly_full_nothing_is_kept_and_nothing_goes() {
    let place = Place::new();
    let noise: String = (0..2_000_000_u64)
        .map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    place.write("old/v/file", &noise);
    let cache = cache(&["v"], &["k"]);
    let order = |reserve| PackOrder {
        project: place.path("old"),
        paths: cache.paths().to_vec(),
        archive: place.path("entry"),
        max_bytes: u64::MAX,
        reserve,
    };
    let error = pack(&order(u64::MAX), &CancellationToken::new()).unwrap_err();
    let error = error.reason();
    assert!(error.contains("min_free_space"), "{error}");
    pack(&order(0), &CancellationToken::new()).unwrap();
    let order = Order::Unpack(UnpackOrder {
        archive: place.path("entry"),
        beside: place.path("beside"),
        project: place.path("new"),
        cache: cache.clone(),
        max_bytes: u64::MAX,
        reserve: u64::MAX,
    });
    let answer = carry_out(&order, &CancellationToken::new());
    assert!(
        matches!(&answer, Answer::Failed(reason) if reason.contains("min_free_space")),
        "{answer:?}"
    );
    place.check(&[]);
}

#[test]
fn of_key_files_the_commit_wins_and_of_a_commit_the_set_up() {
    for (key, expected) in [
        (
            &["k"][..],
            &[
                ("top", "of the commit"),
                ("v/committed", "of the commit"),
                ("v/gone", "of the commit"),
                ("v/kind/file", "of the commit"),
                ("v/made", "by the set-up"),
                ("v/sub/made", "by the set-up"),
            ][..],
        ),
        (
            &[],
            &[
                ("top", "of the commit"),
                ("v/committed", "by the set-up"),
                ("v/kind", "by the set-up"),
                ("v/made", "by the set-up"),
                ("v/sub/made", "by the set-up"),
            ],
        ),
    ] {
        let place = Place::new();
        for path in [
            "old/v/committed",
            "old/v/kind",
            "old/v/made",
            "old/v/sub/made",
            "old/top",
        ] {
            place.write(path, "by the set-up");
        }
        for path in [
            "new/v/committed",
            "new/v/kind/file",
            "new/v/gone",
            "new/top",
        ] {
            place.write(path, "of the commit");
        }
        fs::create_dir(place.path("new/v/sub")).unwrap();
        let cache = cache(&["v"], key);
        place.pack(&cache, ROOM).unwrap();
        placed(&place.restore(&cache, ROOM));
        place.check(expected);
    }
}

#[test]
fn all_of_a_project_is_kept_but_what_belongs_to_git() {
    let place = Place::new();
    for path in [
        "old/a",
        "old/sub/b",
        "old/.git",
        "old/sub/.git",
        "old/mine/.git/config",
    ] {
        place.write(path, "by the set-up");
    }
    for path in ["new/.git", "new/sub/.git", "new/a", "new/removed"] {
        place.write(path, "of the commit");
    }
    let cache = SetupCache::whole();
    place.pack(&cache, ROOM).unwrap();
    placed(&place.restore(&cache, ROOM));
    place.check(&[
        (".git", "of the commit"),
        ("a", "by the set-up"),
        ("mine/.git/config", "by the set-up"),
        ("sub/.git", "of the commit"),
        ("sub/b", "by the set-up"),
    ]);
}

#[test]
fn what_leads_out_of_a_project_is_not_kept() {
    let place = Place::new();
    place.write("outside/secret", "x");
    place.write("old/v/file", "x");
    symlink("../outside", place.path("old/up")).unwrap();
    symlink("../../outside", place.path("old/v/out")).unwrap();
    let error = place.pack(&cache(&["up/secret"], &[]), ROOM).unwrap_err();
    assert!(error.contains("lies below a link"), "{error}");
    // A link itself is kept as one.
    let cache = cache(&["up", "v"], &["k"]);
    place.pack(&cache, ROOM).unwrap();
    placed(&place.restore(&cache, ROOM));
    place.check(&[
        ("up", "-> ../outside"),
        ("v/file", "x"),
        ("v/out", "-> ../../outside"),
    ]);
}

#[test]
fn nothing_is_written_through_a_link_of_the_commit() {
    let place = Place::new();
    fs::create_dir(place.path("outside")).unwrap();
    place.write("old/a/v/file", "x");
    symlink("../outside", place.path("new/a")).unwrap();
    let nested = cache(&["a/v"], &["k"]);
    place.pack(&nested, ROOM).unwrap();
    let answer = place.restore(&nested, ROOM);
    assert!(matches!(answer, Answer::Broken(_)), "{answer:?}");
    let top = cache(&["a"], &["k"]);
    place.pack(&top, ROOM).unwrap();
    placed(&place.restore(&top, ROOM));
    place.check(&[("a", "-> ../outside")]);
    assert_eq!(fs::read_dir(place.path("outside")).unwrap().count(), 0);
}

#[test]
fn hostile_entries_are_refused_and_change_nothing() {
    let end = ("end", Regular, "");
    let origin = ("origin", Regular, "/w");
    for (members, said) in [
        (&[origin, ("f/../x", Regular, "x"), end][..], "leads out"),
        (
            &[origin, ("f//etc/x", Regular, "x"), end],
            "no path of the job",
        ),
        (
            &[origin, ("/etc/x", Regular, "x"), end],
            "no part of an entry",
        ),
        (
            &[origin, ("f/other", Regular, "x"), end],
            "no path of the job",
        ),
        (&[origin, ("f/vv", Regular, "x"), end], "no path of the job"),
        (
            &[
                origin,
                ("f/v", Symlink, "/etc"),
                ("f/v/x", Regular, "x"),
                end,
            ],
            "v/x",
        ),
        (
            &[
                origin,
                ("f/v/x", Regular, "x"),
                ("f/v/x", Regular, "y"),
                end,
            ],
            "twice",
        ),
        (
            &[origin, ("f/v/x", Link, "f/v/y"), end],
            "no file, link or directory",
        ),
        (
            &[origin, ("f/v/x", Char, ""), end],
            "no file, link or directory",
        ),
        (
            &[origin, ("f/v/x", Fifo, ""), end],
            "no file, link or directory",
        ),
        (&[origin, ("f/v/x", Regular, "x")], "ends too early"),
        (&[], "ends too early"),
    ] {
        let place = Place::new();
        entry_of(&place.path("entry"), members);
        let answer = place.restore(&cache(&["v"], &["k"]), ROOM);
        let Answer::Refused(reason) = answer else {
            panic!("{members:?}: {answer:?}");
        };
        assert!(reason.contains(said), "{members:?}: {reason}");
        place.check(&[]);
    }
    let place = Place::new();
    entry_of(
        &place.path("entry"),
        &[origin, ("f/.git/config", Regular, "x"), end],
    );
    let answer = place.restore(&SetupCache::whole(), ROOM);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    let of_directory = [
        origin,
        ("f/v/", Directory, ""),
        ("f/v/x", Regular, "12345"),
        end,
    ];
    entry_of(&place.path("entry"), &of_directory);
    let answer = place.restore(&cache(&["v"], &[]), 4);
    assert!(matches!(answer, Answer::Failed(_)), "a bomb: {answer:?}");
    place.check(&[]);
    placed(&place.restore(&cache(&["v"], &[]), 5));
}

#[test]
fn a_damaged_entry_is_refused_wherever_it_is_damaged() {
    let place = Place::new();
    place.write("old/v/x", &"text\n".repeat(1_000));
    let cache = cache(&["v"], &["k"]);
    place.pack(&cache, ROOM).unwrap();
    let whole = fs::read(place.path("entry")).unwrap();
    for length in 0..whole.len() {
        fs::write(place.path("entry"), &whole[..length]).unwrap();
        let answer = place.restore(&cache, ROOM);
        assert!(matches!(answer, Answer::Refused(_)), "{length}: {answer:?}");
    }
    let mut other = whole.clone();
    let middle = whole.len() / 2;
    other[middle] ^= 0x55;
    fs::write(place.path("entry"), other).unwrap();
    let answer = place.restore(&cache, ROOM);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    place.check(&[]);
}

#[test]
fn what_is_too_large_is_not_kept() {
    let place = Place::new();
    place.write("old/v/a", "12345");
    place.write("old/v/b", "67890");
    let v = cache(&["v"], &["k"]);
    let error = place.pack(&v, 9).unwrap_err();
    assert!(error.contains("max_setup_cache_bytes"), "{error}");
    // Holes count with their length.
    let sparse = fs::File::create(place.path("old/v/sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let error = place.pack(&v, ROOM).unwrap_err();
    assert!(error.contains("max_setup_cache_bytes"), "{error}");
}
