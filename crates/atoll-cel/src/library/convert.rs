//! Conversions between types, `type` and `dyn`.

use base64::Engine as _;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{Text, Val};
use crate::time::{Timestamp, parse_duration, parse_rfc3339};

pub(super) const TABLE: &[Entry] = &[
    entry("type", Charge::One, type_of, &["type: (A) -> type"]),
    entry("dyn", Charge::Dyn, identity, &["to_dyn: (A) -> dyn"]),
    entry(
        "bool",
        Charge::One,
        to_bool,
        &[
            "bool_to_bool: (bool) -> bool",
            "string_to_bool: (string) -> bool",
        ],
    ),
    entry(
        "bytes",
        Charge::ToBytes,
        to_bytes,
        &[
            "bytes_to_bytes: (bytes) -> bytes",
            "string_to_bytes: (string) -> bytes",
        ],
    ),
    entry(
        "double",
        Charge::One,
        to_double,
        &[
            "double_to_double: (double) -> double",
            "int64_to_double: (int) -> double",
            "string_to_double: (string) -> double",
            "uint64_to_double: (uint) -> double",
        ],
    ),
    entry(
        "int",
        Charge::One,
        to_int,
        &[
            "int64_to_int64: (int) -> int",
            "double_to_int64: (double) -> int",
            "duration_to_int64: (duration) -> int",
            "string_to_int64: (string) -> int",
            "timestamp_to_int64: (timestamp) -> int",
            "uint64_to_int64: (uint) -> int",
        ],
    ),
    entry(
        "uint",
        Charge::One,
        to_uint,
        &[
            "uint64_to_uint64: (uint) -> uint",
            "double_to_uint64: (double) -> uint",
            "int64_to_uint64: (int) -> uint",
            "string_to_uint64: (string) -> uint",
        ],
    ),
    entry(
        "string",
        Charge::ToText,
        to_string,
        &[
            "string_to_string: (string) -> string",
            "bool_to_string: (bool) -> string",
            "bytes_to_string: (bytes) -> string",
            "double_to_string: (double) -> string",
            "duration_to_string: (duration) -> string",
            "int64_to_string: (int) -> string",
            "timestamp_to_string: (timestamp) -> string",
            "uint64_to_string: (uint) -> string",
            "ip_to_string: (net.IP) -> string",
            "cidr_to_string: (net.CIDR) -> string",
        ],
    ),
    entry(
        "duration",
        Charge::One,
        to_duration,
        &[
            "duration_to_duration: (duration) -> duration",
            "int64_to_duration: (int) -> duration",
            "string_to_duration: (string) -> duration",
        ],
    ),
    entry(
        "timestamp",
        Charge::One,
        to_timestamp,
        &[
            "timestamp_to_timestamp: (timestamp) -> timestamp",
            "int64_to_timestamp: (int) -> timestamp",
            "string_to_timestamp: (string) -> timestamp",
        ],
    ),
];

fn impossible(from: &Val<'_>, to: &str) -> Stop {
    Stop::fault(format!(
        "type conversion error from '{}' to '{to}'",
        from.type_name()
    ))
}

fn only<'v, 'a>(arguments: &'v [Val<'a>]) -> Evaluated<&'v Val<'a>> {
    arguments.first().ok_or_else(Stop::no_overload)
}

fn identity<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    only(arguments).cloned()
}

fn type_of<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Type(Text::Borrowed(only(arguments)?.type_name())))
}

fn to_bool<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match only(arguments)? {
        Val::Bool(b) => Ok(Val::Bool(*b)),
        text @ Val::Text(written) => match written.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Val::Bool(false)),
            _ => Err(impossible(text, "bool")),
        },
        _ => Err(Stop::no_overload()),
    }
}

fn to_bytes<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match only(arguments)? {
        Val::Bytes(bytes) => Ok(Val::Bytes(bytes.clone())),
        Val::Text(text) => {
            machine.allocate(text.as_str().len())?;
            Ok(Val::Bytes(text.as_str().as_bytes().into()))
        }
        _ => Err(Stop::no_overload()),
    }
}

/// The float that a text writes, as Go reads it: underscores may stand between digits. (Hexadecimal floats are not taken.)
fn read_double(text: &str) -> Option<f64> {
    let without;
    let text = if text.contains('_') {
        let digit = |at: Option<usize>| {
            at.and_then(|at| text.as_bytes().get(at))
                .is_some_and(u8::is_ascii_digit)
        };
        if text
            .match_indices('_')
            .any(|(at, _)| !digit(at.checked_sub(1)) || !digit(Some(at + 1)))
        {
            return None;
        }
        without = text.replace('_', "");
        without.as_str()
    } else {
        text
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        plain if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') => plain
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())?,
        _ => return None,
    };
    Some(if text.starts_with('-') { -value } else { value })
}

fn to_double<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match only(arguments)? {
        Val::Double(d) => Ok(Val::Double(*d)),
        Val::Int(i) => Ok(Val::Double(*i as f64)),
        Val::Uint(u) => Ok(Val::Double(*u as f64)),
        text @ Val::Text(written) => read_double(written.as_str())
            .map(Val::Double)
            .ok_or_else(|| impossible(text, "double")),
        _ => Err(Stop::no_overload()),
    }
}

