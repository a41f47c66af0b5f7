//! Moments in the form that signatures use: `yyyymmddThhmmssZ`.

use lido_domain::Millis;

const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

/// `yyyymmddThhmmssZ`, in UTC; parts of a second are left out.
pub(crate) fn basic(moment: Millis) -> String {
    let seconds = moment.seconds();
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_OF_DAY));
    let of_day = seconds.rem_euclid(SECONDS_OF_DAY);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The moment that a text of this form names; `None` for every other text and for days that do not exist.
pub(crate) fn parse_basic(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit().then(|| 10 * number + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    Some(Millis::from_seconds(days * SECONDS_OF_DAY + hour * 3600 + minute * 60 + second))
}

// Years that begin in March, in eras of 400 years (146 097 days): the leap day is then the last of its year.

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20261101T120000Z", 1_793_534_400),
            ("19691231T235959Z", -1),
        ] {
            assert_eq!(parse_basic(text), Some(Millis::from_seconds(seconds)), "{text}");
            assert_eq!(basic(Millis::from_seconds(seconds)), text);
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in
            ["", "20261101", "20261101T120000", "20260230T000000Z", "20261301T000000Z", "20261101T240000Z"]
        {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }
}
