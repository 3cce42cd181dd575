//! What came of a load, next to what it cost the server.

use crate::http_load::{Figures, Load, drive};
use crate::usage::Usage;
use std::fmt;
use std::sync::Arc;

/// Figures of a load, and the processor time that the server took for each request. On a machine that
/// does other things too, that says more than the rate.
pub(crate) struct Cost {
    figures: Figures,
    micros: f64,
}

impl Cost {
    /// Loads a server, whose process is given, as [`drive`] does.
    pub(crate) async fn of(
        process: u32,
        address: &str,
        load: Load,
        status: &'static str,
        request: impl Fn() -> Arc<[u8]> + Clone + 'static,
    ) -> Self {
        let before = Usage::of(process);
        let figures = drive(address, load, status, request).await;
        let used = Usage::of(process).since(before).seconds();
        let requests = figures.per_second * load.lasts.as_secs_f64();
        let micros = used * 1e6 / requests;
        Self { figures, micros }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.figures.per_second
    }

    /// With what part the rate is of the bare server's, where the server does other things meanwhile.
    pub(crate) fn rate_beside(&self, bare: &Self) -> String {
        let rate = self.per_second() / bare.per_second();
        format!("{}: {rate:.2} of the bare route's rate", self.figures)
    }

    /// With what part that is of the bare server's.
    pub(crate) fn beside(&self, bare: &Self) -> String {
        let rate = self.per_second() / bare.per_second();
        let time = self.micros / bare.micros;
        format!("{self}: {rate:.2} of the bare route's rate, {time:.2} of its processor time")
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:.1} us each", self.figures, self.micros)
    }
}
