//! What went wrong with a build without changing its result, for its users: bounded in number.

use crate::builds::build::Build;

/// How many warnings a build keeps. Beyond that they say nothing new.
pub(crate) const MAX_WARNINGS: usize = 10;

/// The last one where there were more.
const MORE: &str = "further warnings are omitted";

impl Build {
    /// What becomes of one more warning; none where there are enough.
    pub(crate) fn next_warning(&self, warning: String) -> Option<String> {
        match self.warnings.len() {
            known if known < MAX_WARNINGS => Some(warning),
            MAX_WARNINGS => Some(MORE.to_owned()),
            _ => None,
        }
    }

    /// Warns of what an event did to a build that is not over.
    pub(crate) fn warn(&mut self, warning: String) {
        if self.is_over() || self.warnings.contains(&warning) {
            return;
        }
        let next = self.next_warning(warning);
        self.warnings.extend(next);
    }

    /// Warns that a slave is gone that had so many of its subjobs; nobody misses one that had none.
    pub(crate) fn warn_of_return(&mut self, why: &str, subjobs: usize) {
        match subjobs {
            0 => {}
            1 => self.warn(format!("{why}; 1 atom that it had is run again")),
            more => self.warn(format!("{why}; {more} atoms that it had are run again")),
        }
    }
}
