//! How a daemon takes connections over TLS: with the certificate that its files hold now.

use super::certificate::Certificate;
use super::fresh::{Fresh, Look};
use super::{CLIENT_CA_KEY, HttpsSettings, IDENTITY_KEYS, TlsError, read};
use crate::clock::Timestamp;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Pause between two looks whether the files have changed.
const LOOK: Duration = Duration::from_secs(2);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Takes connections over TLS. Clones are the same door.
#[derive(Clone)]
pub struct TlsDoor(Arc<Inside>);

struct Inside {
    config: Fresh<ServerConfig>,
    /// The files of certificates whose end is told in time, with the settings that name them.
    watched: Vec<(&'static str, PathBuf)>,
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
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(config)
        };
        let config = Fresh::open(files, make)?;
        let watched = https.certificates();
        Ok(Some(Self(Arc::new(Inside { config, watched }))))
    }

    /// What takes the next connection.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
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
        let mut reminder = Reminder::default();
        loop {
            if reminder.is_due(Timestamp::now()) {
                self.remind().await;
            }
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
            match self.look(is_told).await {
                Look::Same => {}
                Look::Renewed => {
                    tracing::info!(
                        "new connections are taken with the certificate as its files are now"
                    );
                    reminder = Reminder::default();
                }
                Look::Kept(error) => tracing::error!(
                    %error,
                    "the files of the certificate can not be used: connections are taken with those of before"
                ),
            }
        }
    }

    pub(super) async fn look(&self, anyway: bool) -> Look {
        let inside = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || inside.config.look(anyway)).await;
        // It does not panic, and is not cancelled but with the process.
        looked.unwrap_or(Look::Same)
    }

    async fn remind(&self) {
        let inside = Arc::clone(&self.0);
        let told = tokio::task::spawn_blocking(move || {
            let now = Timestamp::now();
            let of = |(setting, path): &(&'static str, PathBuf)| {
                let (pem, _) = read(setting, path).ok()?;
                let found = Certificate::all_of(&pem).unwrap_or_default();
                let troubles: Vec<String> =
                    found.iter().filter_map(|one| one.trouble(now)).collect();
                (!troubles.is_empty())
                    .then(|| format!("{setting}: {}: {}", path.display(), troubles.join("; ")))
            };
            inside
                .watched
                .iter()
                .filter_map(of)
                .collect::<Vec<String>>()
        });
        for trouble in told.await.unwrap_or_default() {
            tracing::warn!(
                "{trouble}. `clusterrunner tls init` renews what it made; no restart is needed"
            );
        }
    }
}

/// Says once a day that it is time.
#[derive(Debug, Default)]
struct Reminder {
    /// The day of the last time, counted from 1970.
    day: Option<u64>,
}

impl Reminder {
    fn is_due(&mut self, now: Timestamp) -> bool {
        let day = Some(now.0 / DAY_MS);
        let is_due = self.day != day;
        self.day = day;
        is_due
    }
}

/// The signal by which daemons are told to read files again. It is also that of a terminal that goes away.
struct HangUp {
    /// `None` where it can not be received.
    signal: Option<Signal>,
    had_terminal: bool,
}

impl HangUp {
    fn listen() -> Self {
        // Who ignores it (`nohup`) is to outlive the terminal.
        let had_terminal = has_terminal() && !ignores_hangup();
        let signal = signal(SignalKind::hangup());
        if let Err(error) = &signal {
            tracing::warn!(%error, "SIGHUP can not be received; changed certificates are noticed nevertheless");
        }
        Self {
            signal: signal.ok(),
            had_terminal,
        }
    }

    async fn heard(&mut self) {
        let heard = match &mut self.signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn is_terminal_gone(&self) -> bool {
        self.had_terminal && !has_terminal()
    }
}

/// Whether this process has a terminal: the system opens this file for no other.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether this process was started so that SIGHUP does nothing: the first bit of what the system says that it ignores.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_reminder_whatever_the_clock_does() {
        let mut reminder = Reminder::default();
        let mut due = |day: u64, ms: u64| reminder.is_due(Timestamp(day * DAY_MS + ms));
        assert!(due(7, 5) && !due(7, 6) && !due(7, DAY_MS - 1));
        assert!(due(8, 0) && due(7, 0) && !due(7, 1));
    }
}
