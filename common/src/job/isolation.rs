//! How far the commands of a build are kept apart from their machine: what a slave demands, what a job asks for, and what
//! comes of both.

use crate::text::byte_size::shown_byte_size;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// How far. Each level stops what the one before it stops, and more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum IsolationLevel {
    /// Commands are processes of the slave's user.
    #[default]
    None,
    /// The same in a control group: memory, processes and processors are limited, and all of it ends with the command.
    Limits,
    /// Also with a user, processes, a network, and a view of the file system of their own.
    User,
    /// In a container of the job's image.
    Container,
}

impl IsolationLevel {
    /// All, the loosest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Limits, Self::User, Self::Container];

    /// The word for it in settings and job files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IsolationLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|level| level.name() == text).ok_or(())
    }
}

/// A share of the processors: hundredths of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(NonZeroU32);

/// What is expected of a text that says how many processors.
pub const CPUS_FORM: &str = "a number of processors such as 2 or 0.5, with at most two decimals and between 0.01 and 100000";

impl Cpus {
    /// So many hundredths of a processor.
    #[must_use]
    pub fn hundredths(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.hundredths() / 100, self.hundredths() % 100);
        match rest {
            0 => write!(f, "{whole}"),
            rest => write!(f, "{whole}.{rest:02}"),
        }
    }
}

impl FromStr for Cpus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        if !is_number(whole) || !is_number(rest) || rest.len() > 2 || whole.len() > 6 {
            return Err(());
        }
        let rest: u32 = format!("{rest:0<2}").parse().map_err(drop)?;
        let whole: u32 = whole.parse().map_err(drop)?;
        let hundredths = whole * 100 + rest;
        let hundredths = NonZeroU32::new(hundredths).filter(|number| number.get() <= 10_000_000);
        hundredths.map(Self).ok_or(())
    }
}

/// What a job asks for: it can make what its slave demands tighter, and not looser.
///
/// Stored in journals as JSON: add fields only as optional ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationWish {
    /// The least level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<IsolationLevel>,
    /// The most memory of an atom with all that it starts, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most processes and threads of an atom at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<NonZeroU32>,
    /// The most processors that an atom may keep busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Whether its commands have the network, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
}

impl IsolationWish {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What holds for the commands of a build on a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// How far they are kept apart.
    pub level: IsolationLevel,
    /// The most memory of a command with all that it starts, in bytes; `None` for no limit.
    pub memory_bytes: Option<u64>,
    /// The most processes and threads of a command at a time.
    pub pids: Option<NonZeroU32>,
    /// The most processors that a command may keep busy.
    pub cpus: Option<Cpus>,
    /// Whether they have the machine's network.
    pub network: bool,
}

/// Nothing is kept apart.
impl Default for Isolation {
    fn default() -> Self {
        Self {
            level: IsolationLevel::None,
            memory_bytes: None,
            pids: None,
            cpus: None,
            network: true,
        }
    }
}

/// A build is to run in containers, and its job names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its commands are to run in containers (isolation = container), and its job names no \"image\""
)]
pub struct NoImage;

impl Isolation {
    /// What holds where a slave demands this and a job asks for that: of each the tighter one. Limits need at least the
    /// level `limits`, and to be without the network needs `user`.
    ///
    /// # Errors
    /// [`NoImage`].
    pub fn tightened(&self, wish: &IsolationWish, has_image: bool) -> Result<Self, NoImage> {
        let network = self.network && wish.network != Some(false);
        let is_limited = wish.memory_bytes.is_some() || wish.pids.is_some() || wish.cpus.is_some();
        let needed = match (network, is_limited) {
            (false, _) => IsolationLevel::User,
            (true, true) => IsolationLevel::Limits,
            (true, false) => IsolationLevel::None,
        };
        let level = self.level.max(wish.level.unwrap_or_default()).max(needed);
        if level == IsolationLevel::Container && !has_image {
            return Err(NoImage);
        }
        let tightened = Self {
            level: match has_image {
                true => IsolationLevel::Container,
                false => level,
            },
            memory_bytes: lesser(self.memory_bytes, wish.memory_bytes),
            pids: lesser(self.pids, wish.pids),
            cpus: lesser(self.cpus, wish.cpus),
            network,
        };
        Ok(match level {
            // Nothing is there that would enforce a limit, and nobody has asked for one.
            IsolationLevel::None => Self {
                level: tightened.level,
                ..Self::default()
            },
            IsolationLevel::Limits | IsolationLevel::User | IsolationLevel::Container => tightened,
        })
    }
}

