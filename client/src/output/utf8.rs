//! Text that comes in pieces which end anywhere.

/// Decodes pieces of text; what is not UTF-8 is replaced.
#[derive(Debug, Default)]
pub(crate) struct Utf8Pieces {
    /// The beginning of a character whose rest is still to come.
    begun: Vec<u8>,
}

impl Utf8Pieces {
    /// The text up to the last whole character.
    pub(crate) fn next(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let complete = bytes.len() - begun_at_end(&bytes);
        self.begun = bytes.split_off(complete);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What is left at the end.
    pub(crate) fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

/// How many bytes at the end may be the beginning of a character.
fn begun_at_end(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(invalid) {
        // Only what breaks off has no length.
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_text_is_cut_it_is_the_same() {
        let text = b"a\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xff \xe2\x82 x\xf0\x9f";
        let expected = String::from_utf8_lossy(text);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut pieces = Utf8Pieces::default();
                let cut = [&text[..first], &text[first..second], &text[second..]];
                let mut decoded: String = cut.iter().map(|piece| pieces.next(piece)).collect();
                decoded.push_str(&pieces.end());
                assert_eq!(decoded, expected, "{first} {second}");
            }
        }
    }
}
