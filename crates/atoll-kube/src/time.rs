//! Moments, as Kubernetes writes them down. No clock here: someone passes the time in.
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `2026-11-21T04:00:00Z`, fractions dropped: the form of metadata timestamps.
    pub fn rfc3339(self) -> String {
        self.write(false)
    }

    /// `2026-11-21T04:00:00.123000Z`: the form of MicroTime.
    pub fn rfc3339_micro(self) -> String {
        self.write(true)
    }

    fn write(self, micro: bool) -> String {
        let secs = self.0.div_euclid(1000);
        let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let (y, m, d) = civil(days);
        let (h, min, s) = (second / 3600, second / 60 % 60, second % 60);
        if micro {
            let micros = self.0.rem_euclid(1000) * 1000;
            format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}.{micros:06}Z")
        } else {
            format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}Z")
        }
    }

    /// Reads RFC 3339, with any offset and fraction (kept to the millisecond).
    pub fn parse(text: &str) -> Option<Self> {
        let b = text.as_bytes();
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = b.get(range)?;
            digits.iter().try_fold(0i64, |n, c| {
                c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0'))
            })
        };
        let literal = |at: usize, any: &[u8]| b.get(at).is_some_and(|c| any.contains(c));
        if !(literal(4, b"-")
            && literal(7, b"-")
            && literal(10, b"Tt")
            && literal(13, b":")
            && literal(16, b":"))
        {
            return None;
        }
        let (y, m, d) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (h, min, s) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&m)
            || d < 1
            || d > days_in_month(y, m)
            || h > 23
            || min > 59
            || s > 60
        {
            return None;
        }
        let mut at = 19;
        let mut millis = 0;
        if literal(at, b".") {
            let start = at + 1;
            at = start;
            while b.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at == start {
                return None;
            }
            let kept = (at - start).min(3);
            millis = number(start..start + kept)? * 10i64.pow(3 - u32::try_from(kept).ok()?);
        }
        let offset = match b.get(at)? {
            b'Z' | b'z' if b.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if b.len() == at + 6 && literal(at + 3, b":") => {
                let (oh, om) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
                if oh > 23 || om > 59 {
                    return None;
                }
                (oh * 3600 + om * 60) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };
        let secs = days_from_civil(y, m, d) * 86_400 + h * 3600 + min * 60 + s - offset;
        Some(Self(secs * 1000 + millis))
    }

    /// The same moment with the fraction of the second dropped, as metadata timestamps are kept.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(self.0.div_euclid(1000) * 1000)
    }

    /// How long after `earlier` this is; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// An age as kubectl's tables show it: `45s`, `5m`, `3d4h`.
pub fn human_duration(d: Duration) -> String {
    let seconds = d.as_secs();
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let minutes = seconds / 60;
    if minutes < 10 {
        return with_rest(minutes, "m", seconds % 60, "s");
    }
    if minutes < 180 {
        return format!("{minutes}m");
    }
    let hours = minutes / 60;
    if hours < 8 {
        return with_rest(hours, "h", minutes % 60, "m");
    }
    if hours < 48 {
        return format!("{hours}h");
    }
    let (days, years) = (hours / 24, hours / 24 / 365);
    if hours < 192 {
        with_rest(days, "d", hours % 24, "h")
    } else if years < 2 {
        format!("{days}d")
    } else if years < 8 {
        with_rest(years, "y", days % 365, "d")
    } else {
        format!("{years}y")
    }
}

fn with_rest(n: u64, unit: &str, rest: u64, rest_unit: &str) -> String {
    if rest == 0 {
        format!("{n}{unit}")
    } else {
        format!("{n}{unit}{rest}{rest_unit}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

/// Days since 1970-01-01 to year, month, day. Counts from March of year 0, so that a leap day ends its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let z = days + 719_468;
    let era = z.div_euclid(DAYS_PER_ERA);
    let day_of_era = z.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in_month(y: i64, m: i64) -> i64 {
    match m {
        2 if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timestamps_parse_and_print() {
        let check = |text: &str, millis: Option<i64>| {
            assert_eq!(Timestamp::parse(text).map(|t| t.0), millis, "{text}")
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("1969-12-31T23:59:59Z", Some(-1000));
        check("2026-11-21T04:00:00Z", Some(1_795_233_600_000));
        check("2026-11-21T05:30:00+01:30", Some(1_795_233_600_000));
        check("2026-11-21T04:00:00.5Z", Some(1_795_233_600_500));
        check("2026-11-21T04:00:00.123456789Z", Some(1_795_233_600_123));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000));
        check("2023-02-29T00:00:00Z", None);
        check("2026-11-21", None);
        check("2026-11-21T04:00:00", None);
        check("2026-11-21T04:00:00.Z", None);
        check("2026-11-21T04:00:00Zjunk", None);
        check("", None);
        assert_eq!(
            Timestamp(1_795_233_600_123).rfc3339(),
            "2026-11-21T04:00:00Z"
        );
        assert_eq!(
            Timestamp(1_795_233_600_123).rfc3339_micro(),
            "2026-11-21T04:00:00.123000Z"
        );
    }

    #[test]
    fn ages_read_as_kubectl_shows_them() {
        let check = |secs: u64, expected: &str| {
            assert_eq!(human_duration(Duration::from_secs(secs)), expected)
        };
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(185, "3m5s");
        check(3600, "60m");
        check(3 * 3600, "3h");
        check(7 * 3600 + 61, "7h1m");
        check(8 * 3600, "8h");
        check(48 * 3600, "2d");
        check(76 * 3600, "3d4h");
        check(9 * 86_400, "9d");
        check(729 * 86_400, "729d");
        check(731 * 86_400, "2y1d");
        check(9 * 365 * 86_400, "9y");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(millis in -60_000_000_000_000i64..250_000_000_000_000) {
            let t = Timestamp(millis);
            prop_assert_eq!(Timestamp::parse(&t.rfc3339_micro()), Some(t));
            prop_assert_eq!(Timestamp::parse(&t.rfc3339()), Some(t.whole_seconds()));
        }
    }
}
