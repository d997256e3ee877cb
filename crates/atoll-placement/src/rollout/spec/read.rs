//! Reading fields: each reader takes what is right and notes what is wrong with its path.

use std::time::Duration;

use atoll_kube::status::FieldError;
use serde_json::Value;

use super::Amount;

/// A value with its path and where to note what is wrong.
pub(super) struct At<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

pub(super) type Errors = Vec<FieldError>;

impl<'a> At<'a> {
    pub(super) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self {
            value,
            path: path.into(),
        }
    }

    /// A field that is there and not null.
    pub(super) fn field(&self, name: &str) -> Option<At<'a>> {
        match self.value.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(At::new(value, format!("{}.{name}", self.path))),
        }
    }

    pub(super) fn wrong(&self, errors: &mut Errors, why: impl Into<String>) {
        errors.push(FieldError::invalid(
            self.path.clone(),
            self.value.clone(),
            why,
        ));
    }

    pub(super) fn wrong_type(&self, errors: &mut Errors, why: &str) {
        errors.push(FieldError::type_invalid(
            self.path.clone(),
            self.value.clone(),
            why,
        ));
    }

    pub(super) fn object(&self, errors: &mut Errors) -> bool {
        if !self.value.is_object() {
            self.wrong_type(errors, "must be an object");
        }
        self.value.is_object()
    }

    pub(super) fn items(&self, name: &str, errors: &mut Errors) -> Vec<At<'a>> {
        let Some(list) = self.field(name) else {
            return Vec::new();
        };
        let Some(items) = list.value.as_array() else {
            list.wrong_type(errors, "must be a list");
            return Vec::new();
        };
        let at = |(i, value)| At::new(value, format!("{}[{i}]", list.path));
        items.iter().enumerate().map(at).collect()
    }

    pub(super) fn text(&self, name: &str, errors: &mut Errors) -> Option<String> {
        let field = self.field(name)?;
        match field.value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                field.wrong_type(errors, "must be a string");
                None
            }
        }
    }

    pub(super) fn texts(&self, name: &str, errors: &mut Errors) -> Vec<String> {
        let items = self.items(name, errors);
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            match item.value.as_str() {
                Some(text) => found.push(text.to_owned()),
                None => item.wrong_type(errors, "must be a string"),
            }
        }
        found
    }

    pub(super) fn flag(&self, name: &str, errors: &mut Errors) -> bool {
        let Some(field) = self.field(name) else {
            return false;
        };
        field.value.as_bool().unwrap_or_else(|| {
            field.wrong_type(errors, "must be true or false");
            false
        })
    }

    /// A whole number within a range.
    pub(super) fn count(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u32>,
        why: &str,
        errors: &mut Errors,
    ) -> Option<u32> {
        let field = self.field(name)?;
        let found = field.value.as_u64().and_then(|n| u32::try_from(n).ok());
        match found {
            Some(n) if range.contains(&n) => Some(n),
            _ => {
                field.wrong(errors, why);
                None
            }
        }
    }

    /// A count or a share, at least 1 if it must be positive.
    pub(super) fn amount(
        &self,
        name: &str,
        positive: Option<&str>,
        errors: &mut Errors,
    ) -> Option<Amount> {
        let field = self.field(name)?;
        let parsed = match field.value {
            Value::Number(n) => n
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .map(Amount::Count),
            Value::String(text) => match text.strip_suffix('%') {
                Some(share) => share
                    .parse()
                    .ok()
                    .filter(|p| *p <= 100)
                    .map(Amount::Percent),
                None => text.parse().ok().map(Amount::Count),
            },
            _ => None,
        };
        match (parsed, positive) {
            (None, _) => {
                field.wrong(errors, "must be a number (10) or a share (\"25%\")");
                None
            }
            (Some(Amount::Count(0) | Amount::Percent(0)), Some(why)) => {
                field.wrong(errors, why);
                None
            }
            (found, _) => found,
        }
    }

    /// A duration, at least `least`.
    pub(super) fn duration(
        &self,
        name: &str,
        least: Duration,
        errors: &mut Errors,
    ) -> Option<Duration> {
        let field = self.field(name)?;
        let Some(found) = field.value.as_str().and_then(duration) else {
            field.wrong(
                errors,
                "must be a duration such as \"30s\", \"10m\" or \"1h30m\"",
            );
            return None;
        };
        if found < least {
            field.wrong(errors, format!("must be at least {}", show(least)));
            return None;
        }
        Some(found)
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        errors: &mut Errors,
    ) -> Option<T> {
        let field = self.field(name)?;
        let found = words
            .iter()
            .find(|(word, _)| field.value.as_str() == Some(word));
        if found.is_none() {
            errors.push(FieldError::not_supported(
                field.path.clone(),
                field.value.clone(),
                words.iter().map(|(word, _)| *word),
            ));
        }
        found.map(|(_, value)| *value)
    }
}

/// Reads a duration as Go writes it (`1h30m`, `1.5h`, `100ms`), and days (`2d`). Up to ten years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = tail;
    }
    (total <= 10.0 * 366.0 * 86_400.0)
        .then(|| Duration::from_millis((total * 1000.0).round() as u64))
}

/// A duration in words.
pub(super) fn show(duration: Duration) -> String {
    if duration.as_millis().is_multiple_of(1000) {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("5", None),
            ("-5s", None),
            ("5 s", None),
            ("s", None),
            ("5y", None),
            ("1..5s", None),
            ("99999999h", None),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), millis, "{text}");
        }
    }
}
