//! Why nothing runs of a build although subjobs of it wait.

use crate::Cluster;
use crate::builds::build::Build;

/// How many slaves have all that a build asks for and take no work, and why they take none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptOut {
    /// Users drained them.
    pub drained: usize,
    /// They were taken for sick.
    pub quarantined: usize,
    /// They were told to end.
    pub ending: usize,
    /// They were lost, and may come back.
    pub lost: usize,
}

impl Cluster {
    /// The slaves that keep a build waiting of which nothing runs; nothing where one takes work that suits the build, or no
    /// subjob waits.
    #[must_use]
    pub fn kept_out(&self, build: &Build) -> Option<KeptOut> {
        if build.num_unstarted() == 0 || build.num_running() > 0 {
            return None;
        }
        let mut found = KeptOut::default();
        for slave in self.slaves().filter(|slave| build.suits(slave)) {
            if slave.takes_work() {
                return None;
            }
            let why = match (slave.is_alive(), slave.was_shut_down()) {
                (false, _) => &mut found.lost,
                (true, true) => &mut found.ending,
                (true, false) if slave.quarantine.is_some() => &mut found.quarantined,
                (true, false) => &mut found.drained,
            };
            *why += 1;
        }
        Some(found)
    }
}
