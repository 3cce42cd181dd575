//! Bounds the reasons that slaves, preparers and archivers report, before the core keeps them in facts.
//!
//! A reason is stored in the journal, kept in memory and sent to everybody who polls the build. A reason may quote a
//! command of megabytes or a whole file, so a long one loses its middle.

/// How many bytes of the beginning and of the end of a long text are kept.
const KEPT: usize = 8 << 10;

/// The text, without the middle of a long one.
pub(crate) fn bounded(text: String) -> String {
    let left_out = text.len().saturating_sub(2 * KEPT);
    // What says so would be as long.
    if left_out <= 64 {
        return text;
    }
    let (head, rest) = text.split_at(text.floor_char_boundary(KEPT));
    let (_, tail) = rest.split_at(rest.ceil_char_boundary(rest.len() - KEPT));
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n... {left_out} bytes left out ...\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_tail_of_a_long_text_are_kept() {
        for text in ["", "short", &"x".repeat(2 * KEPT + 64)] {
            assert_eq!(bounded(text.to_owned()), text);
        }
        let long = format!("begin {} end", "ä".repeat(1_400_000));
        let kept = bounded(long.clone());
        assert!(kept.len() < 2 * KEPT + 64, "{}", kept.len());
        assert!(kept.starts_with("begin ä") && kept.ends_with("ä end"));
        let left_out = kept
            .split_once("... ")
            .unwrap()
            .1
            .split_once(" bytes")
            .unwrap()
            .0;
        let kept_of_it = kept.len() - format!("\n... {left_out} bytes left out ...\n").len();
        assert_eq!(left_out.parse::<usize>().unwrap() + kept_of_it, long.len());
    }
}
