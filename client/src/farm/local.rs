//! The farm of one machine that `clusterrunner build` starts by itself: a master and a slave, reachable
//! from this machine only, that outlive the command.

use super::connection::{client_of, tell_whom};
use super::daemon::{Daemon, master_pid_file};
use super::own::own_master;
use super::probe::{Probe, probe, takes_us};
use super::starter::Starter;
use crate::options::{CommonOptions, MasterAddress};
use crate::output::again;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The master that the settings name.
struct Named {
    /// As the settings say it.
    address: String,
    /// The same master as this machine reaches it, when it is on this machine.
    local: String,
    is_here: bool,
    /// The master of this base directory, if it runs: it may listen elsewhere.
    own: Option<String>,
}

impl Named {
    fn by(settings: &Settings) -> Self {
        let is_here = is_this_machine(&settings.hostname);
        let own = own_master(&settings.base_directory).filter(|_| is_here);
        Self {
            address: format!("{}:{}", settings.hostname, settings.port),
            local: format!("{}:{}", Ipv4Addr::LOCALHOST, settings.port),
            is_here,
            own: own.map(|address| address.to_string()),
        }
    }

    /// Where it may answer, likeliest first; never empty.
    fn addresses(&self, settings: &Settings) -> Vec<&str> {
        if let Some(own) = &self.own {
            return vec![own];
        }
        if !self.is_here {
            return vec![&self.address];
        }
        // A master on this machine answers locally unless it was bound to one other address; looking
        // that up can take seconds where the machine's own name is unknown to its resolver.
        if Daemon::find(&master_pid_file(&settings.base_directory)).is_some() {
            vec![&self.local, &self.address]
        } else {
            vec![&self.local]
        }
    }
}

/// The address of the master that the settings name.
pub(crate) async fn find(settings: &Settings) -> Result<String, Trouble> {
    let named = Named::by(settings);
    let addresses = named.addresses(settings);
    if addresses.len() > 1 {
        for address in &addresses {
            if let Probe::Master(_) = probe(address, settings).await? {
                return Ok((*address).to_owned());
            }
        }
    }
    Ok(addresses[0].to_owned())
}

/// How long a call may take that is answered when something on the farm has happened.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// A client of the master that the command line or the settings name.
pub(crate) async fn connect(
    address: &MasterAddress,
    common: &CommonOptions,
) -> Result<Client, Trouble> {
    let settings = Settings::load(common)?;
    connect_by(settings, address, common).await
}

/// The same for calls that are answered when something on the farm has happened.
pub(crate) async fn connect_for_long(
    address: &MasterAddress,
    common: &CommonOptions,
) -> Result<Client, Trouble> {
    let mut settings = Settings::load(common)?;
    settings.http_timeout = LONG;
    connect_by(settings, address, common).await
}

async fn connect_by(
    settings: Settings,
    address: &MasterAddress,
    common: &CommonOptions,
) -> Result<Client, Trouble> {
    again::remember(common.config_file.as_deref(), address.master_url.as_deref());
    let settings = settings.with_token(address.token.as_ref())?;
    let master = match address.with_port(settings.port) {
        Some(master) => master,
        None => find(&settings).await?,
    };
    tell_whom(&master, &settings);
    client_of(&master, address.patience(), &settings)
}

/// Finds the master that the settings name; on this machine, starts one with a slave if there is none that takes this
/// user's builds. `port` is where the local one listens, if the user says so. Returns its address.
pub(crate) async fn find_or_start(
    settings: &Settings,
    common: &CommonOptions,
    port: Option<u16>,
) -> Result<String, Trouble> {
    let named = Named::by(settings);
    let starter = Starter {
        settings,
        common,
        port,
    };
    if port.is_some() && !named.is_here {
        let trouble = Trouble::usage(format!(
            "--port is for a master on this machine, and the settings name {}",
            named.address
        ));
        return Err(trouble.hint("name that master's port with --master-url HOST:PORT"));
    }
    if let Some(own) = &named.own {
        return match probe(own, settings).await? {
            Probe::Master(slaves) if slaves.iter().any(|slave| slave.is_alive) => {
                starter.check_port(own)?;
                Ok(own.clone())
            }
            // Perhaps its slave has died, or it is ending.
            Probe::Master(_) | Probe::Stranger | Probe::Nobody => starter.start(None).await,
        };
    }
    let only_here = named.is_here
        && is_this_machine(&settings.master_hostname)
        && settings.slaves.iter().all(|slave| is_this_machine(slave));
    let mut why = None;
    for address in named.addresses(settings) {
        match probe(address, settings).await? {
            Probe::Master(_) if only_here && !takes_us(address, settings).await? => {
                why = Some(format!(
                    "the master at {address} takes another secret: it is somebody else's"
                ));
            }
            Probe::Master(_) => return Ok(address.to_owned()),
            Probe::Stranger if only_here => {
                why = Some(format!(
                    "the program at {address} is no ClusterRunner master"
                ));
            }
            Probe::Stranger => {
                let trouble = Trouble::new(format!(
                    "the program listening at {address} is not a ClusterRunner master"
                ));
                return Err(trouble.hint(
                    "set another `port` below [master] in clusterrunner.conf, or name a master with --master-url HOST:PORT",
                ));
            }
            Probe::Nobody => {}
        }
    }
    if !only_here {
        let trouble = Trouble::new(format!("no master answers at {}", named.address));
        return Err(trouble.hint(
            "start it there with `clusterrunner master`, or name another with --master-url HOST:PORT; \
             a local one is started by itself only where the settings `hostname`, `master_hostname` and \
             `slaves` all mean this machine",
        ));
    }
    starter.start(why).await
}

/// Whether a host name means this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let node = rustix::system::uname();
    host == "localhost"
        || unbracketed(host)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
        || node
            .nodename()
            .to_str()
            .is_ok_and(|name| name.eq_ignore_ascii_case(host))
}

/// An IPv6 address without the brackets that it has in front of a port.
pub(crate) fn unbracketed(host: &str) -> &str {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.unwrap_or(host)
}
