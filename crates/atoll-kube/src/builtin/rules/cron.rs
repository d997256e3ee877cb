//! Schedules as CronJobs have them: five fields or a descriptor, refused in the words of the parser that Kubernetes uses.

/// A field's name for its values, from the lowest on.
type Names = &'static [&'static str];

const MONTHS: Names = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: Names = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Lowest and highest value, and names, of minute, hour, day of month, month and day of week.
const FIELDS: [(u64, u64, Names); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, MONTHS),
    (0, 6, DAYS),
];

const DESCRIPTORS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// Whether a text is a schedule.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.contains("TZ") {
        return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    for (field, bounds) in fields.iter().zip(FIELDS) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            range(part, bounds)?;
        }
    }
    Ok(())
}

fn descriptor(schedule: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&schedule) {
        return Ok(());
    }
    let Some(every) = schedule.strip_prefix("@every ") else {
        return Err(format!("unrecognized descriptor: {schedule}"));
    };
    duration(every).map_err(|why| format!("failed to parse duration {schedule}: time: {why}"))
}

/// `1h30m`, as Go reads durations.
fn duration(text: &str) -> Result<(), String> {
    let invalid = || Err(format!("invalid duration {text:?}"));
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return invalid();
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    while !rest.is_empty() {
        let behind = rest.trim_start_matches(is_number);
        let number = &rest[..rest.len() - behind.len()];
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return invalid();
        }
        rest = behind.trim_start_matches(|c| !is_number(c));
        match &behind[..behind.len() - rest.len()] {
            "" => return Err(format!("missing unit in duration {text:?}")),
            "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => {}
            unit => return Err(format!("unknown unit {unit:?} in duration {text:?}")),
        }
    }
    Ok(())
}

/// `*`, `5`, `1-5`, `*/2`, `1-30/5`, `mon-fri`.
fn range(text: &str, (low, high, names): (u64, u64, Names)) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let single = ends.len() == 1;
    let (start, mut end) = if matches!(ends[0], "*" | "?") {
        (low, high)
    } else {
        let start = value(ends[0], low, names)?;
        match ends[..] {
            [_] => (start, start),
            [_, end] => (start, value(end, low, names)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            if single {
                end = high;
            }
            value(step, 0, &[])?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < low {
        return Err(format!(
            "beginning of range ({start}) below minimum ({low}): {text}"
        ));
    }
    if end > high {
        return Err(format!(
            "end of range ({end}) above maximum ({high}): {text}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn value(text: &str, low: u64, names: Names) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    if let Some((n, _)) = (low..).zip(names).find(|(_, name)| **name == lower) {
        return Ok(n);
    }
    match text.parse::<i64>() {
        Ok(n) => u64::try_from(n).map_err(|_| format!("negative number ({n}) not allowed: {text}")),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
}
