//! Settings files that are shared with the original's programs: what those take is taken, and what is ours alone
//! stands where they do not look.

use super::*;
use crate::settings::keys::{self, ORIGINAL_KEYS};
use crate::settings::lines::{Content, lines};

/// What is in the file without effect is told, with its line, and nothing else is.
#[track_caller]
fn check_warned(file: &str, line: usize, words: &str) {
    let place = Place::new(file);
    let warnings = place.master().general.warnings;
    let start = format!("{}:{line}: ", place.file().display());
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(warning.starts_with(&start), "{warning}");
    assert!(warning.contains(words), "{warning}");
}

#[test]
fn what_the_original_takes_without_effect_is_a_warning() {
    check_warned("[master]\nmaster_port = 1\n", 2, "belongs to [slave]");
    check_warned("[slave]\nbuild_symlink_directory = x\n", 2, "[master] or");
    check_warned("[general]\n[deploy]\nanything = 1\n[[x]]\n", 2, "[deploy]");
    check_warned("[general]\n[masters]\n[master]\n", 2, "[masters]");
    check_warned("port = 1\n[general]\n", 1, "before the first section");
    for text in ["", "''", "None", "'None' # not set", "'''None'''"] {
        for key in ["hostname", "https_cert_file", "cors_allowed_origins_regex"] {
            let file = format!("[general]\n{key} = {text}\n");
            check_warned(&file, 2, "counts as left out");
        }
    }
    check_warned("[general]\nslaves =\n", 2, "counts as left out");
    for key in super::super::keys::ORIGINAL_KEYS {
        if key != "secret" {
            let file = format!("[general]\n{key} = None\n");
            check_warned(&file, 2, "counts as left out");
        }
    }
}

#[test]
fn a_file_may_be_written_in_all_ways_that_the_original_reads() {
    let file = "\u{feff}[ \"general\" ] # all of them\r\n'hostname' = \"\"\"farm\"\"\" # c\r\n\t\"log_level\" = INFO#c\r\n\
                max_log_file_size = 100\r\n[master]\nport = +7\nunresponsive_slaves_cleanup_interval = 0\n\
                [slave]\nheartbeat_failure_threshold = 0\n";
    let master = Place::new(file).master();
    assert_eq!(master.general.hostname, "farm");
    assert_eq!(master.general.log_level, LogLevel::Info);
    assert_eq!(master.general.max_log_file_size, 4096);
    assert_eq!(master.service.port, 7);
    assert_eq!(master.general.warnings, [""; 0]);
}

#[test]
fn a_secret_ends_at_a_comment_as_in_the_original() {
    let place = Place::new("[general]\nsecret = 0123456789abcdefgh#2f\n");
    let secret = place.master().general.secret.unwrap();
    assert_eq!(secret.expose(), "0123456789abcdefgh");
}

#[test]
fn a_file_that_is_named_and_not_there_is_made() {
    let place = Place::empty();
    let named = place.directory.path().join("named.conf");
    let load = || load_master(Some(&named), place.environment(), &Overrides::new()).unwrap();
    let told = load().general.warnings;
    assert_eq!(
        told,
        [format!(
            "there was no settings file {}; a new one was made",
            named.display()
        )]
    );
    let mode = fs::metadata(&named).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(load().general.warnings, [""; 0]);
    assert_eq!(
        load().general.secret_or_generate().unwrap().expose().len(),
        64
    );
}

#[test]
fn a_command_makes_no_file_until_a_secret_is_to_be_kept() {
    let place = Place::empty();
    let named = place.directory.path().join("named.conf");
    let load = || load_client(Some(&named), place.environment(), &Overrides::new()).unwrap();
    let told = load().general.warnings;
    assert_eq!(
        told,
        [format!(
            "there is no settings file {}: the shipped values count",
            named.display()
        )]
    );
    assert!(!named.exists());
    let secret = load().general.secret_or_generate().unwrap();
    assert_eq!(load().general.warnings, [""; 0]);
    assert_eq!(load().general.secret.unwrap().expose(), secret.expose());
}

/// As the original's programs look at a file: any key that they do not know ends them, and so does a missing section.
fn check_as_the_original(text: &str) -> Result<(), String> {
    let mut sections = Vec::new();
    for line in lines(text).map_err(|mistake| mistake.what)? {
        match line.content {
            Content::Section { name, .. } => sections.push(name),
            Content::Setting { key, .. } if ORIGINAL_KEYS.contains(&key.as_str()) => {}
            Content::Setting { key, .. } => return Err(key),
        }
    }
    match sections.as_slice() {
        [general, master, slave]
            if general == "general" && master == "master" && slave == "slave" =>
        {
            Ok(())
        }
        _ => Err(format!("{sections:?}")),
    }
}

#[test]
fn what_is_ours_alone_stands_in_a_second_file() {
    let shared = "[general]\nsecret = 'a secret of many'\n[master]\nport = 1\n[slave]\nport = 2\n";
    check_as_the_original(shared).unwrap();
    let ours = "[general]\naccept_legacy_peers = True\nhostname = farm\n[slave]\nport = 3\ndrain_on_stop = True\n";
    let error = check_as_the_original(ours).unwrap_err();
    assert_eq!(error, "accept_legacy_peers");
    let place = Place::new(shared).with("CLUSTERRUNNER_MIN_FREE_SPACE", "5");
    assert!(!place.master().service.accept_legacy_peers);
    let second = place.directory.path().join("clusterrunner-rust.conf");
    write(&second, ours, 0o644);
    let (master, slave) = (place.master(), place.slave());
    assert!(master.service.accept_legacy_peers && slave.service.accept_legacy_peers);
    assert!(slave.drain_on_stop);
    assert_eq!((master.service.port, slave.service.port), (1, 3));
    assert_eq!(master.general.hostname, "farm");
    assert_eq!(master.service.min_free_space, 5);
    let client = load_client(None, place.environment(), &Overrides::new()).unwrap();
    assert!(client.accept_legacy_peers);
    // Its mistakes are told with its own name, and a secret in it is as private.
    write(&second, "[general]\nprot = 1\n", 0o644);
    assert!(
        place
            .error()
            .starts_with(&format!("{}:2: ", second.display()))
    );
    write(
        &second,
        "[general]\nread_token = 'a token for reads'\n",
        0o644,
    );
    assert!(place.error().contains("chmod 600"), "{}", place.error());
}

/// A secret that we generate goes into the shared file, and the original must still read it.
#[test]
fn what_we_write_is_nothing_that_the_original_refuses() {
    let place = Place::new("[general]\nport = 1\n[master]\n[slave]\n");
    place.master().general.secret_or_generate().unwrap();
    let text = fs::read_to_string(place.file()).unwrap();
    assert!(text.contains("secret = "), "{text}");
    check_as_the_original(&text).unwrap();
}

#[test]
fn all_keys_of_the_original_are_known() {
    let unknown = ORIGINAL_KEYS.iter().find(|key| keys::key(key).is_none());
    assert_eq!(unknown, None);
}
