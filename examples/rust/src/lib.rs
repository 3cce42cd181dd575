//! Roman numerals, in order to have something to test.

const NUMERALS: [(u32, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// Writes a number as the Romans did; zero is nothing.
pub fn to_roman(mut number: u32) -> String {
    let mut text = String::new();
    for (value, numeral) in NUMERALS {
        while number >= value {
            text.push_str(numeral);
            number -= value;
        }
    }
    text
}

/// Reads a number as [`to_roman`] writes it; `None` for anything else.
pub fn from_roman(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut number = 0;
    for (value, numeral) in NUMERALS {
        while let Some(shorter) = rest.strip_prefix(numeral) {
            number += value;
            rest = shorter;
        }
    }
    (rest.is_empty() && to_roman(number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers() {
        let written: Vec<String> = (1..=5).map(to_roman).collect();
        assert_eq!(written, ["I", "II", "III", "IV", "V"]);
    }

    #[test]
    fn years() {
        assert_eq!(to_roman(1984), "MCMLXXXIV");
        assert_eq!(to_roman(2026), "MMXXVI");
    }

    #[test]
    fn what_is_written_can_be_read() {
        for number in 1..4000 {
            assert_eq!(from_roman(&to_roman(number)), Some(number));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["IIII", "VX", "IC", "x", " I"] {
            assert_eq!(from_roman(text), None, "{text}");
        }
    }
}
