//! Who may read the secret, that it does not print, and how a new one gets into the file.

use super::*;

#[test]
fn a_file_with_a_secret_must_be_private() {
    let place = Place::new("[general]\nsecret = 0123456789 and more\n");
    assert_eq!(
        place.master().general.secret.unwrap().as_bytes(),
        b"0123456789 and more"
    );
    for mode in [0o640, 0o604, 0o644, 0o620] {
        write(
            &place.file(),
            "[general]\nsecret = 0123456789 and more\n",
            mode,
        );
        let error = place.error();
        assert!(
            error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600 /"),
            "{error}"
        );
    }
    write(
        &place.file(),
        "[general]\nsecret = 0123456789 and more\n",
        0o400,
    );
    place.master();
}

#[test]
fn secrets_do_not_print() {
    let place = Place::new("[general]\nsecret = 'do not print this'\n")
        .with("CLUSTERRUNNER_SECRET", "nor this one, please");
    let flags = Overrides::new().set("secret", "nor that one, please");
    let settings = load_master(None, place.environment(), &flags).unwrap();
    assert_eq!(
        settings.general.secret.as_ref().unwrap().as_bytes(),
        b"nor that one, please"
    );
    let printed = format!("{settings:?} {flags:?}");
    assert!(
        !printed.contains("print this") && !printed.contains("nor th"),
        "{printed}"
    );
    let error = Place::new("[general]\nsecret = hush, now\n").error();
    assert!(
        error.contains("found a list") && !error.contains("hush"),
        "{error}"
    );
    let error = Place::new("[general]\nsecret: hush\n").error();
    assert!(
        error.contains("\"secret\" has no \"=\"") && !error.contains("hush"),
        "{error}"
    );
    let error = Place::new("[general]\nsecret = 'hush' now\n").error();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_secret_is_generated_once() {
    let place = Place::empty();
    let nested = place.directory.path().join("a/b/clusterrunner.conf");
    let secret = ensure_secret(&nested).unwrap();
    assert_eq!(secret.as_bytes().len(), 64);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&nested), mode(nested.parent().unwrap())),
        (0o600, 0o700)
    );
    assert_eq!(mode(&place.directory.path().join("a")), 0o700);
    assert_eq!(
        ensure_secret(&nested).unwrap().as_bytes(),
        secret.as_bytes()
    );
    let loaded = load_slave(Some(&nested), place.environment(), &Overrides::new()).unwrap();
    assert_eq!(
        loaded.general.secret_or_generate().unwrap().as_bytes(),
        secret.as_bytes()
    );
    // Nothing but the file is left, in particular no lock and no temporary file.
    assert_eq!(fs::read_dir(nested.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn an_open_file_becomes_private_and_keeps_its_text() {
    let place = Place::empty();
    write(
        &place.file(),
        "# mine\n[general]\nsecret =\nport = 5 # five\n",
        0o644,
    );
    let secret = place.master().general.secret_or_generate().unwrap();
    let secret = std::str::from_utf8(secret.as_bytes()).unwrap();
    let text = fs::read_to_string(place.file()).unwrap();
    assert_eq!(
        text,
        format!("# mine\n[general]\nsecret = {secret}\nport = 5 # five\n")
    );
    assert_eq!(
        fs::metadata(place.file()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_link_stays_a_link() {
    let place = Place::empty();
    let target = place.directory.path().join("real.conf");
    write(&target, "[general]\n", 0o600);
    std::os::unix::fs::symlink(&target, place.file()).unwrap();
    ensure_secret(&place.file()).unwrap();
    assert!(fs::symlink_metadata(place.file()).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("secret = "));
}

#[test]
fn a_wrong_file_is_not_overwritten() {
    let place = Place::new("[general]\nsecret = short\n");
    assert!(matches!(
        ensure_secret(&place.file()),
        Err(SettingsError::WrongValue { .. })
    ));
    assert_eq!(
        fs::read_to_string(place.file()).unwrap(),
        "[general]\nsecret = short\n"
    );
    let closed = place.directory.path().join("file/clusterrunner.conf");
    fs::write(closed.parent().unwrap(), "no directory").unwrap();
    assert!(matches!(
        ensure_secret(&closed),
        Err(SettingsError::Write { .. })
    ));
}

#[test]
fn starting_at_once_ends_with_one_secret() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/clusterrunner.conf");
        let secrets: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| ensure_secret(&path).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap().as_bytes().to_vec())
                .collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }
}

#[test]
fn a_weak_secret_is_refused_unless_it_comes_from_the_original() {
    for (weak, reason) in [
        ("password", "only 8 characters"),
        ("'        '", "only 8 characters"),
        ("aaaaaaaaaaaaaaaaaaaa", "only 1 different characters"),
        ("0123456789abcdef", "easy to guess"),
    ] {
        let text = format!("[general]\nsecret = {weak}\n");
        let error = Place::new(&text).error();
        assert!(error.contains(reason) && error.contains(":2"), "{error}");
        let place = Place::new(&format!("{text}accept_legacy_peers = True\n"));
        let general = place.master().general;
        assert!(general.secret.is_some());
        let weakness = general.secret_weakness.unwrap().to_string();
        assert!(weakness.contains(reason), "{weakness}");
    }
    let fine = Place::new("[general]\nsecret = a secret that is long enough\n");
    assert_eq!(fine.master().general.secret_weakness, None);
    // What the original refuses is refused in any case.
    let text = "[general]\nsecret = seven77\naccept_legacy_peers = True\n";
    assert!(Place::new(text).error().contains("only 7 characters"));
}
