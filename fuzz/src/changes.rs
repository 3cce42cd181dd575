//! Bytes made of seeds by changes. The number of a case and the seed of a run say which: no case needs to be kept to be
//! seen again.

/// The most changes of one case.
const MOST_CHANGES: u64 = 6;

/// The longest piece that is repeated, removed or taken from another seed, in bytes.
const LONGEST_PIECE: u64 = 256;

/// The longest input of bytes that are nothing.
const LONGEST_NOISE: u64 = 2_000;

/// The longest case. Changes that repeat never make more of it.
const LONGEST_CASE: usize = 1 << 20;

/// Pieces on which readers trip: ends of lines, quotes, escapes, brackets, numbers at their bounds, odd UTF-8.
const PIECES: [&[u8]; 28] = [
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\x1b[",
    b"\x1b]8;;",
    b"\xc2\x9b",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"..",
    b"/",
    b"{",
    b"}",
    b"[",
    b"]",
    b": ",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"%00",
];

/// A run of changes of some seeds.
#[derive(Clone, Debug)]
pub struct Changes {
    seeds: Vec<Vec<u8>>,
    seed: u64,
}

/// Numbers that look random and follow from one (`SplitMix64`, as Steele, Lea and Flood describe it in "Fast Splittable
/// Pseudorandom Number Generators", 2014).
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, or zero.
    fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// A place among so many.
    fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Where a piece of something so long begins and ends; short ones are more frequent.
    fn piece(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.place(length + 1);
        let bound = match self.below(4) {
            0 => LONGEST_PIECE,
            _ => 16,
        };
        let count = usize::try_from(self.below(bound)).unwrap_or(0);
        start..length.min(start + count)
    }
}

impl Changes {
    /// Of these seeds, as the number of a run says.
    #[must_use]
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { seeds, seed }
    }

    /// A case of this run.
    #[must_use]
    pub fn case(&self, case: u64) -> Vec<u8> {
        let mut numbers = Numbers(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ case);
        numbers.next();
        if self.seeds.is_empty() || numbers.below(10) == 0 {
            let length = numbers.below(LONGEST_NOISE);
            return (0..length).map(|_| numbers.byte()).collect();
        }
        let mut bytes = self.seeds[numbers.place(self.seeds.len())].clone();
        for _ in 0..=numbers.below(MOST_CHANGES) {
            self.change(&mut bytes, &mut numbers);
        }
        bytes.truncate(LONGEST_CASE);
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, numbers: &mut Numbers) {
        let at = numbers.place(bytes.len() + 1);
        match numbers.below(8) {
            0 => {
                let bit = numbers.below(8);
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|b| *b ^= 1 << bit);
            }
            1 => {
                let to = numbers.byte();
                bytes.iter_mut().skip(at).take(1).for_each(|b| *b = to);
            }
            2 => {
                let piece = PIECES[numbers.place(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => drop(bytes.drain(numbers.piece(bytes.len()))),
            4 => {
                let piece = numbers.piece(bytes.len());
                let (end, piece) = (piece.end, bytes[piece].to_vec());
                let times = usize::try_from(numbers.below(20)).unwrap_or(0);
                bytes.splice(end..end, piece.repeat(times));
            }
            5 => {
                let other = &self.seeds[numbers.place(self.seeds.len())];
                let piece = other[numbers.piece(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let count = numbers.below(8);
                let piece: Vec<u8> = (0..count).map(|_| numbers.byte()).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                // The beginning of this one and the end of another.
                let other = &self.seeds[numbers.place(self.seeds.len())];
                let from = numbers.place(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}
