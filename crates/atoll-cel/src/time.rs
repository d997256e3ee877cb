//! Instants and spans of time, as CEL has them: years 1 to 9999, nanoseconds, spans of at most about 292 years.

/// An instant. Always within years 1 to 9999 (UTC) when it comes out of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// A span of time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    pub(crate) nanos: i64,
}

impl Timestamp {
    const MIN_SECONDS: i64 = -62_135_596_800;
    const MAX_SECONDS: i64 = 253_402_300_799;

    /// Seconds since 1970 and nanoseconds of the second; `None` outside years 1 to 9999.
    pub fn new(seconds: i64, nanos: u32) -> Option<Timestamp> {
        ((Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) && nanos < 1_000_000_000).then_some(Timestamp { seconds, nanos })
    }

    /// Milliseconds since 1970; `None` outside years 1 to 9999.
    pub fn from_millis(millis: i64) -> Option<Timestamp> {
        Timestamp::new(millis.div_euclid(1000), (millis.rem_euclid(1000) * 1_000_000) as u32)
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn nanos(self) -> u32 {
        self.nanos
    }
}

impl Duration {
    /// A span of so many nanoseconds.
    pub fn from_nanos(nanos: i64) -> Duration {
        Duration { nanos }
    }

    /// The whole span in nanoseconds.
    pub fn nanos(self) -> i64 {
        self.nanos
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many digits of the second's fraction as there are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
        fraction(f, self.nanos)?;
        f.write_str("Z")
    }
}

impl std::fmt::Display for Duration {
    /// Seconds, as CEL writes spans: `5400s`, `0.5s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let nanos = self.nanos.unsigned_abs();
        write!(f, "{}", nanos / 1_000_000_000)?;
        fraction(f, (nanos % 1_000_000_000) as u32)?;
        f.write_str("s")
    }
}

fn fraction(f: &mut std::fmt::Formatter<'_>, nanos: u32) -> std::fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    let digits = format!("{nanos:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

/// The year, month and day of a day counted from 1970-01-01.
pub(crate) fn civil(day: i64) -> (i64, u32, u32) {
    // Years that begin in March put the leap day last; an era is 400 of them.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month + 2) / 5 + 1) as u32;
    let month = if month < 10 { month + 3 } else { month - 9 } as u32;
    (year + era * 400 + i64::from(month <= 2), month, day)
}
