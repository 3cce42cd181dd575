//! What a slave keeps of itself and its master, and whom it takes for its master.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).unwrap()
}

fn open(directory: &Path, ways: &[Way]) -> Identity {
    Identity::open(directory.join("identity"), false, ways.to_vec()).unwrap()
}

fn farm() -> Way {
    Way::Secret(secret("a secret of a farm"))
}

/// Has a slave meet a master with a key, that knows a secret or none.
async fn meet(
    slave: &Identity,
    way: Option<&Way>,
    master: Option<(&OwnKey, Option<&Secret>)>,
) -> Result<(), NotOurs> {
    let life = SessionId("slave's life".to_owned());
    let shown = slave.shown("a:1", &life);
    let meeting = Meeting {
        challenge: &shown.challenge,
        slave: &shown.key,
        slave_id: "7",
        master_session: "master's life",
    };
    let answer = ConnectAnswer {
        status: "SUCCESS".to_owned(),
        slave_id: "7".to_owned(),
        protocol: None,
        resumed: false,
        wanted: Vec::new(),
        master: None,
        identity: master.map(|(key, with)| meeting.answer(key, with)),
    };
    slave.meet(&shown, way, (&answer, "master's life")).await
}

#[tokio::test]
async fn a_slave_keeps_its_key_and_its_masters_for_itself() {
    let place = tempfile::tempdir().unwrap();
    let slave = open(place.path(), &[farm()]);
    let master = OwnKey::from_random([1; 32]);
    let of_farm = secret("a secret of a farm");
    let wrong = secret("another secret of a farm");
    let unproved = meet(&slave, Some(&farm()), Some((&master, Some(&wrong)))).await;
    assert!(matches!(unproved, Err(NotOurs::Unproved)));
    let unproved = meet(&slave, Some(&farm()), Some((&master, None))).await;
    assert!(matches!(unproved, Err(NotOurs::Unproved)) && !slave.has_joined());
    let met = meet(&slave, Some(&farm()), Some((&master, Some(&of_farm)))).await;
    assert!(met.is_ok() && slave.has_joined());
    let again = open(place.path(), &[]);
    assert!(again.has_joined() && again.fingerprint() == slave.fingerprint());
    for file in ["own.key", "master.pub"] {
        let file = std::fs::metadata(again.directory().join(file)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
    // By its key alone from now on.
    assert!(meet(&again, None, Some((&master, None))).await.is_ok());
}

#[tokio::test]
async fn another_master_is_refused_until_the_slave_forgets_its_own() {
    let place = tempfile::tempdir().unwrap();
    let slave = open(place.path(), &[farm()]);
    let (master, other) = (OwnKey::from_random([1; 32]), OwnKey::from_random([2; 32]));
    let of_farm = secret("a secret of a farm");
    meet(&slave, Some(&farm()), Some((&master, Some(&of_farm))))
        .await
        .unwrap();
    assert!(slave.key(&master.public()).is_ok());
    assert_eq!(
        slave.key(&other.public()).err(),
        Some(KeyRefusal::OtherMaster)
    );
    for (way, shown) in [
        (None, Some((&other, None))),
        (Some(&farm()), Some((&other, Some(&of_farm)))),
        (Some(&farm()), None),
    ] {
        let error = meet(&slave, way, shown).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NotOurs::OtherKey { .. }), "{text}");
        assert!(
            text.contains("--forget-master") && text.contains("master.pub"),
            "{text}"
        );
        assert!(text.contains(&master.public().fingerprint()), "{text}");
    }
    let directory = place.path().join("identity");
    let forgetful = Identity::open(directory, true, vec![farm()]).unwrap();
    assert_eq!(forgetful.fingerprint(), slave.fingerprint());
    assert_eq!(
        forgetful.key(&master.public()).err(),
        Some(KeyRefusal::NotMet)
    );
    meet(&forgetful, Some(&farm()), Some((&other, Some(&of_farm))))
        .await
        .unwrap();
    assert!(forgetful.key(&other.public()).is_ok());
}

#[tokio::test]
async fn only_with_the_secret_a_slave_goes_on_with_a_master_without_a_key() {
    let place = tempfile::tempdir().unwrap();
    let slave = open(place.path(), &[farm()]);
    assert!(meet(&slave, Some(&farm()), None).await.is_ok() && !slave.has_joined());
    let text = format!("7-{}", "0123456789abcdef0123".repeat(2));
    let token = Way::Token(text.parse().unwrap());
    assert!(meet(&slave, Some(&token), None).await.is_err());
    assert!(meet(&slave, None, None).await.is_err());
}

#[test]
fn a_damaged_file_is_named_with_its_cure() {
    let place = tempfile::tempdir().unwrap();
    let directory = open(place.path(), &[]).directory().to_owned();
    for file in ["own.key", "master.pub"] {
        std::fs::write(directory.join(file), "").unwrap();
        let error = Identity::open(directory.clone(), false, Vec::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("remove it"), "{text}");
        std::fs::remove_file(directory.join(file)).unwrap();
    }
}
