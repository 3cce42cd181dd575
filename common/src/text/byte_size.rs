//! Amounts of bytes as people write them: `512 MiB`, `2G`, `512MB`, `1048576`. All units are powers of 1024, as for podman
//! and docker.

/// Units and how many bytes they are. Of units of the same size the first one is shown.
const UNITS: [(&str, u64); 13] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("KB", 1 << 10),
    ("B", 1),
];

/// What is expected of such a text.
pub const BYTE_SIZE_FORM: &str =
    "a number of bytes such as 536870912, or one with a unit such as 512 MiB, 512M or 2 GiB";

/// The bytes that a text stands for; `None` if it is no such text, or more than 63 bits hold.
#[must_use]
pub fn byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim();
    let bytes = match unit {
        "" => 1,
        unit => {
            UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
                .1
        }
    };
    let size = number.parse::<u64>().ok()?.checked_mul(bytes)?;
    i64::try_from(size).ok()?;
    Some(size)
}

/// The same amount for people, and exactly: in the largest unit that it is a whole number of.
#[must_use]
pub fn shown_byte_size(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(name, size)| name.len() == 3 && bytes >= *size && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("512 MiB", 512 << 20, "512 MiB"),
            ("512m", 512 << 20, "512 MiB"),
            ("2G", 2 << 30, "2 GiB"),
            ("512MB", 512 << 20, "512 MiB"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("1 gb", 1 << 30, "1 GiB"),
            ("1536 MiB", 1536 << 20, "1536 MiB"),
            ("1000", 1000, "1000 bytes"),
            ("4096", 4096, "4 KiB"),
            ("0", 0, "0 bytes"),
        ] {
            assert_eq!(byte_size(text), Some(bytes), "{text}");
            assert_eq!(shown_byte_size(bytes), shown);
        }
        for wrong in ["", "MiB", "-1", "1.5 GiB", "1 parsec", "9999999 TiB", "1é"] {
            assert_eq!(byte_size(wrong), None, "{wrong}");
        }
    }
}
