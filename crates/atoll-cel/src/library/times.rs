//! The parts of instants and spans of time.

use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;
use crate::time::{Fields, fields};

pub(super) const TABLE: &[Entry] = &[
    entry(
        "getFullYear",
        Charge::One,
        year,
        &[
            "timestamp_to_year: timestamp.() -> int",
            "timestamp_to_year_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getMonth",
        Charge::One,
        month,
        &[
            "timestamp_to_month: timestamp.() -> int",
            "timestamp_to_month_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getDayOfYear",
        Charge::One,
        day_of_year,
        &[
            "timestamp_to_day_of_year: timestamp.() -> int",
            "timestamp_to_day_of_year_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getDayOfMonth",
        Charge::One,
        day_of_month,
        &[
            "timestamp_to_day_of_month: timestamp.() -> int",
            "timestamp_to_day_of_month_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getDate",
        Charge::One,
        date,
        &[
            "timestamp_to_day_of_month_1_based: timestamp.() -> int",
            "timestamp_to_day_of_month_1_based_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getDayOfWeek",
        Charge::One,
        day_of_week,
        &[
            "timestamp_to_day_of_week: timestamp.() -> int",
            "timestamp_to_day_of_week_with_tz: timestamp.(string) -> int",
        ],
    ),
    entry(
        "getHours",
        Charge::One,
        hours,
        &[
            "timestamp_to_hours: timestamp.() -> int",
            "timestamp_to_hours_with_tz: timestamp.(string) -> int",
            "duration_to_hours: duration.() -> int",
        ],
    ),
    entry(
        "getMinutes",
        Charge::One,
        minutes,
        &[
            "timestamp_to_minutes: timestamp.() -> int",
            "timestamp_to_minutes_with_tz: timestamp.(string) -> int",
            "duration_to_minutes: duration.() -> int",
        ],
    ),
    entry(
        "getSeconds",
        Charge::One,
        seconds,
        &[
            "timestamp_to_seconds: timestamp.() -> int",
            "timestamp_to_seconds_tz: timestamp.(string) -> int",
            "duration_to_seconds: duration.() -> int",
        ],
    ),
    entry(
        "getMilliseconds",
        Charge::One,
        milliseconds,
        &[
            "timestamp_to_milliseconds: timestamp.() -> int",
            "timestamp_to_milliseconds_with_tz: timestamp.(string) -> int",
            "duration_to_milliseconds: duration.() -> int",
        ],
    ),
];

/// A part of an instant, or a whole span in a unit of so many nanoseconds.
fn get<'a>(
    arguments: &[Val<'a>],
    unit: Option<i64>,
    part: fn(&Fields) -> i64,
) -> Evaluated<Val<'a>> {
    let fields = match (arguments, unit) {
        ([Val::Duration(span)], Some(unit)) => return Ok(Val::Int(span.nanos / unit)),
        ([Val::Timestamp(at)], _) => fields(*at, "UTC"),
        ([Val::Timestamp(at), Val::Text(zone)], _) => fields(*at, zone.as_str()),
        _ => return Err(Stop::no_overload()),
    };
    fields
        .map(|fields| Val::Int(part(&fields)))
        .map_err(Stop::fault)
}

fn year<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.year)
}

fn month<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.month - 1)
}

fn day_of_year<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.day_of_year)
}

fn day_of_month<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.day - 1)
}

fn date<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.day)
}

fn day_of_week<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, None, |fields| fields.day_of_week)
}

fn hours<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, Some(3_600_000_000_000), |fields| fields.hour)
}

fn minutes<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, Some(60_000_000_000), |fields| fields.minute)
}

fn seconds<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, Some(1_000_000_000), |fields| fields.second)
}

fn milliseconds<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    get(arguments, Some(1_000_000), |fields| fields.millisecond)
}
