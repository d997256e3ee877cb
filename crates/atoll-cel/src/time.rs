//! Instants and spans of time, as CEL has them: years 1 to 9999, nanoseconds, spans of at most about 292 years.

/// An instant. Always within years 1 to 9999 (UTC) when it comes out of an expression. It is shown with the offset that it was written with.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
    /// Minutes that the writer's clock was ahead of UTC. No part of the instant.
    ahead: i16,
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
        ((Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) && nanos < 1_000_000_000)
            .then_some(Timestamp {
                seconds,
                nanos,
                ahead: 0,
            })
    }

    /// Milliseconds since 1970; `None` outside years 1 to 9999.
    pub fn from_millis(millis: i64) -> Option<Timestamp> {
        Timestamp::new(
            millis.div_euclid(1000),
            (millis.rem_euclid(1000) * 1_000_000) as u32,
        )
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

impl PartialEq for Timestamp {
    fn eq(&self, other: &Timestamp) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timestamp {}

impl Ord for Timestamp {
    fn cmp(&self, other: &Timestamp) -> std::cmp::Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Timestamp) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for Timestamp {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.seconds, self.nanos).hash(state);
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339, with as many digits of the second's fraction as there are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let local = self.seconds + i64::from(self.ahead) * 60;
        let (year, month, day) = civil(local.div_euclid(86_400));
        let second = local.rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        fraction(f, self.nanos)?;
        match self.ahead {
            0 => f.write_str("Z"),
            ahead => {
                let sign = if ahead < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", ahead.abs() / 60, ahead.abs() % 60)
            }
        }
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

impl Timestamp {
    /// The instant so much later; `None` outside years 1 to 9999.
    pub(crate) fn plus(self, span: Duration) -> Option<Timestamp> {
        let nanos = i128::from(self.seconds) * 1_000_000_000
            + i128::from(self.nanos)
            + i128::from(span.nanos);
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        Timestamp::new(seconds, nanos.rem_euclid(1_000_000_000) as u32).map(|later| Timestamp {
            ahead: self.ahead,
            ..later
        })
    }

    /// The nanoseconds since another instant, where they fit.
    pub(crate) fn since(self, other: Timestamp) -> Option<i64> {
        let nanos = (i128::from(self.seconds) - i128::from(other.seconds)) * 1_000_000_000
            + i128::from(self.nanos)
            - i128::from(other.nanos);
        i64::try_from(nanos).ok()
    }

    /// Whether this is the first instant there is.
    pub(crate) fn is_year_one(self) -> bool {
        self.seconds == Self::MIN_SECONDS && self.nanos == 0
    }

    /// Reads RFC 3339, as `metav1.Time` is written.
    pub fn parse(text: &str) -> Option<Timestamp> {
        parse_rfc3339(text).flatten()
    }
}

/// The day counted from 1970-01-01 of a date; `None` when there is no such day.
fn day(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The number that exactly so many digits at the start write, and what follows.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let written = text
        .get(..count)
        .filter(|written| written.bytes().all(|b| b.is_ascii_digit()))?;
    Some((written.parse().ok()?, &text[count..]))
}

/// The day of `2006-01-02`, and what follows.
fn leading_date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (number, rest) = digits(rest.strip_prefix('-')?, 2)?;
    Some((day(year, month, number)?, rest))
}

/// Seconds of the day and nanoseconds of `15:04:05.999`, and what follows. Go takes an hour of one digit.
fn leading_clock(text: &str) -> Option<(i64, u32, &str)> {
    let (hour, rest) = digits(text, 2).or_else(|| digits(text, 1))?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = match rest.strip_prefix(['.', ',']) {
        None => (0, rest),
        Some(fraction) => {
            let end = fraction
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(fraction.len());
            if end == 0 {
                return None;
            }
            let kept = format!("{:0<9}", &fraction[..end.min(9)]);
            (kept.parse().ok()?, &fraction[end..])
        }
    };
    Some((hour * 3600 + minute * 60 + second, nanos, rest))
}

/// An instant in RFC 3339. `None`: not written so; `Some(None)`: outside years 1 to 9999.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Option<Timestamp>> {
    let (day, rest) = leading_date(text)?;
    let (clock, nanos, rest) = leading_clock(rest.strip_prefix('T')?)?;
    let offset = match rest {
        "Z" => 0,
        other => {
            let (sign, rest) = other
                .strip_prefix('+')
                .map(|rest| (1, rest))
                .or_else(|| other.strip_prefix('-').map(|rest| (-1, rest)))?;
            let (hours, rest) = digits(rest, 2)?;
            let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
            if !rest.is_empty() || hours > 24 || minutes > 60 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let ahead = (offset / 60) as i16;
    Some(Timestamp::new(day * 86_400 + clock - offset, nanos).map(|at| Timestamp { ahead, ..at }))
}

/// A `date-time` or `date` of a schema, as upstream's formats take them: also without an offset; an empty text is 1970.
pub(crate) fn parse_declared(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("Invalid date-time formatted string {text}: cannot parse {text:?}");
    if text.is_empty() {
        return Timestamp::new(0, 0).ok_or_else(wrong);
    }
    if let Some(day) = parse_date(text) {
        return Timestamp::new(day * 86_400, 0).ok_or_else(wrong);
    }
    let local = || parse_rfc3339(&format!("{text}Z"));
    parse_rfc3339(text)
        .or_else(local)
        .flatten()
        .ok_or_else(wrong)
}

/// The day of a text that is a date and nothing else.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    leading_date(text)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(day, _)| day)
}

/// Whether upstream's `datetime` format takes a text.
pub(crate) fn is_date_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some((date, clock)) = lower.split_once('t') else {
        return false;
    };
    if parse_date(date).is_none() {
        return false;
    }
    let Some((_, _, zone)) =
        leading_clock(clock).filter(|_| clock.len() > 7 && clock.as_bytes()[2] == b':')
    else {
        return false;
    };
    let offset = |rest: &str| {
        digits(rest, 2)
            .and_then(|(_, rest)| digits(rest.strip_prefix(':')?, 2))
            .is_some_and(|(_, rest)| rest.is_empty())
    };
    zone == "z" || zone.strip_prefix(['+', '-']).is_some_and(offset)
}

