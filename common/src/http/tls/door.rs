//! How a daemon takes connections over TLS: with the certificate that its files hold now.

use super::certificate::Certificate;
use super::fresh::{Fresh, Look, Stamp, stamps};
use super::hangup::HangUp;
use super::{CLIENT_CA_KEY, HttpsSettings, IDENTITY_KEYS, TlsError, read};
use crate::clock::Timestamp;
use crate::lock::lock;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Pause between two looks whether the files have changed, where no connection comes.
const LOOK: Duration = Duration::from_secs(2);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Takes connections over TLS. Clones are the same door.
#[derive(Clone)]
pub struct TlsDoor(Arc<Inside>);

struct Inside {
    config: Fresh<ServerConfig>,
    /// The files of certificates whose end is told in time, with the settings that name them.
    watched: Vec<(&'static str, PathBuf)>,
    reminder: Mutex<Reminder>,
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsDoor")
    }
}

impl TlsDoor {
    /// What a daemon takes connections with; `None` where it speaks plain HTTP.
    pub(super) fn open(https: &HttpsSettings) -> Result<Option<Self>, TlsError> {
        let identity = match &https.identity {
            Some(identity) => identity.clone(),
            None if https.client_authorities.is_some() => {
                return Err(TlsError::NoIdentityForClients);
            }
            None if https.is_on() => return Err(TlsError::NoIdentity),
            None => return Ok(None),
        };
        let mut files = identity.files();
        files.extend(https.client_authorities.clone());
        let clients = https.client_authorities.clone();
        let make = move || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let key = identity.certified_key(IDENTITY_KEYS, &provider)?;
            let unusable = |source| identity.unusable(IDENTITY_KEYS, source);
            let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(unusable)?;
            let config = match &clients {
                None => config.with_no_client_auth(),
                Some(path) => {
                    let roots = Arc::new(super::roots(CLIENT_CA_KEY, path)?);
                    let verifier =
                        WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                    let verifier = verifier.map_err(|error| TlsError::Content {
                        setting: CLIENT_CA_KEY,
                        path: path.clone(),
                        wanted: "certificate",
                        reason: error.to_string(),
                    })?;
                    config.with_client_cert_verifier(verifier)
                }
            };
            // Another configuration has no sessions of another one: who was let in before shows a certificate again.
            let mut config =
                config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
            if clients.is_some() {
                // Nor is a caller's certificate good beyond its end because it was good at the first connection.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(config)
        };
        let config = Fresh::open(files, make)?;
        Ok(Some(Self(Arc::new(Inside {
            config,
            watched: https.certificates(),
            reminder: Mutex::default(),
        }))))
    }

    /// What takes the next connection, by the files as they are now.
    pub(crate) async fn acceptor(&self) -> TlsAcceptor {
        self.look(false).await;
        TlsAcceptor::from(self.0.config.value())
    }

    /// Takes new connections with new files as soon as these change, and at SIGHUP; what is wrong with them is logged, and
    /// those of before go on counting. Also logs, once a day, what certificates have ended or are about to. Ends with
    /// `stop`; cancels it when the terminal from which the daemon was started is gone, which SIGHUP says too.
    /// Without a door there is nothing to do.
    pub async fn keep_fresh(door: Option<&Self>, stop: &CancellationToken) {
        if let Some(door) = door {
            door.keep(stop).await;
        }
    }

    async fn keep(&self, stop: &CancellationToken) {
        let mut hangup = HangUp::listen();
        loop {
            self.remind().await;
            let is_told = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => false,
                () = hangup.heard() => true,
            };
            if is_told && hangup.is_terminal_gone() {
                tracing::info!("the terminal is gone: told to stop");
                stop.cancel();
                return;
            }
            self.look(is_told).await;
        }
    }

    /// Looks at the files, and tells the log what came of it.
    pub(super) async fn look(&self, anyway: bool) {
        let inside = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || inside.config.look(anyway)).await;
        match looked {
            // It does not panic, and is not cancelled but with the process.
            Ok(Look::Same) | Err(_) => {}
            Ok(Look::Renewed) => {
                tracing::info!(
                    "new connections are taken with the certificate as its files are now"
                );
            }
            Ok(Look::Kept(error)) => tracing::error!(
                %error,
                "the files of the certificate can not be used: connections are taken with those of before"
            ),
        }
    }

    /// Tells the log of certificates that have ended or are about to, if it was not told today of these very files.
    async fn remind(&self) {
        let inside = Arc::clone(&self.0);
        let told = tokio::task::spawn_blocking(move || inside.troubles(Timestamp::now()));
        for trouble in told.await.unwrap_or_default() {
            tracing::warn!(
                "{trouble}. `clusterrunner tls init` renews what it made; no restart is needed"
            );
        }
    }
}

impl Inside {
    fn troubles(&self, now: Timestamp) -> Vec<String> {
        let files: Vec<PathBuf> = self.watched.iter().map(|(_, path)| path.clone()).collect();
        if !lock(&self.reminder).is_due(now, stamps(&files)) {
            return Vec::new();
        }
        let of = |(setting, path): &(&'static str, PathBuf)| {
            let troubles = troubles_of(setting, path, now);
            let place = format!("{setting}: {}", path.display());
            troubles.map_or_else(
                |unread| Some(format!("{place} can not be read: {unread}")),
                |troubles| {
                    let all = troubles.join("; ");
                    (!all.is_empty()).then(|| format!("{place}: {all}"))
                },
            )
        };
        self.watched.iter().filter_map(of).collect()
    }
}

/// What is to be told of the certificates in a file.
fn troubles_of(
    setting: &'static str,
    path: &std::path::Path,
    now: Timestamp,
) -> Result<Vec<String>, String> {
    let (pem, _) = read(setting, path).map_err(|error| error.to_string())?;
    let found = Certificate::all_of(&pem)?;
    Ok(found.iter().filter_map(|one| one.trouble(now)).collect())
}

/// Says once a day that it is time, and whenever files have changed.
#[derive(Debug, Default)]
struct Reminder {
    /// The day of the last time, counted from 1970.
    day: Option<u64>,
    /// The files then.
    files: Vec<Option<Stamp>>,
}

impl Reminder {
    fn is_due(&mut self, now: Timestamp, files: Vec<Option<Stamp>>) -> bool {
        let day = Some(now.0 / DAY_MS);
        let is_due = self.day != day || self.files != files;
        (self.day, self.files) = (day, files);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_reminder_whatever_the_clock_does() {
        let mut reminder = Reminder::default();
        let mut due = |day: u64, ms: u64| reminder.is_due(Timestamp(day * DAY_MS + ms), Vec::new());
        assert!(due(7, 5) && !due(7, 6) && !due(7, DAY_MS - 1));
        assert!(due(8, 0) && due(7, 0) && !due(7, 1));
    }

    #[test]
    fn new_files_and_files_that_can_not_be_read_are_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let mut reminder = Reminder::default();
        let mut due = || reminder.is_due(Timestamp(DAY_MS), stamps(std::slice::from_ref(&file)));
        assert!(due() && !due());
        std::fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        assert!(due() && !due());
        let told = |path: &std::path::Path| troubles_of("https_ca_file", path, Timestamp(0));
        assert!(told(&file).is_err() && told(directory.path()).is_err());
    }
}
