//! When a member was changed, in the two forms that a zip archive has for it.

/// The first moment that the old form can say: 1980-01-01, in seconds since 1970.
const FIRST: u64 = 315_532_800;

/// The last one: 2107-12-31 23:59:58.
const LAST: u64 = 4_354_819_198;

const DAY: u64 = 86_400;

/// A moment as an archive says it. 0 seconds since 1970 mean that it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modified(pub(super) u64);

impl Modified {
    /// The old form (4.4.6): time and date with a step of two seconds and without a zone. It is UTC
    /// here, since the master's zone would mean nothing to the user who unpacks.
    pub(super) fn dos(self) -> (u16, u16) {
        let seconds = self.0.clamp(FIRST, LAST);
        let of_day = seconds % DAY;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let (year, month, day) = date(seconds / DAY);
        let time = hour << 11 | minute << 5 | (second / 2);
        let date = (year - 1980) << 9 | month << 5 | day;
        (low16(time), low16(date))
    }

    /// The seconds since 1970 of the extended timestamp, the field that most readers prefer; `None`
    /// where they are not known.
    pub(super) fn unix(self) -> Option<u32> {
        (self.0 > 0).then(|| u32::try_from(self.0).unwrap_or(u32::MAX))
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970. Counted in years that begin
/// in March, so that the leap day is the last one.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + DAYS_BEFORE_1970;
    let (cycle, days) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_cycle = (days - days / 1460 + days / 36_524 - days / 146_096) / 365;
    let day_of_year = days - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let is_next_year = march_month >= 10;
    let month = if is_next_year {
        march_month - 9
    } else {
        march_month + 3
    };
    let year = 400 * cycle + year_of_cycle + u64::from(is_next_year);
    (year, month, day)
}

fn low16(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seconds: u64) -> (u16, u16, u16, u16, u16, u16) {
        let (time, date) = Modified(seconds).dos();
        (
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
        )
    }

    /// The moments are those of `date -u -d @SECONDS`.
    #[test]
    fn moments_are_said_in_the_old_form() {
        for (seconds, expected) in [
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (951_868_799, (2000, 2, 29, 23, 59, 58)),
            (951_868_800, (2000, 3, 1, 0, 0, 0)),
            (1_764_337_135, (2025, 11, 28, 13, 38, 54)),
            (1_735_689_599, (2024, 12, 31, 23, 59, 58)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
            (LAST, (2107, 12, 31, 23, 59, 58)),
            (FIRST, (1980, 1, 1, 0, 0, 0)),
            // Before and after all that there is.
            (0, (1980, 1, 1, 0, 0, 0)),
            (u64::MAX, (2107, 12, 31, 23, 59, 58)),
        ] {
            assert_eq!(said(seconds), expected, "{seconds}");
        }
    }
}
