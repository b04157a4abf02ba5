//! RFC 3339 instants, as thin Stripe events and Standard Webhooks payloads carry them.

const DAY_SECS: i64 = 86_400;

/// Microseconds since 1970 of an RFC 3339 instant; digits beyond microseconds are cut. None when it is not one.
pub(super) fn rfc3339_micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes.len() > 40 {
        return None;
    }
    let shape = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let separated = matches!(bytes[10], b'T' | b't' | b' ');
    if !separated || shape.iter().any(|&(at, byte)| bytes[at] != byte) {
        return None;
    }
    let (year, month, day) = (
        digits(&text[..4])?,
        digits(&text[5..7])?,
        digits(&text[8..10])?,
    );
    let (hour, minute, second) = (
        digits(&text[11..13])?,
        digits(&text[14..16])?,
        digits(&text[17..19])?,
    );
    if day < 1 || day > days_in_month(year, month)? || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, offset) = fraction(&text[19..])?;
    let secs = days_since_1970(year, month, day) * DAY_SECS + hour * 3600 + minute * 60 + second
        - offset_secs(offset)?;
    Some(secs * 1_000_000 + micros)
}

/// A time written in seconds or, when it is too large for that, in milliseconds since 1970.
pub(super) fn unix_micros(text: &str) -> Option<i64> {
    /// Seconds beyond this are after the year 5000, milliseconds below it before May 1973.
    const SECS_MAX: i64 = 100_000_000_000;
    match digits(text)? {
        secs @ 0..SECS_MAX => Some(secs * 1_000_000),
        millis => Some(millis * 1_000),
    }
}

fn digits(text: &str) -> Option<i64> {
    let fine = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.parse().ok()).flatten()
}

/// Splits `.246Z` into its microseconds and the offset.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, offset) = rest.split_at(end);
    let first: String = fraction.chars().chain("000000".chars()).take(6).collect();
    (end > 0).then_some((digits(&first)?, offset))
}

fn offset_secs(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March, so that the leap day
/// comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_microsecond_in_any_offset() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1_000_000),
            ("2024-09-17T06:20:52.246Z", 1_726_554_052_246_000),
            ("2024-09-17T08:20:52.246123999+02:00", 1_726_554_052_246_123),
            ("2024-02-29t12:00:00-00:30", 1_709_209_800_000_000),
            ("2000-03-01 00:00:00z", 951_868_800_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(rfc3339_micros(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for text in [
            "",
            "2024-09-17",
            "2024-09-17T06:20:52",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1",
            "2024-01-01T00:00:00+2:00",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00é",
            "+024-01-01T00:00:00Z",
        ] {
            assert_eq!(rfc3339_micros(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart() {
        assert_eq!(unix_micros("1504902988"), Some(1_504_902_988_000_000));
        assert_eq!(unix_micros("1458692752478"), Some(1_458_692_752_478_000));
        assert_eq!(unix_micros("-1"), None);
        assert_eq!(unix_micros("1e400"), None);
        assert_eq!(unix_micros("9999999999999999"), None);
    }
}
