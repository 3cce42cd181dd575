//! What a push does to the refs of a repository, as far as it is told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many refs are named.
const NAMED: usize = 5;

/// How long a name that is told may be, in bytes.
const LONGEST_NAME: usize = 100;

/// The refs that a push sets and removes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedRefs {
    /// Those that lead to something else than before, and those that are new.
    pub set: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// How many there are besides.
    #[serde(default)]
    pub more: u64,
}

impl PushedRefs {
    /// Those with these names; true: it is removed.
    #[must_use]
    pub fn of(refs: impl IntoIterator<Item = (String, bool)>) -> Self {
        let mut pushed = Self::default();
        for (mut name, is_removed) in refs {
            if pushed.set.len() + pushed.removed.len() == NAMED {
                pushed.more += 1;
                continue;
            }
            if name.len() > LONGEST_NAME {
                name.truncate(name.floor_char_boundary(LONGEST_NAME));
                name.push('…');
            }
            match is_removed {
                true => pushed.removed.push(name),
                false => pushed.set.push(name),
            }
        }
        pushed
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

impl fmt::Display for PushedRefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.set.is_empty() {
            parts.push(format!("{} pushed", self.set.join(", ")));
        }
        if !self.removed.is_empty() {
            parts.push(format!("{} removed", self.removed.join(", ")));
        }
        if self.more > 0 {
            parts.push(format!("and {} more", self.more));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_told_in_one_line_however_much_it_moves() {
        let tag = |number: u32, is_removed| (format!("refs/tags/v{number}"), is_removed);
        let of = |refs: &[(u32, bool)]| {
            PushedRefs::of(refs.iter().map(|(number, gone)| tag(*number, *gone))).to_string()
        };
        assert_eq!(of(&[(1, false)]), "refs/tags/v1 pushed");
        assert_eq!(
            of(&[(1, false), (2, true), (3, false)]),
            "refs/tags/v1, refs/tags/v3 pushed; refs/tags/v2 removed"
        );
        let many: Vec<(u32, bool)> = (0..1000).map(|number| (number, true)).collect();
        assert!(of(&many).ends_with("refs/tags/v4 removed; and 995 more"));
        let long = PushedRefs::of([("ä".repeat(500), false)]);
        assert!(long.to_string().len() < 120, "{long}");
        assert!(PushedRefs::of([]).is_empty());
    }
}
