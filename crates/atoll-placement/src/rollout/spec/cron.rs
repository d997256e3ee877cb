//! Time windows: a cron schedule says when one opens, a duration for how long, in a time zone.
//!
//! Always true: the same moment gives the same answer; nothing reads a clock or the machine's time zone files. A local time that a change of clocks skips opens just after it;
//! one that comes twice opens at the first.

use std::time::Duration;

use atoll_kube::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Windows may be this long at most.
pub const LONGEST: Duration = Duration::from_secs(31 * 86_400);
/// A schedule that does not match in this many days never does (a leap day can be eight years away).
const HORIZON_DAYS: i64 = 3_000;

/// Five cron fields, as sets of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days and weekdays are restricted: either matches.
    either: bool,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`, with names, lists, ranges and steps, or `@daily` and its like.
    pub fn parse(text: &str) -> Result<Cron, String> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(
                "must have five fields: minute, hour, day of month, month, day of week".into(),
            );
        };
        let mut weekdays = bits(weekday, 0, 7, &WEEKDAYS, "day of week")?;
        if weekdays & 1 << 7 != 0 {
            weekdays = (weekdays | 1) & !(1 << 7);
        }
        let open = |field: &str| field.starts_with('*') || field == "?";
        Ok(Cron {
            minutes: bits(minute, 0, 59, &[], "minute")?,
            hours: bits(hour, 0, 23, &[], "hour")?,
            days: bits(day, 1, 31, &[], "day of month")?,
            months: bits(month, 1, 12, &MONTHS, "month")?,
            weekdays,
            either: !open(day) && !open(weekday),
        })
    }

    fn on(&self, date: Date) -> bool {
        let has = |set: u64, n: i8| set & 1 << n != 0;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month())
            && if self.either {
                day || weekday
            } else {
                day && weekday
            }
    }
}

fn bits(field: &str, least: u8, most: u8, names: &[&str], what: &str) -> Result<u64, String> {
    let bad = || format!("{field:?} is no {what} ({least}-{most})");
    let value = |text: &str| -> Option<u8> {
        if let Some(at) = names.iter().position(|n| n.eq_ignore_ascii_case(text)) {
            let first = u8::from(names.len() == 12);
            return u8::try_from(at).ok().map(|at| at + first);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.filter(|n| (least..=most).contains(n))
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u8>().map_err(|_| bad())?)),
            None => (part, None),
        };
        if step == Some(0) {
            return Err(bad());
        }
        let (from, to) = if range == "*" || range == "?" {
            (least, most)
        } else if let Some((from, to)) = range.split_once('-') {
            (value(from).ok_or_else(bad)?, value(to).ok_or_else(bad)?)
        } else {
            let from = value(range).ok_or_else(bad)?;
            (from, if step.is_some() { most } else { from })
        };
        if from > to {
            return Err(bad());
        }
        for n in (from..=to).step_by(usize::from(step.unwrap_or(1))) {
            set |= 1 << n;
        }
    }
    Ok(set)
}

/// When something may happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    schedule: Cron,
    duration: Duration,
    zone: TimeZone,
}

/// Whether a window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// It is, until then at least.
    Open(Timestamp),
    /// It opens then; `None`: never again.
    Closed(Option<Timestamp>),
}

impl Window {
    /// A window, or which field is wrong (`schedule`, `duration` or `timeZone`) and why.
    pub fn new(
        schedule: &str,
        duration: Duration,
        zone: Option<&str>,
    ) -> Result<Window, (&'static str, String)> {
        let schedule = Cron::parse(schedule).map_err(|why| ("schedule", why))?;
        if duration.is_zero() || duration > LONGEST {
            return Err(("duration", "must be longer than 0s and at most 31d".into()));
        }
        let zone = match zone {
            None | Some("" | "UTC" | "Etc/UTC") => TimeZone::UTC,
            Some(name) => TimeZoneDatabase::bundled().get(name).map_err(|_| {
                (
                    "timeZone",
                    "must be a time zone of the IANA database, such as \"Europe/Paris\"".to_owned(),
                )
            })?,
        };
        let window = Window {
            schedule,
            duration,
            zone,
        };
        // From a fixed moment: whether a schedule is possible does not depend on when it is asked.
        if window.next(Timestamp(0)).is_none() {
            return Err(("schedule", "never comes: no such day exists".into()));
        }
        Ok(window)
    }

    /// Whether it is open at a moment.
    pub fn state(&self, now: Timestamp) -> WindowState {
        match self.latest(now) {
            Some(start) => WindowState::Open(start.plus(self.duration)),
            None => WindowState::Closed(self.next(now)),
        }
    }

    fn date(&self, at: Timestamp) -> Option<Date> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(self.zone.to_datetime(at).date())
    }

    /// The moments at which it opens on a local date.
    fn starts(&self, date: Date) -> Vec<Timestamp> {
        let mut starts = Vec::new();
        if !self.schedule.on(date) {
            return starts;
        }
        for hour in (0..24i8).filter(|h| self.schedule.hours & 1 << h != 0) {
            for minute in (0..60i8).filter(|m| self.schedule.minutes & 1 << m != 0) {
                let at = date.at(hour, minute, 0, 0);
                if let Ok(at) = self.zone.to_timestamp(at) {
                    starts.push(Timestamp(at.as_millisecond()));
                }
            }
        }
        starts
    }

    /// The latest opening that still lasts.
    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = Timestamp(now.0.saturating_sub(self.duration.as_millis() as i64));
        let (mut date, last) = (self.date(now)?, self.date(earliest)?);
        loop {
            let found = self.starts(date).into_iter().filter(|s| *s <= now).max();
            if let Some(start) = found {
                return (now < start.plus(self.duration)).then_some(start);
            }
            if date <= last {
                return None;
            }
            date = date.yesterday().ok()?;
        }
    }

    /// The next opening.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let mut date = self.date(now)?;
        for _ in 0..HORIZON_DAYS {
            let found = self.starts(date).into_iter().filter(|s| *s > now).min();
            if found.is_some() {
                return found;
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

/// Whether any of several windows is open (none at all: always), and when that may change.
pub fn any_open(windows: &[Window], now: Timestamp) -> WindowState {
    if windows.is_empty() {
        return WindowState::Open(Timestamp(i64::MAX));
    }
    let mut until = None;
    let mut next: Option<Timestamp> = None;
    for window in windows {
        match window.state(now) {
            WindowState::Open(end) => until = Some(until.map_or(end, |u: Timestamp| u.max(end))),
            WindowState::Closed(at) => next = [next, at].into_iter().flatten().min(),
        }
    }
    until.map_or(WindowState::Closed(next), WindowState::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn schedules_that_are_none() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "+5 * * * *",
            "1, * * * *",
            "* * * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text:?}");
        }
        let hour = Duration::from_secs(3600);
        let wrong = |schedule, duration, zone| {
            Window::new(schedule, duration, zone)
                .err()
                .map(|(field, _)| field)
        };
        assert_eq!(wrong("0 0 30 2 *", hour, None), Some("schedule"));
        assert_eq!(wrong("0 0 * * *", Duration::ZERO, None), Some("duration"));
        assert_eq!(
            wrong("0 0 * * *", hour, Some("Mars/Base")),
            Some("timeZone")
        );
        assert_eq!(wrong("0 0 29 2 *", hour, Some("Europe/Paris")), None);
    }

    #[test]
    fn windows_open_and_close() {
        let open = |until: &str| WindowState::Open(at(until));
        let closed = |next: &str| WindowState::Closed(Some(at(next)));
        for (schedule, hours, zone, now, expected) in [
            // 2026-11-21 is a Saturday.
            (
                "0 2 * * *",
                4,
                None,
                "2026-11-21T01:59:59Z",
                closed("2026-11-21T02:00:00Z"),
            ),
            (
                "0 2 * * *",
                4,
                None,
                "2026-11-21T02:00:00Z",
                open("2026-11-21T06:00:00Z"),
            ),
            (
                "0 2 * * *",
                4,
                None,
                "2026-11-21T06:00:00Z",
                closed("2026-11-22T02:00:00Z"),
            ),
            // Over midnight and over days.
            (
                "0 22 * * fri",
                8,
                None,
                "2026-11-21T05:00:00Z",
                open("2026-11-21T06:00:00Z"),
            ),
            (
                "0 22 * * 5",
                72,
                None,
                "2026-11-23T05:00:00Z",
                open("2026-11-23T22:00:00Z"),
            ),
            // Sunday is 0 and 7; either day matches when both are restricted.
            (
                "0 0 1 * 7",
                1,
                None,
                "2026-11-21T00:30:00Z",
                closed("2026-11-22T00:00:00Z"),
            ),
            (
                "0 0 22 * mon",
                1,
                None,
                "2026-11-21T00:30:00Z",
                closed("2026-11-22T00:00:00Z"),
            ),
            // Elsewhere.
            (
                "0 2 * * *",
                1,
                Some("America/New_York"),
                "2026-11-21T07:30:00Z",
                open("2026-11-21T08:00:00Z"),
            ),
            // Berlin skips 02:30 on 2026-03-29 and has it twice on 2026-10-25.
            (
                "30 2 29 3 *",
                1,
                Some("Europe/Berlin"),
                "2026-03-29T00:00:00Z",
                closed("2026-03-29T01:30:00Z"),
            ),
            (
                "30 2 25 10 *",
                1,
                Some("Europe/Berlin"),
                "2026-10-25T00:00:00Z",
                closed("2026-10-25T00:30:00Z"),
            ),
            (
                "0 0 29 2 *",
                1,
                None,
                "2026-11-21T00:00:00Z",
                closed("2028-02-29T00:00:00Z"),
            ),
        ] {
            let window = Window::new(schedule, Duration::from_secs(hours * 3600), zone).unwrap();
            assert_eq!(window.state(at(now)), expected, "{schedule} {zone:?} {now}");
        }
    }
}
