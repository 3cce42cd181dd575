//! What is in a key, and what is not.

use super::*;
use clusterrunner_common::process::variables::Variables;
use clusterrunner_common::work::{GivenSecret, SecretValue};

fn cache(paths: &[&str]) -> SetupCache {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    SetupCache::new(paths, Vec::new()).unwrap()
}

fn secret(whose: &str) -> Secret {
    Secret::new(format!("{whose} secret of many letters")).unwrap()
}

fn variables(set: &[(&str, &str)]) -> BuildVariables {
    let mut variables = Variables::default();
    for (name, value) in set {
        variables.set(*name, *value);
    }
    BuildVariables {
        set: variables,
        ..BuildVariables::default()
    }
}

fn given(value: &str) -> GivenSecrets {
    GivenSecrets(vec![GivenSecret {
        name: "TOKEN".to_owned(),
        value: SecretValue::new(value.to_owned()),
        as_file: false,
    }])
}

fn file(name: &str, content: u8) -> HashedFile {
    (name.to_owned(), [content; 32])
}

#[test]
#[expect(clippy::too_many_lines, reason = "a case for each part")]
fn each_part_makes_another_key() {
    let (secret, other_secret) = (secret("one farm's"), secret("another farm's"));
    let (one, two) = (cache(&["a"]), cache(&["a", "b"]));
    let plain = variables(&[("CI", "true")]);
    let other = variables(&[("CI", "true"), ("PYTHON", "3.12")]);
    let mut inherited = plain.clone();
    let mut path = Variables::default();
    path.set("PATH", "/opt/bin");
    inherited.inherited = Some(path);
    let mut shell = plain.clone();
    let mut production = Variables::default();
    production.set("NODE_ENV", "production");
    shell.inherited = Some(production);
    let (some, changed, renamed) = ([file("k", 1)], [file("k", 2)], [file("l", 1)]);
    let remote = [file("wheel", 1)];
    let (none, one_value, other_value) = (
        GivenSecrets::default(),
        given("hunter2-hunter3"),
        given("guessed"),
    );
    let base = KeyParts {
        scope: "git\nx",
        cache: &one,
        setup_build: "make",
        runs_on: "a machine",
        commit: None,
        files: &some,
        remote_files: &[],
        variables: &plain,
        apart: (IsolationLevel::None, IsolationLevel::None),
        secrets: &none,
    };
    let mut keys = vec![key(&secret, &base), key(&other_secret, &base)];
    for parts in [
        KeyParts {
            scope: "git\ny",
            ..base
        },
        KeyParts {
            cache: &two,
            ..base
        },
        KeyParts {
            setup_build: "make x",
            ..base
        },
        KeyParts {
            runs_on: "an image",
            ..base
        },
        KeyParts {
            commit: Some("an image"),
            ..base
        },
        KeyParts {
            files: &changed,
            ..base
        },
        KeyParts {
            files: &renamed,
            ..base
        },
        KeyParts { files: &[], ..base },
        KeyParts {
            remote_files: &remote,
            ..base
        },
        KeyParts {
            variables: &other,
            ..base
        },
        KeyParts {
            variables: &inherited,
            ..base
        },
        KeyParts {
            variables: &shell,
            ..base
        },
        KeyParts {
            apart: (IsolationLevel::None, IsolationLevel::User),
            ..base
        },
        KeyParts {
            apart: (IsolationLevel::User, IsolationLevel::User),
            ..base
        },
        KeyParts {
            secrets: &one_value,
            ..base
        },
        KeyParts {
            secrets: &other_value,
            ..base
        },
    ] {
        keys.push(key(&secret, &parts));
    }
    let number = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), number);
    assert!(
        keys.iter()
            .all(|key| EntryKey::parse(key.as_str()).is_some())
    );
    assert_eq!(keys[0].to_string(), keys[0].as_str()[..12]);
}

#[test]
fn what_is_different_in_each_build_is_in_no_key() {
    let secret = secret("one farm's");
    let one = cache(&["a"]);
    let of = |set: &[(&str, &str)]| {
        let variables = variables(set);
        let parts = KeyParts {
            scope: "s",
            cache: &one,
            setup_build: "make",
            runs_on: "a machine",
            commit: None,
            files: &[],
            remote_files: &[],
            variables: &variables,
            apart: (IsolationLevel::None, IsolationLevel::None),
            secrets: &GivenSecrets::default(),
        };
        key(&secret, &parts)
    };
    let first = of(&[
        ("CLUSTERRUNNER_BUILD_ID", "1"),
        ("CLUSTERRUNNER_BRANCH", "a"),
    ]);
    assert_eq!(first, of(&[("CLUSTERRUNNER_BUILD_ID", "2")]));
    assert_ne!(first, of(&[("A", "2")]));
    let of_session = [
        "PWD",
        "SHLVL",
        "SSH_AUTH_SOCK",
        "TERM",
        "GITHUB_RUN_ID",
        "BUILD_NUMBER",
        "CI_JOB_ID",
    ];
    assert!(of_session.iter().all(|name| is_of_session(name)));
    let others = ["PATH", "HOME", "VIRTUAL_ENV", "LANG"];
    assert!(!others.iter().any(|name| is_of_session(name)));
}

#[test]
fn another_release_or_path_is_another_machine() {
    let release = "NAME=\"Some Linux\"\nVERSION_ID=\"12\"\nID=some\nBUG_URL=x\n";
    let one = machine(release, "/bin");
    assert_eq!(one, "machine\nVERSION_ID=\"12\"\nID=some\n/bin");
    assert_ne!(one, machine(&release.replace("12", "13"), "/bin"));
    assert_ne!(one, machine(release, "/opt/bin:/bin"));
}

fn git(url: &str, remote: Option<&str>, branch: Option<&str>) -> String {
    of_commit(url, remote, branch, None)
}

fn of_commit(url: &str, remote: Option<&str>, branch: Option<&str>, hash: Option<&str>) -> String {
    let source = ProjectSource::Git {
        url: url.to_owned(),
        remote: remote.map(str::to_owned),
        branch: branch.map(str::to_owned),
        hash: hash.map(str::to_owned),
        project_directory: None,
    };
    scope(&source).unwrap()
}

#[test]
fn branches_share_entries_and_strangers_do_not() {
    const URL: &str = "https://example.org/a.git";
    let main = git(URL, None, Some("main"));
    for (remote, branch) in [
        (None, None),
        (Some("origin"), Some("feature/pull")),
        (None, Some("refs/heads/x")),
    ] {
        assert_eq!(git(URL, remote, branch), main, "{remote:?} {branch:?}");
    }
    assert_eq!(git("https://me:pw@example.org/a.git", None, None), main);
    let mut others = vec![
        main,
        git("https://example.org/b.git", None, None),
        git(URL, Some("https://example.org/fork.git"), Some("main")),
    ];
    for branch in [
        "refs/pull/1/head",
        "refs/pull/2/head",
        "refs/merge-requests/1/head",
        "pull/1/head",
        "0123456789abcdef0123456789abcdef01234567",
    ] {
        others.push(git(URL, None, Some(branch)));
    }
    // A commit may be anybody's, whatever is said beside it.
    for hash in ["0123", "4567"] {
        others.push(of_commit(URL, None, Some("main"), Some(hash)));
        others.push(of_commit(URL, None, None, Some(hash)));
        others.dedup();
    }
    let number = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), number);
    let directory = ProjectSource::Directory {
        project_directory: "/p".to_owned(),
    };
    assert_eq!(scope(&directory), None);
}
