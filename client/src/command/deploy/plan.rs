//! What is to run where. Pure.

use super::host::{Host, address};
use clusterrunner_common::api::SlaveView;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::text::slave_address::host_and_port;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What daemons say beside their logs goes into a file that nobody bounds.
const LOG_FILE_ONLY: &str = "--log-file-only";

/// A farm as it is to be.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Each machine once: the master's first, then the slaves' in the order they were named.
    pub(crate) machines: Vec<Machine>,
    /// Where the master is called, by slaves and by this command.
    pub(crate) master: String,
    pub(crate) master_port: u16,
    pub(crate) slave_port: u16,
    pub(crate) num_executors: Option<u32>,
}

/// What runs on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    /// By which the other machines find it.
    pub(crate) name: String,
    pub(crate) is_master: bool,
    pub(crate) is_slave: bool,
}

impl Plan {
    /// The farm of this master and these slaves. `own_name` is what other machines call this one.
    pub(crate) fn new(
        master: &Host,
        slaves: &[Host],
        ports: (u16, u16),
        num_executors: Option<u32>,
        own_name: &str,
    ) -> Self {
        let (master_port, slave_port) = ports;
        let is_all_local = master.is_local() && slaves.iter().all(Host::is_local);
        let mut machines: Vec<Machine> = Vec::new();
        for host in std::iter::once(master).chain(slaves) {
            if machines.iter().any(|machine| machine.host == *host) {
                continue;
            }
            let name = if host.is_local() && !is_all_local {
                own_name
            } else {
                host.name()
            };
            machines.push(Machine {
                host: host.clone(),
                name: name.to_owned(),
                is_master: host == master,
                is_slave: slaves.contains(host),
            });
        }
        Self {
            master: address(&machines[0].name, master_port),
            machines,
            master_port,
            slave_port,
            num_executors,
        }
    }

    /// The arguments of the master.
    pub(crate) fn master_arguments(&self) -> Vec<String> {
        let port = self.master_port.to_string();
        ["master", "--port", &port, LOG_FILE_ONLY]
            .map(str::to_owned)
            .to_vec()
    }

    /// The arguments of each slave.
    pub(crate) fn slave_arguments(&self) -> Vec<String> {
        let port = self.slave_port.to_string();
        let master = self.master.as_str();
        let mut arguments = [
            "slave",
            "--port",
            &port,
            "--master-url",
            master,
            LOG_FILE_ONLY,
            // Who deploys has chosen the master, which may be another than before.
            "--forget-master",
        ]
        .map(str::to_owned)
        .to_vec();
        if let Some(number) = self.num_executors {
            arguments.extend(["--num-executors".to_owned(), number.to_string()]);
        }
        arguments
    }

    /// Whether the slave of a machine has registered, in another life than those `before`.
    pub(crate) fn has_registered(
        &self,
        machine: &Machine,
        slaves: &[SlaveView],
        before: &BTreeSet<Option<SessionId>>,
    ) -> bool {
        slaves.iter().any(|slave| {
            slave.is_alive
                && !before.contains(&slave.session_id)
                && is_at(&slave.url, &machine.name, self.slave_port)
        })
    }
}

/// Whether an address is this port of this machine. A slave that listens on this machine only says
/// so with an address, whatever its machine is called.
fn is_at(url: &str, name: &str, port: u16) -> bool {
    let Some((host, url_port)) = host_and_port(url).rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_same = host.eq_ignore_ascii_case(name) || (name == "localhost" && is_loopback(host));
    is_same && url_port == port.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn plan(master: &str, slaves: &[&str]) -> Plan {
        let master = master.parse().unwrap();
        Plan::new(&master, &hosts(slaves), (43000, 43001), Some(4), "me")
    }

    #[test]
    fn each_machine_is_deployed_to_once() {
        let plan = plan("a", &["b", "a", "b", "u@c:22"]);
        let roles: Vec<_> = plan
            .machines
            .iter()
            .map(|m| (m.name.as_str(), m.is_master, m.is_slave))
            .collect();
        let expected = [("a", true, true), ("b", false, true), ("c", false, true)];
        assert_eq!(roles, expected);
        assert_eq!(
            plan.slave_arguments().join(" "),
            "slave --port 43001 --master-url a:43000 --log-file-only --forget-master --num-executors 4"
        );
        assert_eq!(
            plan.master_arguments().join(" "),
            "master --port 43000 --log-file-only"
        );
    }

    #[test]
    fn this_machine_has_its_name_where_others_must_find_it() {
        assert_eq!(plan("localhost", &["localhost"]).master, "localhost:43000");
        assert_eq!(plan("localhost", &["b"]).master, "me:43000");
        assert_eq!(plan("b", &["localhost"]).machines[1].name, "me");
        assert_eq!(plan("[::1]:22", &["b"]).master, "[::1]:43000");
    }

    #[test]
    fn a_slave_is_known_by_its_address() {
        for (url, name, expected) in [
            ("a:1", "a", true),
            ("A.example:1", "a.EXAMPLE", true),
            ("a:2", "a", false),
            ("ab:1", "a", false),
            ("127.0.0.1:1", "localhost", true),
            ("[::1]:1", "::1", true),
            ("127.0.0.2:1", "127.0.0.3", false),
            ("10.0.0.1:1", "localhost", false),
        ] {
            assert_eq!(is_at(url, name, 1), expected, "{url} {name}");
        }
    }
}
