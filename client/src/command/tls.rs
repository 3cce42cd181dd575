//! `clusterrunner tls`: certificates for a farm that speaks HTTPS.

pub(crate) mod store;

use crate::options::{CommonOptions, TlsInitOptions, TlsShowOptions, TlsTask};
use crate::output::table::{Cell, Table};
use crate::output::{self, BAD, GOOD, NOTICE};
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::http::tls::certificate::{Certificate, Standing, day};
use std::path::{Path, PathBuf};
use store::{CA_FILE, CA_KEY_FILE, Machine, Made, Store, StoreError, Stored};

/// The longest file of certificates that is shown, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The settings whose files hold authorities.
const AUTHORITIES: [&str; 2] = ["https_ca_file", "https_client_ca_file"];

/// Where the settings lines suppose the files on other machines.
const THERE: &str = "/etc/clusterrunner";

/// Makes or shows certificates.
pub(crate) fn run(task: TlsTask, common: &CommonOptions) -> Result<ExitCode, Trouble> {
    let settings = Settings::load(common)?;
    match task {
        TlsTask::Init(options) => init(&options, &settings),
        TlsTask::Show(options) => show(&options, &settings),
    }
}

/// Where `tls init` keeps its files if nothing is said.
fn directory(given: Option<&PathBuf>, settings: &Settings) -> PathBuf {
    given
        .cloned()
        .unwrap_or_else(|| settings.base_directory.join("tls"))
}

fn init(options: &TlsInitOptions, settings: &Settings) -> Result<ExitCode, Trouble> {
    let named = options.names.iter().map(|name| Machine::parse(name));
    let persons = options.persons.iter().map(|name| Machine::person(name));
    let named = named.chain(persons);
    let mut machines = named.collect::<Result<Vec<_>, _>>().map_err(trouble)?;
    let now = Timestamp::now();
    let store =
        Store::open(&directory(options.directory.as_ref(), settings), now).map_err(trouble)?;
    // Those of earlier runs are renewed where that is due.
    let known = store.machines().map_err(trouble)?;
    let is_new = |one: &Machine| {
        machines
            .iter()
            .all(|named| named.file_name != one.file_name)
    };
    let known: Vec<Machine> = known.into_iter().filter(is_new).collect();
    if machines.is_empty() && known.is_empty() {
        machines.push(Machine::parse(&settings.hostname).map_err(trouble)?);
    }
    let wanted = if machines.is_empty() {
        known.len()
    } else {
        machines.len()
    };
    machines.extend(known);
    let mut table = Table::new(&["For", "Certificate", "Ends", ""]);
    table.add(row("the authority", &store.own));
    let mut stored = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        let made = store
            .certificate(machine, options.renew && number < wanted, now)
            .map_err(trouble)?;
        let whose = match machine.is_person() {
            true => format!("{} (a person)", machine.file_name),
            false => made.certificate.names.join(", "),
        };
        table.add(row(&whose, &made));
        stored.push((machine, made));
    }
    table.print();
    for (machine, made) in stored {
        if made.made != Made::Kept {
            explain(machine, &made, &store, settings);
        }
    }
    output::note(format!(
        "machines that only run commands need {CA_FILE} and the line https_ca_file; {CA_KEY_FILE} stays here. \
         `clusterrunner deploy` brings all machines what they need"
    ));
    Ok(ExitCode::Success)
}

fn row(whose: &str, stored: &Stored) -> [Cell; 4] {
    let (style, made) = match stored.made {
        Made::New => (GOOD, "made"),
        Made::Renewed => (GOOD, "renewed"),
        Made::Kept => (NOTICE, "kept"),
    };
    [
        whose.into(),
        stored.path.display().to_string().into(),
        day(stored.certificate.until).into(),
        Cell::styled(style, made),
    ]
}

/// Says what a machine or a person needs.
fn explain(machine: &Machine, made: &Stored, store: &Store, settings: &Settings) {
    let name = &machine.file_name;
    if machine.is_person() {
        output::say(format!(
            "\n{name} needs {name}.pem, {name}.key (mode 0600) and {CA_FILE}, for instance beside clusterrunner.conf, and \
             in that file, below [general]:\n  https_client_cert_file = {name}.pem\n  https_client_key_file = \
             {name}.key\n  https_ca_file = {CA_FILE}"
        ));
        return;
    }
    let is_here = machine.names[0]
        .to_string()
        .eq_ignore_ascii_case(&settings.hostname);
    let (place, said) = match is_here {
        true => {
            let file = settings.file.display();
            (
                made.path.parent().unwrap_or(Path::new("")),
                format!("\nOn this machine, write into {file}, below [general]:"),
            )
        }
        false => (
            Path::new(THERE),
            format!(
                "\nTo {name}, copy {name}.pem, {name}.key (mode 0600) and {CA_FILE}, for instance into {THERE}, and write into \
                 its clusterrunner.conf, below [general]:"
            ),
        ),
    };
    output::say(said);
    for (key, file) in [
        ("https_cert_file", &made.path),
        ("https_key_file", &made.key),
        ("https_ca_file", &store.own.path),
    ] {
        let file = file.file_name().unwrap_or_default();
        output::say(format!("  {key} = {}", place.join(file).display()));
    }
}

