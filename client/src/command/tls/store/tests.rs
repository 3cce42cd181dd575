//! An authority in a directory, over the years.

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn later(days: u32) -> Timestamp {
    Timestamp(NOW.0 + u64::try_from((DAY * days).as_millis()).unwrap())
}

fn machine(text: &str) -> Machine {
    Machine::parse(text).unwrap()
}

#[test]
fn another_run_keeps_what_is_good_and_adds_what_is_new() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/tls");
    let store = Store::open(&directory, NOW).unwrap();
    let first = store.certificate(&machine("farm-1"), false, NOW).unwrap();
    assert_eq!((store.own.made, first.made), (Made::New, Made::New));
    assert_eq!(
        first.certificate.names,
        ["farm-1", "localhost", "127.0.0.1", "::1"]
    );
    for key in [&first.key, &store.own.key] {
        assert_eq!(
            fs::metadata(key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let pem = fs::read(&first.path).unwrap();

    let again = Store::open(&directory, later(300)).unwrap();
    assert_eq!(again.own.made, Made::Kept);
    let made = |text: &str, renew, day| {
        again
            .certificate(&machine(text), renew, later(day))
            .unwrap()
            .made
    };
    assert_eq!(made("farm-1", false, 300), Made::Kept);
    assert_eq!(fs::read(&first.path).unwrap(), pem);
    assert_eq!(made("farm-2,10.0.0.2", false, 300), Made::New);
    // Soon over, with another name, and because it is wanted; the key stays.
    let key = fs::read(&first.key).unwrap();
    assert_eq!(made("farm-1", false, 340), Made::Renewed);
    assert_eq!(made("farm-1,10.0.0.1", false, 340), Made::Renewed);
    assert_eq!(made("farm-1,10.0.0.1", true, 340), Made::Renewed);
    assert_eq!(made("farm-1", false, 340), Made::Kept);
    assert_eq!(fs::read(&first.key).unwrap(), key);
    // All of them are found again, with their names, and nothing else.
    fs::write(directory.join("other.pem"), "no certificate").unwrap();
    fs::copy(&first.key, directory.join("other.key")).unwrap();
    let known = again.machines().unwrap();
    assert_eq!(
        known,
        [machine("farm-1,10.0.0.1"), machine("farm-2,10.0.0.2")]
    );
}

#[test]
fn what_broke_off_is_finished_and_what_is_wrong_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let open = || Store::open(directory.path(), NOW);
    let name = open().unwrap().own.certificate.subject;
    // Killed before the certificate was there.
    fs::remove_file(file(CA_FILE)).unwrap();
    let store = open().unwrap();
    assert_ne!(store.own.certificate.subject, name);
    // Of an authority that is no more.
    assert_eq!(
        store.certificate(&machine("a"), false, NOW).unwrap().made,
        Made::New
    );
    fs::remove_file(file(CA_FILE)).unwrap();
    let store = open().unwrap();
    assert_eq!(
        store.certificate(&machine("a"), false, NOW).unwrap().made,
        Made::Renewed
    );

    fs::set_permissions(file(CA_KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    fs::remove_file(file(CA_KEY_FILE)).unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.contains("without ca.key"), "{error}");
    let late = tempfile::tempdir().unwrap();
    drop(Store::open(late.path(), NOW).unwrap());
    let error = Store::open(late.path(), later(4000)).err().unwrap();
    assert!(matches!(error, StoreError::Ended { .. }), "{error}");
}

#[test]
fn a_person_has_a_certificate_for_calls_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), NOW).unwrap();
    // As one was made before there were persons.
    store.certificate(&machine("alice"), false, NOW).unwrap();
    let alice = Machine::person("alice").unwrap();
    let made = store.certificate(&alice, false, NOW).unwrap();
    assert_eq!(made.made, Made::Renewed);
    assert!(!made.certificate.is_for_hosts && made.certificate.names.is_empty());
    assert_eq!(
        store.certificate(&alice, false, NOW).unwrap().made,
        Made::Kept
    );
    assert_eq!(store.machines().unwrap(), [alice]);
    for name in ["", "../a", "a/b", ".a", "a b", "a,b", "\u{e4}"] {
        assert!(
            matches!(Machine::person(name), Err(StoreError::Person { .. })),
            "{name}"
        );
    }
}

#[test]
fn a_machine_has_a_name_that_is_a_file() {
    assert_eq!(machine("*.apps.org").file_name, "all.apps.org");
    assert_eq!(machine("B,a").file_name, "b");
    assert!(matches!(Machine::parse("ca"), Err(StoreError::Taken)));
    for text in ["", "a,", "../a", "a/b", ".", ".."] {
        assert!(
            matches!(Machine::parse(text), Err(StoreError::Name { .. })),
            "{text}"
        );
    }
}
