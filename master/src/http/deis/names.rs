//! Ids for apps that come without one: an adjective and a noun. Pure.

const ADJECTIVES: [&str; 64] = [
    "amber", "ancient", "autumn", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
    "cheerful", "clever", "cosmic", "crimson", "crisp", "curious", "daring", "dawn", "deep",
    "eager", "early", "earnest", "fair", "fearless", "floral", "fluent", "fresh", "gentle",
    "gifted", "golden", "grand", "green", "hardy", "hidden", "humble", "jolly", "keen", "kind",
    "lively", "loyal", "lucid", "lunar", "mellow", "merry", "misty", "modest", "noble", "patient",
    "polar", "proud", "quick", "quiet", "rapid", "rustic", "silent", "silver", "smooth", "solar",
    "steady", "sunny", "tidy", "vivid", "warm", "wise",
];

const NOUNS: [&str; 64] = [
    "acorn", "anchor", "badger", "beacon", "bison", "bridge", "brook", "cabin", "canyon", "cedar",
    "cliff", "comet", "compass", "cove", "crane", "delta", "ember", "falcon", "fern", "field",
    "finch", "fjord", "forest", "fox", "garden", "glacier", "grove", "harbor", "hare", "hawk",
    "heron", "hill", "island", "kayak", "lagoon", "lake", "lantern", "lark", "lynx", "maple",
    "meadow", "mill", "moon", "oak", "orchard", "otter", "owl", "pebble", "pine", "plateau",
    "pond", "quartz", "raven", "reef", "ridge", "river", "robin", "sparrow", "spruce", "stone",
    "thicket", "trail", "valley", "willow",
];

/// An id of these random bytes. A number is added where that was tried before and taken.
pub(super) fn made_up(random: [u8; 4], tries: usize) -> String {
    let [adjective, noun, rest @ ..] = random;
    let of = |words: &[&'static str], byte: u8| words[usize::from(byte) % words.len()];
    let (adjective, noun) = (of(&ADJECTIVES, adjective), of(&NOUNS, noun));
    match tries {
        0 => format!("{adjective}-{noun}"),
        _ => format!("{adjective}-{noun}-{}", u16::from_be_bytes(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_made_of_words_that_differ() {
        for words in [ADJECTIVES, NOUNS] {
            let different: BTreeSet<_> = words.iter().collect();
            assert_eq!(different.len(), words.len());
            assert!(
                words
                    .iter()
                    .all(|word| word.bytes().all(|b| b.is_ascii_lowercase()))
            );
        }
        assert_eq!(made_up([0, 0, 1, 0], 0), "amber-acorn");
        assert_eq!(made_up([255, 65, 1, 0], 3), "wise-anchor-256");
    }
}
