//! The records of a PAX head: `<length> <key>=<value>\n`, where the length counts the whole record.

use super::TarFault;

/// What a PAX head says about the member after it, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// It describes holes.
    pub(super) sparse: bool,
}

impl Pax {
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, TarFault> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or(TarFault::Pax)?;
            records = rest;
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.target = Some(value.to_vec()),
                b"size" => pax.size = Some(number(value).ok_or(TarFault::Pax)?),
                key => pax.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(pax)
    }
}

/// Key and value of the first record, and what follows it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(records.get(..blank)?)?).ok()?;
    let rest = records.get(length..)?;
    let text = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((text.get(..equals)?, text.get(equals + 1..)?, rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