/// A text of digits with at most a sign.
fn is_integer(text: &str, sign: bool) -> bool {
    let digits = if sign {
        text.strip_prefix(['+', '-']).unwrap_or(text)
    } else {
        text
    };
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn to_int<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let overflow = || Stop::fault("integer overflow");
    match only(arguments)? {
        Val::Int(i) => Ok(Val::Int(*i)),
        // Both ends are excluded, as upstream has it.
        Val::Double(d) if *d > -9_223_372_036_854_775_808.0 && *d < 9_223_372_036_854_775_808.0 => {
            Ok(Val::Int(*d as i64))
        }
        Val::Double(_) => Err(overflow()),
        Val::Duration(d) => Ok(Val::Int(d.nanos)),
        Val::Timestamp(t) => Ok(Val::Int(t.seconds)),
        Val::Uint(u) => i64::try_from(*u).map(Val::Int).map_err(|_| overflow()),
        text @ Val::Text(written) => {
            let written = written.as_str();
            let value = is_integer(written, true)
                .then(|| written.parse().ok())
                .flatten();
            value.map(Val::Int).ok_or_else(|| impossible(text, "int"))
        }
        _ => Err(Stop::no_overload()),
    }
}

fn to_uint<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let overflow = || Stop::fault("unsigned integer overflow");
    match only(arguments)? {
        Val::Uint(u) => Ok(Val::Uint(*u)),
        Val::Double(d) if *d >= 0.0 && *d < 18_446_744_073_709_551_616.0 => {
            Ok(Val::Uint(*d as u64))
        }
        Val::Double(_) => Err(overflow()),
        Val::Int(i) => u64::try_from(*i).map(Val::Uint).map_err(|_| overflow()),
        text @ Val::Text(written) => {
            let written = written.as_str();
            let value = is_integer(written, false)
                .then(|| written.parse().ok())
                .flatten();
            value.map(Val::Uint).ok_or_else(|| impossible(text, "uint"))
        }
        _ => Err(Stop::no_overload()),
    }
}

fn to_string<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let made = match only(arguments)? {
        Val::Text(text) => return Ok(Val::Text(text.clone())),
        Val::Bool(b) => b.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Uint(u) => u.to_string(),
        Val::Double(d) => go_float(*d),
        Val::Duration(d) => duration_text(d.nanos),
        Val::Timestamp(t) => t.to_string(),
        Val::Bytes(bytes) => {
            machine.allocate(bytes.len())?;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Stop::fault("invalid UTF-8 in bytes, cannot convert to string"))?;
            return Ok(Val::text(text));
        }
        Val::Opaque(opaque) => match &**opaque {
            Opaque::Ip(_) | Opaque::Cidr(_) => opaque.to_string(),
            _ => return Err(Stop::no_overload()),
        },
        _ => return Err(Stop::no_overload()),
    };
    machine.allocate(made.len())?;
    Ok(Val::text(made))
}

/// Seconds as a float would show them: upstream goes through one.
fn duration_text(nanos: i64) -> String {
    let seconds = (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}

/// A float as Go's `%g` writes it: the shortest digits, an exponent below 1e-4 and from 1e6 on.
pub(crate) fn go_float(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // The shortest digits and the exponent, as Rust finds them.
    let scientific = format!("{d:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{d}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn to_duration<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match only(arguments)? {
        Val::Duration(d) => Ok(Val::Duration(*d)),
        int @ Val::Int(_) => Err(impossible(int, "google.protobuf.Duration")),
        text @ Val::Text(written) => parse_duration(written.as_str())
            .map(Val::Duration)
            .ok_or_else(|| impossible(text, "google.protobuf.Duration")),
        _ => Err(Stop::no_overload()),
    }
}

fn to_timestamp<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let overflow = || Stop::fault("timestamp overflow");
    match only(arguments)? {
        Val::Timestamp(t) => Ok(Val::Timestamp(*t)),
        Val::Int(seconds) => Timestamp::new(*seconds, 0)
            .map(Val::Timestamp)
            .ok_or_else(overflow),
        text @ Val::Text(written) => match parse_rfc3339(written.as_str()) {
            Some(parsed) => parsed.map(Val::Timestamp).ok_or_else(overflow),
            None => Err(impossible(text, "google.protobuf.Timestamp")),
        },
        _ => Err(Stop::no_overload()),
    }
}

/// The bytes that a declared base64 text stands for.
pub(crate) fn base64<'a>(text: &str) -> Evaluated<Val<'a>> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.replace(['\r', '\n'], ""));
    decoded
        .map(|bytes| Val::Bytes(bytes.into()))
        .map_err(|error| Stop::fault(format!("Invalid byte formatted string {text}: {error}")))
}

/// A span of time as text.
pub(super) fn duration_value<'a>(value: &Val<'_>) -> Evaluated<Val<'a>> {
    match value {
        Val::Duration(d) => Ok(Val::text(duration_text(d.nanos))),
        _ => Err(Stop::no_overload()),
    }
}