/// A span in Go's notation: `1h30m`, `-1.5s`, `0`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, i128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration { nanos: 0 });
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (whole, fraction) = rest[..end].split_once('.').unwrap_or((&rest[..end], ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 19 {
            return None;
        }
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end])?;
        rest = &rest[end..];
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let fraction = &fraction[..fraction.len().min(18)];
        let part = if fraction.is_empty() {
            0
        } else {
            fraction.parse::<i128>().ok()? * unit / 10_i128.pow(fraction.len() as u32)
        };
        total += whole * unit + part;
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).ok().map(|nanos| Duration { nanos })
}

/// An instant's parts on the clock of a place.
pub(crate) struct Fields {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) day_of_year: i64,
    pub(crate) day_of_week: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) millisecond: i64,
}

/// The parts of an instant in a zone: a name of the IANA database, or an offset (`-08:00`, `5:30`).
pub(crate) fn fields(at: Timestamp, zone: &str) -> Result<Fields, String> {
    let local = at.seconds + offset(at, zone)?;
    let day_number = local.div_euclid(86_400);
    let second = local.rem_euclid(86_400);
    let (year, month, number) = civil(day_number);
    let new_year = day(year, 1, 1).unwrap_or(day_number);
    Ok(Fields {
        year,
        month: month.into(),
        day: number.into(),
        day_of_year: day_number - new_year,
        day_of_week: (day_number + 4).rem_euclid(7),
        hour: second / 3600,
        minute: second / 60 % 60,
        second: second % 60,
        millisecond: i64::from(at.nanos) / 1_000_000,
    })
}

/// Seconds that a zone's clock is ahead of UTC at an instant.
fn offset(at: Timestamp, zone: &str) -> Result<i64, String> {
    let unknown = || format!("unknown time zone {zone}");
    if zone.is_empty() || zone == "UTC" {
        return Ok(0);
    }
    let Some((hours, minutes)) = zone.split_once(':') else {
        // The database is within the binary: no file is read.
        let zone = jiff::tz::TimeZone::get(zone).map_err(|_| unknown())?;
        // The calendar behind it ends some hours before ours.
        let seconds = at.seconds.min(jiff::Timestamp::MAX.as_second());
        let at = jiff::Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
        return Ok(zone.to_offset(at).seconds().into());
    };
    let (hours, minutes): (i64, i64) = (
        hours.parse().map_err(|_| unknown())?,
        minutes.parse().map_err(|_| unknown())?,
    );
    if hours.abs() > 24 || !(0..60).contains(&minutes) {
        return Err(unknown());
    }
    Ok(hours * 3600
        + if zone.starts_with('-') {
            -minutes * 60
        } else {
            minutes * 60
        })
}
