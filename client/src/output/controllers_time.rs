//! Times as the API of the Deis controller writes them: `2014-01-01T00:00:00UTC`.

use super::text::ago;

/// How long ago such a time was; the text itself where it is none.
pub(crate) fn since(text: &str) -> String {
    seconds(text).map_or_else(|| text.to_owned(), ago)
}

/// Seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix("UTC")?.split_once('T')?;
    let numbers = |text: &str, between: char| {
        let numbers = text.split(between).map(|part| part.parse::<u32>().ok());
        let numbers: Vec<u32> = numbers.collect::<Option<_>>()?;
        <[u32; 3]>::try_from(numbers).ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && day >= 1;
    is_date.then(|| {
        let of_time = f64::from(hour * 60 + minute) * 60.0 + f64::from(second);
        f64::from(days(year, month, day)) * 86_400.0 + of_time
    })
}

/// Days since 1970. Years begin in March here, so that a leap day is the last of its year.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let of_years = 365 * year + year / 4 - year / 100 + year / 400;
    // From the first of March in year 0 to the first day of 1970.
    of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_the_controller_writes_it() {
        for (text, expected) in [
            ("1970-01-01T00:00:00UTC", Some(0.0)),
            ("2014-01-01T00:00:00UTC", Some(1_388_534_400.0)),
            ("2024-02-29T12:30:05UTC", Some(1_709_209_805.0)),
            ("2024-03-01T00:00:00UTC", Some(1_709_251_200.0)),
            ("2024-13-01T00:00:00UTC", None),
            ("2024-03-01", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert_eq!(since("yesterday"), "yesterday");
    }
}
