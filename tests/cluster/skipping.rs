//! Tests that this machine does not allow.

use std::fs::File;
use std::io::Write as _;
use std::thread;

/// What a machine may lack. The names are those of `./check --may-skip`.
#[derive(Clone, Copy)]
pub(crate) enum Lacks {
    /// A network of one's own: only root makes one, with util-linux and iproute2.
    NetworkNamespaces,
    /// A mount that only one process sees: only root makes one.
    MountNamespaces,
    /// Control groups that this process can make, or a user that it can become.
    Isolation,
    /// The module of the kernel that makes a network slow and lossy.
    Netem,
    /// A container runtime that runs a container.
    Containers,
    /// Slurm and munge, run as root.
    Slurm,
    /// The programs of a language.
    Runtime(&'static str),
}

impl Lacks {
    fn name(self) -> &'static str {
        match self {
            Self::NetworkNamespaces => "network-namespaces",
            Self::MountNamespaces => "mount-namespaces",
            Self::Isolation => "isolation",
            Self::Netem => "netem",
            Self::Containers => "containers",
            Self::Slurm => "slurm",
            Self::Runtime(language) => language,
        }
    }
}

/// Says that the current test is left out, or a part of it, and why. What a test prints is only seen when
/// it fails, so `./check` names a file whose lines it shows at its end.
pub(crate) fn skip(lacks: Lacks) {
    let current = thread::current();
    let line = format!("{}: {}\n", lacks.name(), current.name().unwrap_or("a test"));
    eprint!("SKIPPED: this machine lacks {line}");
    if let Some(path) = std::env::var_os("CLUSTERRUNNER_SKIPPED_TESTS") {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