fn show(options: &TlsShowOptions, settings: &Settings) -> Result<ExitCode, Trouble> {
    let directory = directory(options.directory.as_ref(), settings);
    let shown = all(&directory, settings);
    if shown.is_empty() {
        let text = format!(
            "no certificate is named in the settings, and none lies in {}",
            directory.display()
        );
        return Err(Trouble::usage(text).hint("`clusterrunner tls init` makes some"));
    }
    let now = Timestamp::now();
    let mut table = Table::new(&["Certificate", "For", "Ends", "State"]);
    let mut is_all_good = true;
    for (path, setting) in shown {
        let place = match setting {
            Some(setting) => format!("{setting}: {}", path.display()),
            None => path.display().to_string(),
        };
        match read(&path) {
            Ok(found) => {
                for certificate in found {
                    is_all_good &= certificate.standing(now) == Standing::Valid;
                    table.add(line(&place, &certificate, now));
                }
            }
            Err(error) => {
                is_all_good = false;
                table.add([
                    place.into(),
                    error.into(),
                    "".into(),
                    Cell::styled(BAD, "can not be read"),
                ]);
            }
        }
    }
    table.print();
    Ok(match is_all_good {
        true => ExitCode::Success,
        false => ExitCode::AtomsFailed,
    })
}

/// The files of certificates: those of the settings, and the further ones of the directory.
fn all(directory: &Path, settings: &Settings) -> Vec<(PathBuf, Option<&'static str>)> {
    let set = settings.https.certificates().into_iter();
    let mut all: Vec<(PathBuf, Option<&'static str>)> =
        set.map(|(setting, path)| (path, Some(setting))).collect();
    let mut there: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "pem"))
        .filter(|path| !all.iter().any(|(set, _)| set == path))
        .collect();
    there.sort();
    all.extend(there.into_iter().map(|path| (path, None)));
    all
}

/// The certificates in a file.
fn read(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = regular_file::read(path, MAX_FILE).map_err(|error| error.to_string())?;
    match Certificate::all_of(&pem) {
        Ok(found) if found.is_empty() => Err("has no certificate in PEM format".to_owned()),
        found => found,
    }
}

fn line(place: &str, certificate: &Certificate, now: Timestamp) -> [Cell; 4] {
    let whose = match certificate.names.as_slice() {
        [] => certificate.subject.clone(),
        names => names.join(", "),
    };
    let state = match certificate.standing(now) {
        Standing::Valid => Cell::styled(GOOD, "valid"),
        Standing::EndsSoon(0) => Cell::styled(NOTICE, "ends within a day"),
        Standing::EndsSoon(days) => Cell::styled(NOTICE, format!("ends in {days} days")),
        Standing::Ended => Cell::styled(BAD, "has ended"),
        Standing::NotYet => Cell::styled(BAD, "not valid yet"),
    };
    [
        place.into(),
        whose.into(),
        day(certificate.until).into(),
        state,
    ]
}

/// Something about a certificate of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Whether nobody believes the certificate now.
    pub(crate) is_in_the_way: bool,
    /// What it is.
    pub(crate) said: String,
}

/// What is wrong with the certificates of the settings at this time; `None` if the settings name none.
pub(crate) fn flaws(settings: &Settings) -> Option<Vec<Flaw>> {
    let files = settings.https.certificates();
    if files.is_empty() {
        return None;
    }
    let now = Timestamp::now();
    let of = |(setting, path): (&'static str, PathBuf)| {
        let flaws: Vec<(bool, String)> = match read(&path) {
            Ok(found) => flaws_of(setting, &found, now),
            Err(error) => vec![(true, error)],
        };
        flaws
            .into_iter()
            .map(|(is_in_the_way, flaw)| Flaw {
                is_in_the_way,
                said: format!("{setting}: {}: {flaw}", path.display()),
            })
            .collect::<Vec<_>>()
    };
    Some(files.into_iter().flat_map(of).collect())
}

/// What is wrong with the certificates of one file, and whether nobody believes them because of that. Of authorities one is
/// enough that is valid: an old one may stay beside the new one. Of a host's the first counts, which is its own.
fn flaws_of(setting: &str, found: &[Certificate], now: Timestamp) -> Vec<(bool, String)> {
    let counts =
        |one: &Certificate| matches!(one.standing(now), Standing::Valid | Standing::EndsSoon(_));
    let is_usable = match AUTHORITIES.contains(&setting) {
        true => found.iter().any(counts),
        false => found.first().is_some_and(counts),
    };
    let troubles = found.iter().filter_map(|one| one.trouble(now));
    troubles.map(|trouble| (!is_usable, trouble)).collect()
}

pub(crate) fn trouble(error: StoreError) -> Trouble {
    match &error {
        StoreError::Name { .. } | StoreError::Person { .. } | StoreError::Taken => {
            Trouble::usage(error.to_string())
        }
        _ => Trouble::new(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(day: u64) -> Certificate {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Certificate {
            subject: format!("CN=until {day}"),
            names: Vec::new(),
            is_authority: false,
            is_for_hosts: true,
            from: Timestamp(0),
            until: Timestamp(day * DAY_MS),
        }
    }

    /// Whether something is in the way at day 100, and how much is told.
    fn found(setting: &str, ends: &[u64]) -> (bool, usize) {
        let certificates: Vec<_> = ends.iter().map(|day| until(*day)).collect();
        let flaws = flaws_of(setting, &certificates, until(100).until);
        (
            flaws.iter().any(|(is_in_the_way, _)| *is_in_the_way),
            flaws.len(),
        )
    }

    #[test]
    fn an_authority_that_has_ended_is_in_nobodys_way_beside_one_that_is_valid() {
        for (ends, expected) in [
            (&[500][..], (false, 0)),
            (&[50, 500], (false, 1)),
            (&[110], (false, 1)),
            (&[50, 60], (true, 2)),
        ] {
            assert_eq!(found("https_ca_file", ends), expected, "{ends:?}");
        }
        // The certificate of the host itself is the first; an old authority may follow it.
        assert_eq!(found("https_cert_file", &[500, 50]), (false, 1));
        assert_eq!(found("https_cert_file", &[50, 500]), (true, 1));
    }
}