fn lesser<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A limit that a command has hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitHit {
    /// The system has ended some of its processes, as they needed more memory than they may have.
    Memory {
        /// The limit.
        limit_bytes: u64,
    },
    /// It could not start another process or thread.
    Processes {
        /// The limit.
        limit: u32,
    },
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit_bytes } => {
                write!(f, "out of memory: {} limit", shown_byte_size(*limit_bytes))
            }
            Self::Processes { limit } => write!(f, "too many processes: limit {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IsolationLevel::{Container, Limits, None as Open, User};

    fn demanded(level: IsolationLevel) -> Isolation {
        Isolation {
            level,
            memory_bytes: Some(1 << 30),
            pids: NonZeroU32::new(2_000),
            ..Isolation::default()
        }
    }

    #[test]
    fn a_job_can_only_tighten() {
        for (slave, job, expected) in [
            (Open, None, Open),
            (Limits, Some(Open), Limits),
            (User, Some(Limits), User),
            (Open, Some(User), User),
            (Limits, Some(User), User),
        ] {
            let wish = IsolationWish {
                level: job,
                ..IsolationWish::default()
            };
            let held = demanded(slave).tightened(&wish, false).unwrap();
            assert_eq!(held.level, expected, "{slave} {job:?}");
        }
        let wish = IsolationWish {
            memory_bytes: Some(2 << 30),
            pids: NonZeroU32::new(10),
            network: Some(true),
            ..IsolationWish::default()
        };
        let held = demanded(Limits).tightened(&wish, false).unwrap();
        assert_eq!(held.memory_bytes, Some(1 << 30), "the slave's is tighter");
        assert_eq!(held.pids, NonZeroU32::new(10), "the job's is tighter");
        let closed = Isolation {
            network: false,
            ..demanded(User)
        };
        assert!(!closed.tightened(&wish, false).unwrap().network);
    }

    #[test]
    fn what_a_limit_needs_comes_with_it() {
        let limited = IsolationWish {
            memory_bytes: Some(1),
            ..IsolationWish::default()
        };
        let held = Isolation::default().tightened(&limited, false).unwrap();
        assert_eq!((held.level, held.memory_bytes), (Limits, Some(1)));
        let alone = IsolationWish {
            network: Some(false),
            ..IsolationWish::default()
        };
        let held = Isolation::default().tightened(&alone, false).unwrap();
        assert_eq!((held.level, held.network), (User, false));
        // At the level none nothing is limited, whatever the settings say beside it.
        let open = demanded(Open).tightened(&IsolationWish::default(), false);
        assert_eq!(open, Ok(Isolation::default()));
    }

    #[test]
    fn an_image_is_a_container() {
        let held = demanded(User).tightened(&IsolationWish::default(), true);
        let held = held.unwrap();
        assert_eq!((held.level, held.memory_bytes), (Container, Some(1 << 30)));
        let without = demanded(Container).tightened(&IsolationWish::default(), false);
        assert_eq!(without, Err(NoImage));
        // A container whose slave demands nothing is as it was without isolation.
        let held = demanded(Open).tightened(&IsolationWish::default(), true);
        assert_eq!(held.unwrap().memory_bytes, None);
    }

    #[test]
    fn processors_are_read_and_shown() {
        for (text, hundredths, shown) in
            [("2", 200, "2"), ("0.5", 50, "0.50"), ("1.25", 125, "1.25")]
        {
            let cpus: Cpus = text.parse().unwrap();
            assert_eq!(
                (cpus.hundredths(), cpus.to_string().as_str()),
                (hundredths, shown)
            );
        }
        for wrong in [
            "", "0", "0.00", "-1", "1.234", "two", "1e3", ".5", "1000000",
        ] {
            assert_eq!(wrong.parse::<Cpus>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn ends_are_told_in_plain_words() {
        let memory = LimitHit::Memory {
            limit_bytes: 512 << 20,
        };
        assert_eq!(memory.to_string(), "out of memory: 512 MiB limit");
        let processes = LimitHit::Processes { limit: 200 };
        assert_eq!(processes.to_string(), "too many processes: limit 200");
    }
}
