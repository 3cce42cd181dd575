//! What is counted of notifications, by receiver. Receivers are those of the settings, so labels do not grow.

use super::text::{family, line};
use clusterrunner_common::lock::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What came of a notice, or of an attempt to send one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoticeOutcome {
    /// The receiver has it.
    Sent,
    /// An attempt failed; there will be another one.
    Failed,
    /// There was nothing to send, such as the status of a commit that is not known.
    Skipped,
    /// It became too old, or too many waited.
    GivenUp,
    /// It was given up since the receiver refused it again and again.
    Refused,
}

impl NoticeOutcome {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Sent,
        Self::Failed,
        Self::Skipped,
        Self::GivenUp,
        Self::Refused,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::GivenUp => "given_up",
            Self::Refused => "refused",
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<BTreeMap<String, OfReceiver>>);

#[derive(Debug, Default)]
struct OfReceiver {
    outcomes: [u64; NoticeOutcome::ALL.len()],
    waiting: usize,
}

impl Notices {
    pub(super) fn count(&self, receiver: &str, outcome: NoticeOutcome, number: u64) {
        self.of(receiver, |counts| {
            counts.outcomes[outcome as usize] += number;
        });
    }

    pub(super) fn wait(&self, receiver: &str, number: usize) {
        self.of(receiver, |counts| counts.waiting = number);
    }

    fn of(&self, receiver: &str, change: impl FnOnce(&mut OfReceiver)) {
        let mut all = lock(&self.0);
        match all.get_mut(receiver) {
            Some(counts) => change(counts),
            None => change(all.entry(receiver.to_owned()).or_default()),
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        let all = lock(&self.0);
        let name = "notifications_total";
        let help = "Notifications sent, skipped or given up, and attempts that failed";
        family(text, name, "counter", help);
        for (receiver, counts) in &*all {
            for outcome in NoticeOutcome::ALL {
                let number = counts.outcomes[outcome as usize];
                let outcome = outcome.label();
                line(
                    text,
                    format_args!(
                        "{name}{{receiver=\"{receiver}\",outcome=\"{outcome}\"}} {number}"
                    ),
                );
            }
        }
        let name = "notifications_waiting";
        family(text, name, "gauge", "Notifications that wait to be sent");
        for (receiver, counts) in &*all {
            let number = counts.waiting;
            line(
                text,
                format_args!("{name}{{receiver=\"{receiver}\"}} {number}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_receiver_is_counted_by_itself() {
        let notices = Notices::default();
        notices.count("a", NoticeOutcome::Sent, 1);
        notices.count("a", NoticeOutcome::GivenUp, 7);
        notices.wait("b", 3);
        let mut text = String::new();
        notices.write(&mut text);
        for expected in [
            "notifications_total{receiver=\"a\",outcome=\"sent\"} 1\n",
            "notifications_total{receiver=\"a\",outcome=\"given_up\"} 7\n",
            "notifications_total{receiver=\"b\",outcome=\"failed\"} 0\n",
            "notifications_waiting{receiver=\"a\"} 0\n",
            "notifications_waiting{receiver=\"b\"} 3\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
