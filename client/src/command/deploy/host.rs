//! A machine as it is written on the command line. Pure.

use std::fmt;
use std::str::FromStr;

/// A machine to deploy to: `[USER@]HOST[:SSH-PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    user: Option<String>,
    name: String,
    ssh_port: Option<u16>,
}

/// A text is no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHost {
    /// ssh would take it for an option.
    #[error("neither a host nor a user begins with '-'")]
    Dash,
    /// The port is no number from 1 to 65535.
    #[error("the ssh port behind the ':' must be a number from 1 to 65535")]
    Port,
    /// It is empty, or has characters that no name has.
    #[error("expected [USER@]HOST[:SSH-PORT], such as ci@farm-1:2222 or [::1]:22")]
    Form,
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (name, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or(InvalidHost::Form)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(InvalidHost::Form)?),
                };
                (name, port)
            }
            // More than one colon is an IPv6 address without a port.
            None => match place.split_once(':') {
                Some((name, port)) if !port.contains(':') => (name, Some(port)),
                _ => (place, None),
            },
        };
        if [user.unwrap_or_default(), name]
            .iter()
            .any(|part| part.starts_with('-'))
        {
            return Err(InvalidHost::Dash);
        }
        let is_fine = |part: &str, more: &[char]| {
            let fits = |c: char| c.is_alphanumeric() || more.contains(&c);
            !part.is_empty() && part.chars().all(fits)
        };
        let is_user_fine = user.is_none_or(|user| is_fine(user, &['-', '_', '.', '+', '$']));
        if !is_user_fine || !is_fine(name, &['-', '_', '.', ':', '%']) {
            return Err(InvalidHost::Form);
        }
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0));
        Ok(Self {
            user: user.map(str::to_owned),
            name: name.to_owned(),
            ssh_port: port.map(|port| port.ok_or(InvalidHost::Port)).transpose()?,
        })
    }
}

impl Host {
    /// Whether it is this machine, which is reached without ssh.
    pub(crate) fn is_local(&self) -> bool {
        self.name == "localhost" && self.user.is_none() && self.ssh_port.is_none()
    }

    /// Its name in the network.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The arguments that tell ssh where to go, in front of the command.
    pub(crate) fn ssh_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(port) = self.ssh_port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.push("--".to_owned());
        arguments.push(match &self.user {
            Some(user) => format!("{user}@{}", self.name),
            None => self.name.clone(),
        });
        arguments
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.name.contains(':'), self.ssh_port) {
            (false, None) => f.write_str(&self.name),
            (false, Some(port)) => write!(f, "{}:{port}", self.name),
            (true, None) => write!(f, "[{}]", self.name),
            (true, Some(port)) => write!(f, "[{}]:{port}", self.name),
        }
    }
}

/// `host:port`, with an IPv6 address in brackets.
pub(crate) fn address(name: &str, port: u16) -> String {
    if name.contains(':') {
        format!("[{name}]:{port}")
    } else {
        format!("{name}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_as_for_ssh_with_a_port() {
        for (text, arguments) in [
            ("farm-1", &["--", "farm-1"][..]),
            ("ci@farm-1", &["--", "ci@farm-1"]),
            ("ci@10.0.0.7:2222", &["-p", "2222", "--", "ci@10.0.0.7"]),
            ("[::1]:22", &["-p", "22", "--", "::1"]),
            ("ci@[::1]", &["--", "ci@::1"]),
            ("fe80::1%eth0", &["--", "fe80::1%eth0"]),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.ssh_arguments(), arguments, "{text}");
            assert_eq!(host.to_string().parse(), Ok(host), "{text}");
        }
    }

    #[test]
    fn what_ssh_or_a_shell_would_misunderstand_is_refused() {
        for text in [
            "-oProxyCommand=id",
            "-x",
            "a@-x",
            "-u@host",
            "-x:22",
            "[-x]:22",
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost::Dash), "{text}");
        }
        for text in [
            "", "a@", "@h", "h i", "h;id", "h$x", "h/x", "[::1", "[::1]x", "a\nb",
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost::Form), "{text}");
        }
        for text in ["h:", "h:0", "h:x", "h:70000"] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost::Port), "{text}");
        }
    }

    #[test]
    fn only_the_plain_name_means_this_machine() {
        let is_local = |text: &str| text.parse::<Host>().unwrap().is_local();
        assert!(is_local("localhost"));
        assert!(!is_local("me@localhost") && !is_local("localhost:22") && !is_local("127.0.0.1"));
    }
}
