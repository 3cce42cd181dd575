//! The sections of a job that say how far its commands are to be kept apart from their machine: `isolation`, `memory`, `pids`,
//! `cpus` and `network`.

use super::check::{CPUS, Check, IMAGE, ISOLATION, MEMORY, NETWORK, PIDS};
use super::document::{Node, Value, python_type};
use crate::job::isolation::{CPUS_FORM, Cpus, IsolationLevel, IsolationWish};
use crate::text::byte_size::{BYTE_SIZE_FORM, byte_size};
use std::collections::BTreeMap;

/// With less no shell starts.
const LEAST_MEMORY: u64 = 4 << 20;

impl Check<'_> {
    /// What all of these sections ask for.
    pub(super) fn isolation(&mut self, sections: &BTreeMap<&'static str, &Node>) -> IsolationWish {
        let wish = IsolationWish {
            level: sections
                .get(ISOLATION)
                .and_then(|level| self.level(ISOLATION, level)),
            memory_bytes: sections
                .get(MEMORY)
                .and_then(|memory| self.memory(MEMORY, memory)),
            pids: sections.get(PIDS).and_then(|pids| self.limit(PIDS, pids)),
            cpus: sections.get(CPUS).and_then(|cpus| self.cpus(CPUS, cpus)),
            network: sections
                .get(NETWORK)
                .and_then(|truth| self.truth(NETWORK, truth)),
        };
        if let Some(level) = sections.get(ISOLATION)
            && wish.level == Some(IsolationLevel::Container)
            && !sections.contains_key(IMAGE)
        {
            let message = format!(
                "Definition for job \"{}\" asks for a container and names no image.",
                self.job
            );
            let cure = "add \"image:\" with the image that its commands run in";
            self.note(&level.place, message, cure);
        }
        wish
    }

    fn level(&mut self, section: &str, node: &Node) -> Option<IsolationLevel> {
        const CURE: &str = "write none, limits, user or container";
        let found = match &node.value {
            Value::Text(text) => match text.parse() {
                Ok(level) => return Some(level),
                Err(()) => format!("\"{}\"", text.escape_debug()),
            },
            other => python_type(other, false),
        };
        self.wrong_value(node, section, "<class 'str'>", &found, CURE);
        None
    }

    fn memory(&mut self, section: &str, node: &Node) -> Option<u64> {
        let (size, found) = match &node.value {
            Value::Integer(_, Some(bytes)) => (u64::try_from(*bytes).ok(), bytes.to_string()),
            Value::Text(text) => (byte_size(text), format!("\"{}\"", text.escape_debug())),
            other => (None, python_type(other, false)),
        };
        let size = size.filter(|size| *size >= LEAST_MEMORY);
        if size.is_none() {
            let cure = format!("write {BYTE_SIZE_FORM}; 4 MiB or more");
            self.wrong_value(node, section, "<class 'int'>, <class 'str'>", &found, &cure);
        }
        size
    }

    fn cpus(&mut self, section: &str, node: &Node) -> Option<Cpus> {
        let found = match &node.value {
            Value::Integer(text, _) | Value::Float(text) | Value::Text(text) => {
                match text.parse() {
                    Ok(cpus) => return Some(cpus),
                    Err(()) => format!("\"{}\"", text.escape_debug()),
                }
            }
            other => python_type(other, false),
        };
        let expected = "<class 'int'>, <class 'float'>";
        self.wrong_value(
            node,
            section,
            expected,
            &found,
            &format!("write {CPUS_FORM}"),
        );
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::job::config::{Job, JobConfig};
    use crate::job::isolation::{IsolationLevel, IsolationWish};

    fn job(sections: &str) -> Result<Job, String> {
        let text = format!("A:\n  commands: [a]\n  atomizers: [{{T: ls}}]\n{sections}");
        let config = JobConfig::parse(&text, "clusterrunner.yaml").unwrap();
        let job = config.job(None).map(|(_, job)| job.clone());
        job.map_err(|error| error.to_string())
    }

    fn wish(sections: &str) -> IsolationWish {
        job(sections).unwrap().isolation
    }

    #[test]
    fn what_a_job_asks_for_is_read() {
        let whole = wish(
            "  isolation: user\n  memory: 512 MiB\n  pids: 200\n  cpus: 1.5\n  network: false\n",
        );
        assert_eq!(whole.level, Some(IsolationLevel::User));
        assert_eq!(whole.memory_bytes, Some(512 << 20));
        assert_eq!(whole.pids.map(std::num::NonZeroU32::get), Some(200));
        assert_eq!(whole.cpus.map(|cpus| cpus.hundredths()), Some(150));
        assert_eq!(whole.network, Some(false));
        assert_eq!(wish("  memory: 8388608\n").memory_bytes, Some(8 << 20));
        assert!(wish("").is_empty());
        wish("  isolation: container\n  image: debian:12\n");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_cure() {
        for (sections, part) in [
            (
                "  isolation: jail\n",
                "write none, limits, user or container",
            ),
            ("  isolation: container\n", "add \"image:\""),
            ("  memory: much\n", "512 MiB"),
            ("  memory: 1024\n", "4 MiB or more"),
            ("  pids: 0\n", "1 or more"),
            ("  cpus: none\n", "0.5"),
            ("  network: sometimes\n", "true"),
        ] {
            let text = job(sections).unwrap_err();
            assert!(text.contains(part), "{sections}: {text}");
        }
    }
}
