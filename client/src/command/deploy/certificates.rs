//! What each machine needs to speak HTTPS, made from the authority that lies here: its key goes nowhere.

use super::plan::Plan;
use super::settings_text::{begins, place, sets};
use crate::command::tls::store::{CA_FILE, CA_KEY_FILE, CA_SUBJECT, Machine, Store};
use crate::command::tls::trouble;
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::http::tls::certificate::Certificate;
use clusterrunner_common::http::tls::{Authorities, HttpsSettings};
use std::collections::BTreeMap;
use std::path::Path;

/// The directory of the files on each machine, in that of all its files.
pub(super) const CERTIFICATES: &str = "tls";

const CERTIFICATE_FILE: &str = "machine.pem";
const KEY_FILE: &str = "machine.key";

/// The settings that the files on each machine take the place of.
const KEYS: [&str; 3] = ["https_cert_file", "https_key_file", "https_ca_file"];

/// The setting that stays what it is, unless it means the same authority.
const CLIENT_CA: &str = "https_client_ca_file";

/// The settings of a caller's own certificate: daemons show theirs.
const CLIENT_KEYS: [&str; 2] = ["https_client_cert_file", "https_client_key_file"];

/// The longest file that is sent, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The files of all machines.
pub(super) struct Certificates {
    authority: String,
    /// By the name of the machine: its certificate and key.
    machines: BTreeMap<String, (String, String)>,
}

impl Certificates {
    /// Makes what is missing. `None` where the farm speaks plain HTTP, or has its certificates from elsewhere.
    pub(super) fn make(https: &HttpsSettings, plan: &Plan) -> Result<Option<Self>, Trouble> {
        let Some(directory) = directory(https) else {
            if https.is_on() {
                output::note(
                    "The certificates that the settings name are not copied: they must be on each machine.",
                );
            }
            return Ok(None);
        };
        let now = Timestamp::now();
        let store = Store::open(directory, now).map_err(trouble)?;
        let mut machines = BTreeMap::new();
        for machine in &plan.machines {
            let wanted = Machine::parse(&machine.name).map_err(trouble)?;
            let made = store.certificate(&wanted, false, now).map_err(trouble)?;
            machines.insert(machine.name.clone(), (read(&made.path)?, read(&made.key)?));
        }
        Ok(Some(Self {
            authority: read(&store.own.path)?,
            machines,
        }))
    }

    /// The files for a machine, by their names there.
    pub(super) fn of(&self, name: &str) -> Vec<(&'static str, &str)> {
        let mut files = vec![(CA_FILE, self.authority.as_str())];
        if let Some((certificate, key)) = self.machines.get(name) {
            files.extend([
                (KEY_FILE, key.as_str()),
                (CERTIFICATE_FILE, certificate.as_str()),
            ]);
        }
        files
    }
}

/// Where the authority of these settings lies with its key, if `tls init` has made it: nobody else's signs here.
fn directory(https: &HttpsSettings) -> Option<&Path> {
    let Some(Authorities::File(authority)) = &https.authorities else {
        return None;
    };
    let directory = authority.parent()?;
    let is_own = authority.file_name().is_some_and(|name| name == CA_FILE);
    let has_key = is_own && directory.join(CA_KEY_FILE).exists();
    (has_key && is_made_here(authority)).then_some(directory)
}

fn is_made_here(authority: &Path) -> bool {
    let text = regular_file::read_to_string(authority, MAX_FILE).unwrap_or_default();
    let all = Certificate::all_of(text.as_bytes()).unwrap_or_default();
    all.first()
        .is_some_and(|one| one.subject.contains(CA_SUBJECT))
}

fn read(path: &Path) -> Result<String, Trouble> {
    regular_file::read_to_string(path, MAX_FILE)
        .map_err(|error| Trouble::new(format!("could not read {}: {error}", path.display())))
}

