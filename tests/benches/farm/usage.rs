//! What a process has used up, from `/proc`.

use std::fmt;
use std::fs;

/// The unit of times in `/proc`: `USER_HZ`, which is 100 on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time without that of children, and memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    own_seconds: f64,
    peak_mib: f64,
    now_mib: f64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{process}/{name}")).expect("a living process")
        };
        let stat = read("stat");
        // Fields after the name, which is in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
        let status = read("status");
        let mib = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            let value = value.and_then(|text| text.trim().strip_suffix(" kB"));
            let kib = value.and_then(|text| text.parse::<f64>().ok());
            kib.expect("a size") / 1024.0
        };
        Self {
            own_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            peak_mib: mib("VmHWM:"),
            now_mib: mib("VmRSS:"),
        }
    }

    /// Processor time in seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.own_seconds
    }

    /// What was used up since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            own_seconds: self.own_seconds - earlier.own_seconds,
            ..self
        }
    }

    /// Microseconds of processor time for each of so many.
    pub(crate) fn micros_each(self, number: u32) -> f64 {
        self.own_seconds * 1e6 / f64::from(number)
    }

    /// MiB in memory now.
    pub(crate) fn memory(self) -> f64 {
        self.now_mib
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} s of processor time, {:.0} MiB at most",
            self.own_seconds, self.peak_mib
        )
    }
}
