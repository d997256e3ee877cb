//! A Rollout as text: a block with a bar per stage for a terminal, one line for a pipe. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::{phase, revision};

/// How wide a bar is.
const WIDTH: u64 = 24;

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn words(value: &Value, field: &str) -> Vec<String> {
    list(value, field)
        .filter_map(|w| Some(w.as_str()?.to_owned()))
        .collect()
}

/// A bar: what is current, what failed, what is on its way.
fn bar(counts: &Value) -> String {
    let expected = number(counts, "expected").max(1);
    let (done, failed) = (number(counts, "current"), number(counts, "failed"));
    let part = |n: u64| (n * WIDTH).div_ceil(expected).min(WIDTH);
    let failed_width = part(failed).min(WIDTH);
    let done_width = (done * WIDTH / expected).min(WIDTH - failed_width);
    let under_way = part(number(counts, "unreported")).min(WIDTH - failed_width - done_width);
    let rest = WIDTH - done_width - failed_width - under_way;
    let times = |text: &str, n: u64| text.repeat(usize::try_from(n).unwrap_or(0));
    format!(
        "{}{}{}{}",
        times("█", done_width),
        times("✗", failed_width),
        times("▒", under_way),
        times("·", rest)
    )
}

/// Minutes and seconds until all is done at the present pace.
fn left(status: &Value) -> Option<String> {
    let counts = &status["counts"];
    let pace = number(status, "perMinute");
    let rest = number(counts, "outdated") + number(counts, "unreported");
    if pace == 0 || rest == 0 {
        return None;
    }
    let seconds = rest * 60 / pace;
    let left = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    Some(format!("{pace} a minute, about {left} left"))
}

/// For a terminal.
pub(super) fn block(rollout: &Value) -> String {
    let status = &rollout["status"];
    let mut out = String::new();
    let counts = &status["counts"];
    let _ = write!(
        out,
        "{} revision {}: {}, {} of {} edges",
        rollout["spec"]["policy"].as_str().unwrap_or_default(),
        revision(rollout),
        phase(rollout),
        number(counts, "current"),
        number(counts, "expected"),
    );
    if let Some(left) = left(status) {
        let _ = write!(out, "; {left}");
    }
    out.push('\n');
    if let Some(why) = status["message"].as_str() {
        let _ = writeln!(out, "  {why}");
    }
    let width = list(status, "stages")
        .filter_map(|s| Some(s["name"].as_str()?.chars().count()))
        .max();
    let width = width.unwrap_or(0);
    for stage in list(status, "stages") {
        let name = stage["name"].as_str().unwrap_or_default();
        let counts = &stage["counts"];
        if !counts.is_object() {
            let _ = writeln!(
                out,
                "  {name:width$}  {}",
                "·".repeat(usize::try_from(WIDTH).unwrap_or(0))
            );
        } else {
            let _ = write!(
                out,
                "  {name:width$}  {} {}/{}",
                bar(counts),
                number(counts, "current"),
                number(counts, "expected")
            );
            if number(counts, "failed") > 0 {
                let _ = write!(out, ", {} failed", number(counts, "failed"));
            }
            if let Some(most) = stage["maxSlots"]
                .as_u64()
                .filter(|_| stage["completedAt"].is_null())
            {
                let _ = write!(out, ", {} of {most} slots", number(stage, "slots"));
            }
            out.push('\n');
        }
        let failing = words(stage, "failing");
        if !failing.is_empty() {
            let _ = writeln!(out, "  {:width$}  failing: {}", "", failing.join(", "));
        }
        for what in words(stage, "waitingFor") {
            let _ = writeln!(out, "  {:width$}  waits: {what}", "");
        }
    }
    out
}

/// For a pipe: one line.
pub(super) fn line(rollout: &Value) -> String {
    let status = &rollout["status"];
    let counts = &status["counts"];
    let mut out = format!(
        "revision {}: {}: {} of {} edges",
        revision(rollout),
        phase(rollout),
        number(counts, "current"),
        number(counts, "expected"),
    );
    if number(counts, "failed") > 0 {
        let _ = write!(out, ", {} failed", number(counts, "failed"));
    }
    let current = status["stage"].as_str();
    if let Some(stage) = list(status, "stages").find(|s| s["name"].as_str() == current) {
        let _ = write!(out, "; stage {}", current.unwrap_or_default());
        let counts = &stage["counts"];
        if counts.is_object() {
            let _ = write!(
                out,
                " {} of {}",
                number(counts, "current"),
                number(counts, "expected")
            );
        }
        let failing = words(stage, "failing");
        if !failing.is_empty() {
            let _ = write!(out, ", failing: {}", failing.join(", "));
        }
        let waits = words(stage, "waitingFor");
        if !waits.is_empty() {
            let _ = write!(out, ", waits: {}", waits.join("; "));
        }
    }
    if let Some(why) = status["message"].as_str() {
        let _ = write!(out, "; {why}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout() -> Value {
        let stages = json!([
            {"name": "canary", "phase": "Completed", "completedAt": "x", "maxSlots": 1, "counts": {"expected": 2, "current": 2}},
            {"name": "half", "phase": "Progressing", "maxSlots": 3, "slots": 2, "failing": ["b"], "waitingFor": ["2 to become healthy"],
                "counts": {"expected": 8, "current": 2, "failed": 1, "unreported": 2, "outdated": 3}},
            {"name": "rest", "phase": "Pending"},
        ]);
        json!({"spec": {"policy": "web", "revision": 4}, "status": {"phase": "Progressing", "stage": "half", "perMinute": 3,
            "counts": {"expected": 20, "current": 4, "failed": 1, "unreported": 2, "outdated": 13}, "stages": stages}})
    }

    #[test]
    fn a_block_has_a_line_per_stage() {
        let expected = "\
web revision 4: Progressing, 4 of 20 edges; 3 a minute, about 5 min left
  canary  ████████████████████████ 2/2
  half    ██████✗✗✗▒▒▒▒▒▒········· 2/8, 1 failed, 2 of 3 slots
          failing: b
          waits: 2 to become healthy
  rest    ························
";
        assert_eq!(block(&rollout()), expected);
    }

    #[test]
    fn a_line_says_the_same_in_words() {
        let expected = "revision 4: Progressing: 4 of 20 edges, 1 failed; stage half 2 of 8, failing: b, waits: 2 to become healthy\n";
        assert_eq!(line(&rollout()), expected);
    }

    #[test]
    fn nothing_expected_is_drawn_too() {
        let empty = json!({"spec": {"policy": "p", "revision": 1}, "status": {"stages": [{"name": "rest", "counts": {}}]}});
        assert!(block(&empty).contains("0/0"));
    }
}