/// A settings file as machines need it whose files lie below `directory`. All that is to be set is set in the first of the
/// two files.
pub(super) fn settings(
    text: &str,
    directory: &str,
    https: &HttpsSettings,
    is_first: bool,
) -> String {
    let there = |file: &str| place(directory, &format!("{CERTIFICATES}/{file}"));
    let is_same_authority = matches!(
        (&https.authorities, &https.client_authorities),
        (Some(Authorities::File(a)), Some(b)) if a == b
    );
    let is_replaced = |line: &&str| {
        let keys = KEYS.iter().chain(&CLIENT_KEYS);
        keys.copied()
            .chain(is_same_authority.then_some(CLIENT_CA))
            .any(|key| sets(line, key))
    };
    let rest: Vec<&str> = text.lines().filter(|line| !is_replaced(line)).collect();
    if !is_first {
        return rest.iter().map(|line| format!("{line}\n")).collect();
    }
    let files = [CERTIFICATE_FILE, KEY_FILE, CA_FILE];
    let mut set: Vec<String> = KEYS
        .iter()
        .zip(files)
        .map(|(key, file)| format!("{key} = {}", there(file)))
        .collect();
    if is_same_authority {
        set.push(format!("{CLIENT_CA} = {}", there(CA_FILE)));
    }
    let section = rest.iter().position(|line| begins(line, "general"));
    let (before, after) = rest.split_at(section.map_or(0, |at| at + 1));
    let title = section.is_none().then_some("[general]");
    let lines = before
        .iter()
        .copied()
        .chain(title)
        .chain(set.iter().map(String::as_str));
    lines
        .chain(after.iter().copied())
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn https(clients: Option<&str>) -> HttpsSettings {
        HttpsSettings {
            authorities: Some(Authorities::File("/me/tls/ca.pem".into())),
            client_authorities: clients.map(Into::into),
            ..HttpsSettings::default()
        }
    }

    #[test]
    fn settings_name_the_files_of_the_machine_that_gets_them() {
        let text = "# https_cert_file = x\n[master]\nport = 1\nhttps_cert_file = /me/a.pem\n[general]\n\
                    https_ca_file: /me/tls/ca.pem\nsecret = s\n";
        let expected = "# https_cert_file = x\n[master]\nport = 1\n[general]\n\
                        https_cert_file = ~/.farm/tls/machine.pem\nhttps_key_file = ~/.farm/tls/machine.key\n\
                        https_ca_file = ~/.farm/tls/ca.pem\nsecret = s\n";
        assert_eq!(settings(text, ".farm", &https(None), true), expected);
        let second = "https_key_file = /me/a.key\nlabels = a\n";
        assert_eq!(
            settings(second, ".farm", &https(None), false),
            "labels = a\n"
        );
        assert_eq!(settings("", ".farm", &https(None), false), "");
    }

    #[test]
    fn the_section_is_found_however_it_is_written() {
        for line in [
            "[general]",
            " [ general ] ",
            "[general]  # all",
            "[\"general\"] ; all",
            "\u{feff}[general]",
        ] {
            let text = format!("{line}\n\"https_ca_file\" = /me/tls/ca.pem\nsecret = s\n");
            let there = settings(&text, "/srv", &https(None), true);
            assert!(
                there.starts_with(&format!("{line}\nhttps_cert_file = ")),
                "{there}"
            );
            assert_eq!(there.matches("https_ca_file").count(), 1, "{there}");
        }
        for line in ["[generals]", "# [general]", "general = [general]"] {
            assert!(!begins(line, "general"), "{line}");
        }
    }

    #[test]
    fn the_authority_of_callers_is_brought_along_if_it_is_the_same() {
        let text = "[master]\nhttps_client_ca_file = /me/tls/ca.pem\nhttps_client_cert_file = /me/me.pem\n";
        let there = settings(text, "/srv/farm/", &https(Some("/me/tls/ca.pem")), true);
        let expected = "[general]\nhttps_cert_file = /srv/farm/tls/machine.pem\n\
                        https_key_file = /srv/farm/tls/machine.key\nhttps_ca_file = /srv/farm/tls/ca.pem\n\
                        https_client_ca_file = /srv/farm/tls/ca.pem\n[master]\n";
        assert_eq!(there, expected);
        let other = settings(text, "/srv", &https(Some("/etc/people.pem")), true);
        assert!(
            other.contains("https_client_ca_file = /me/tls/ca.pem"),
            "{other}"
        );
    }

    #[test]
    fn only_an_authority_with_its_key_signs() {
        let directory = tempfile::tempdir().unwrap();
        let own = |name: &str| HttpsSettings {
            authorities: Some(Authorities::File(directory.path().join(name))),
            ..HttpsSettings::default()
        };
        assert_eq!(super::directory(&own(CA_FILE)), None);
        let key = directory.path().join(CA_KEY_FILE);
        std::fs::write(&key, "").unwrap();
        assert_eq!(super::directory(&own(CA_FILE)), None, "somebody else's");
        std::fs::remove_file(&key).unwrap();
        Store::open(directory.path(), Timestamp::now()).unwrap();
        assert_eq!(super::directory(&own(CA_FILE)), Some(directory.path()));
        assert_eq!(super::directory(&own("roots.pem")), None);
        assert_eq!(super::directory(&HttpsSettings::default()), None);
    }
}
