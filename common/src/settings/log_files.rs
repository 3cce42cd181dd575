//! Files that several slaves of one machine would otherwise share.

use super::GeneralSettings;
use crate::logs::event_log::EventLogTarget;
use std::path::Path;

impl GeneralSettings {
    /// The same for the slave that listens on `port`: slaves of one machine must not write into one
    /// file. Only the slave on the usual port has the names as they are set.
    #[must_use]
    pub fn with_files_of_slave(self, port: u16) -> Self {
        const USUAL_PORT: u16 = 43001;
        if port == USUAL_PORT {
            return self;
        }
        let own = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let ending = path.extension().map(|ending| ending.to_string_lossy());
            let ending = ending.map_or_else(String::new, |ending| format!(".{ending}"));
            path.with_file_name(format!("{stem}_{port}{ending}"))
        };
        let event_log = match &self.event_log {
            EventLogTarget::Stdout => EventLogTarget::Stdout,
            EventLogTarget::File(path) => EventLogTarget::File(own(path)),
        };
        Self {
            log_file: own(&self.log_file),
            event_log,
            ..self
        }
    }
}
