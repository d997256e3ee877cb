//! Semantic versions.

use std::cmp::Ordering;
use std::fmt;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;

pub(super) const TABLE: &[Entry] = &[
    entry(
        "semver",
        Charge::Traverse,
        semver,
        &[
            "string_to_semver: (string) -> kubernetes.Semver",
            "string_bool_to_semver: (string, bool) -> kubernetes.Semver",
        ],
    ),
    entry(
        "isSemver",
        Charge::Traverse,
        is_semver,
        &[
            "is_semver_string: (string) -> bool",
            "is_semver_string_bool: (string, bool) -> bool",
        ],
    ),
    entry(
        "major",
        Charge::One,
        major,
        &["semver_major: kubernetes.Semver.() -> int"],
    ),
    entry(
        "minor",
        Charge::One,
        minor,
        &["semver_minor: kubernetes.Semver.() -> int"],
    ),
    entry(
        "patch",
        Charge::One,
        patch,
        &["semver_patch: kubernetes.Semver.() -> int"],
    ),
];

/// A version. What follows `+` does not count in comparisons.
#[derive(Clone, Debug)]
pub(crate) struct Semver {
    numbers: [u64; 3],
    pre: Vec<Pre>,
    build: Vec<String>,
}

/// One part of what follows `-`: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Number(u64),
    Word(String),
}

impl PartialEq for Semver {
    fn eq(&self, other: &Semver) -> bool {
        self.compare(other).is_eq()
    }
}

impl Semver {
    pub(super) fn compare(&self, other: &Semver) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.pre.cmp(&other.pre),
            }
        })
    }

    pub(super) fn parse(text: &str, normalize: bool) -> Result<Semver, String> {
        if text.is_empty() && !normalize {
            return Err("Version string empty".to_owned());
        }
        let normalized;
        let text = if normalize {
            normalized = normal(text)?;
            &normalized
        } else {
            text
        };
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(patch)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (patch, build) = match patch.split_once('+') {
            Some((patch, build)) => (patch, Some(build)),
            None => (patch, None),
        };
        let (patch, pre) = match patch.split_once('-') {
            Some((patch, pre)) => (patch, Some(pre)),
            None => (patch, None),
        };
        let numbers = [
            number("Major", major)?,
            number("Minor", minor)?,
            number("Patch", patch)?,
        ];
        let pre = pre.map_or(Ok(Vec::new()), |pre| {
            pre.split('.').map(read_pre).collect::<Result<_, _>>()
        })?;
        let mut builds = Vec::new();
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            if part.is_empty() {
                return Err("Build meta data is empty".to_owned());
            }
            if !part.bytes().all(is_word) {
                return Err(format!(
                    "Invalid character(s) found in build meta data {part:?}"
                ));
            }
            builds.push(part.to_owned());
        }
        Ok(Semver {
            numbers,
            pre,
            build: builds,
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {} number {text:?}",
            what.to_lowercase()
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "{what} number must not contain leading zeroes {text:?}"
        ));
    }
    text.parse()
        .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn read_pre(part: &str) -> Result<Pre, String> {
    if part.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if part.bytes().all(|b| b.is_ascii_digit()) {
        if part.len() > 1 && part.starts_with('0') {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {part:?}"
            ));
        }
        return part
            .parse()
            .map(Pre::Number)
            .map_err(|_| format!("strconv.ParseUint: parsing {part:?}: value out of range"));
    }
    if part.bytes().all(is_word) {
        Ok(Pre::Word(part.to_owned()))
    } else {
        Err(format!("Invalid character(s) found in prerelease {part:?}"))
    }
}

/// Takes off a leading `v` and leading zeros, and fills up what is shorter than three numbers.
fn normal(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let trimmed = part.trim_start_matches('0');
            *part = if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                trimmed.to_owned()
            } else {
                format!("0{trimmed}")
            };
        }
    }
    if parts.len() < 3 {
        if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        parts.resize(3, "0".to_owned());
    }
    Ok(parts.join("."))
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (index, part) in self.pre.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match part {
                Pre::Number(number) => number.fmt(f)?,
                Pre::Word(word) => f.write_str(word)?,
            }
        }
        if self.build.is_empty() {
            Ok(())
        } else {
            write!(f, "+{}", self.build.join("."))
        }
    }
}

fn read(arguments: &[Val<'_>]) -> Evaluated<Result<Semver, String>> {
    match arguments {
        [Val::Text(text)] => Ok(Semver::parse(text.as_str(), false)),
        [Val::Text(text), Val::Bool(normalize)] => Ok(Semver::parse(text.as_str(), *normalize)),
        _ => Err(Stop::no_overload()),
    }
}

fn semver<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    machine.allocate(
        arguments
            .first()
            .map_or(0, |text| text.size() as usize)
            .saturating_mul(8),
    )?;
    let version = read(arguments)?.map_err(Stop::fault)?;
    Ok(Val::opaque(Opaque::Semver(version)))
}

fn is_semver<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    machine.allocate(
        arguments
            .first()
            .map_or(0, |text| text.size() as usize)
            .saturating_mul(8),
    )?;
    Ok(Val::Bool(read(arguments)?.is_ok()))
}

fn part<'a>(arguments: &[Val<'a>], place: usize) -> Evaluated<Val<'a>> {
    if let [Val::Opaque(opaque)] = arguments
        && let Opaque::Semver(version) = &**opaque
    {
        return Ok(Val::Int(version.numbers[place] as i64));
    }
    Err(Stop::no_overload())
}

fn major<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    part(arguments, 0)
}

fn minor<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    part(arguments, 1)
}

fn patch<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    part(arguments, 2)
}
