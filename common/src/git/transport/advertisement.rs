//! The list of refs with which a server begins (gitprotocol-pack, "Reference Discovery"): counted while it comes.
//!
//! libgit2 keeps the whole list in memory and takes whatever comes; a server can send one without end.

use super::wire::Failure;

/// How many bytes of the list each allowed ref may have, its share of those of others included.
const BYTES_FOR_EACH: u64 = 512;

/// What stands in the list besides refs: capabilities, and cut histories.
const BYTES_BESIDES: u64 = 1 << 20;

/// The length of the number with which each packet begins.
const LENGTH_DIGITS: usize = 4;

/// Follows the packets of the list, to its end.
pub(super) struct Advertisement {
    most: u64,
    refs: u64,
    bytes: u64,
    /// How many flush packets are still to come; after the last the list is over.
    flushes: u32,
    /// The digits of the packet's length that have come.
    digits: Vec<u8>,
    /// How much of the packet is still to come.
    left: usize,
}

impl Advertisement {
    pub(super) fn new(most: u64, flushes: u32) -> Self {
        Self {
            most,
            refs: 0,
            bytes: 0,
            flushes,
            digits: Vec::with_capacity(LENGTH_DIGITS),
            left: 0,
        }
    }

    /// Looks at what was received next. What is no packet is left to libgit2 to complain about.
    pub(super) fn look_at(&mut self, mut received: &[u8]) -> Result<(), Failure> {
        while self.flushes > 0 && !received.is_empty() {
            if self.left > 0 {
                let length = self.left.min(received.len());
                self.left -= length;
                received = received.get(length..).unwrap_or_default();
                self.count(length as u64)?;
                continue;
            }
            if let Some((digit, rest)) = received.split_first() {
                self.digits.push(*digit);
                received = rest;
                self.count(1)?;
            }
            if self.digits.len() == LENGTH_DIGITS {
                let digits = std::mem::take(&mut self.digits);
                let length = std::str::from_utf8(&digits).ok();
                let length = length.and_then(|text| usize::from_str_radix(text, 16).ok());
                match length {
                    Some(0) => self.flushes -= 1,
                    Some(length) => {
                        self.left = length.saturating_sub(LENGTH_DIGITS);
                        self.refs += 1;
                    }
                    None => self.flushes = 0,
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.bytes += bytes;
        let most_bytes = self
            .most
            .saturating_mul(BYTES_FOR_EACH)
            .saturating_add(BYTES_BESIDES);
        // Two for each tag, and the line that names the service.
        if self.refs > self.most.saturating_mul(2).saturating_add(2) || self.bytes > most_bytes {
            return Err(Failure::new(format!(
                "it has more than {} refs (setting git_max_refs)",
                self.most
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> String {
        format!("{:04x}{text}", text.len() + LENGTH_DIGITS)
    }

    fn list(refs: usize) -> String {
        let refs = (0..refs).map(|n| packet(&format!("{n:040x} refs/heads/{n}\n")));
        refs.collect::<String>()
    }

    #[test]
    fn refs_are_counted_to_the_end_of_the_list_however_it_is_cut_up() {
        for piece in [1, 3, 7, 4096] {
            let look = |most, text: &str| {
                let mut advertisement = Advertisement::new(most, 1);
                let mut pieces = text.as_bytes().chunks(piece);
                pieces.try_for_each(|piece| advertisement.look_at(piece))
            };
            let good = list(10) + "0000" + &"ffff".repeat(10_000);
            assert!(look(10, &good).is_ok(), "{piece}");
            let error = look(10, &list(40)).unwrap_err().to_string();
            assert!(error.contains("more than 10 refs"), "{error}");
        }
    }

    #[test]
    fn a_list_of_few_long_lines_is_too_much_too() {
        let long = packet(&"x".repeat(60_000));
        let mut advertisement = Advertisement::new(10, 1);
        let looked = (0..100).try_for_each(|_| advertisement.look_at(long.as_bytes()));
        assert!(looked.is_err());
    }

    #[test]
    fn what_is_no_packet_is_left_to_others() {
        let mut advertisement = Advertisement::new(1, 2);
        advertisement
            .look_at("<html>".repeat(1_000_000).as_bytes())
            .unwrap();
    }
}
