//! One thing that is wrong with one field, worded as Kubernetes words it.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The value is not one of a closed list.
    NotSupported,
    /// The value must be unique and is not.
    Duplicate,
    /// What the value refers to does not exist.
    NotFound,
    /// The field may not be set (to this) here.
    Forbidden,
    /// A string or byte value exceeds its limit.
    TooLong,
    /// A string is shorter than its limit.
    TooShort,
    /// A list or map exceeds its limit.
    TooMany,
    /// A list or map has fewer entries than required.
    TooFew,
    /// The check itself failed.
    Internal,
}

impl FieldErrorKind {
    /// The machine readable form, a Status cause's `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::TooShort | Self::Internal
        )
    }
}

/// What is wrong with which field, and the value found there.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The kind of fault.
    pub kind: FieldErrorKind,
    /// Path from the object's root: `spec.containers[0].name`.
    pub field: String,
    /// The offending value; `None` where the wording leaves it out.
    pub value: Option<Value>,
    /// What would be right.
    pub detail: String,
}

impl FieldError {
    fn make(
        kind: FieldErrorKind,
        field: impl Into<String>,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            value,
            detail: detail.into(),
        }
    }

    /// `f: Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Required, field, None, detail)
    }

    /// `f: Invalid value: "v": detail`
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::make(FieldErrorKind::Invalid, field, Some(value.into()), detail)
    }

    /// `f: Invalid value: "v": detail`, where the JSON type is wrong.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::make(
            FieldErrorKind::TypeInvalid,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// `f: Unsupported value: "v": supported values: "a", "b"`
    pub fn not_supported<S: AsRef<str>>(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: impl IntoIterator<Item = S>,
    ) -> Self {
        let list: Vec<String> = supported.into_iter().map(|s| quote(s.as_ref())).collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        Self::make(
            FieldErrorKind::NotSupported,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// `f: Duplicate value: "v"`
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::make(FieldErrorKind::Duplicate, field, Some(value.into()), "")
    }

    /// `f: Not found: "v"`
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::make(FieldErrorKind::NotFound, field, Some(value.into()), "")
    }

    /// `f: Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Forbidden, field, None, detail)
    }

    /// `f: Too long: may not be more than N bytes`
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::make(
            FieldErrorKind::TooLong,
            field,
            None,
            format!("may not be more than {max} {unit}"),
        )
    }

    /// `f: Too many: N: must have at most M items`
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::make(
            FieldErrorKind::TooMany,
            field,
            Some(actual.into()),
            format!("must have at most {max} {unit}"),
        )
    }

    /// `f: Internal error: detail`
    pub fn internal(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Internal, field, None, detail)
    }

    /// The message without the field's path, as it appears in a Status cause.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if self.kind.shows_value()
            && let Some(value) = &self.value
        {
            text.push_str(": ");
            match value {
                Value::String(s) => text.push_str(&quote(s)),
                other => text.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// A string in double quotes with the escapes Kubernetes' messages (Go's `%q`) use.
pub fn quote(s: &str) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Several messages as one: alone as it is, more in brackets, repeated ones once.
pub fn aggregate<T: fmt::Display>(errors: &[T]) -> String {
    let mut seen: Vec<String> = Vec::with_capacity(errors.len());
    for e in errors {
        let text = e.to_string();
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    match seen.len() {
        1 => seen.swap_remove(0),
        _ => format!("[{}]", seen.join(", ")),
    }
}

/// `parent.name`, or `name` at the root.
pub fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// `parent[i]`
pub fn index(parent: &str, i: usize) -> String {
    format!("{parent}[{i}]")
}

/// `parent[key]`, for entries of a map.
pub fn key(parent: &str, key: &str) -> String {
    format!("{parent}[{key}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_errors_read_as_kubernetes_writes_them() {
        let check = |e: FieldError, expected: &str| assert_eq!(e.to_string(), expected);
        check(FieldError::required("spec.x", ""), "spec.x: Required value");
        check(
            FieldError::required("metadata.name", "name or generateName is required"),
            "metadata.name: Required value: name or generateName is required",
        );
        check(
            FieldError::invalid("spec.x", "y\n", "no"),
            "spec.x: Invalid value: \"y\\n\": no",
        );
        check(
            FieldError::invalid("spec.x", -3, "no"),
            "spec.x: Invalid value: -3: no",
        );
        check(
            FieldError::invalid("spec.x", json!({"a":[1]}), "no"),
            "spec.x: Invalid value: {\"a\":[1]}: no",
        );
        check(
            FieldError::not_supported("s", "c", ["a", "b"]),
            "s: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        );
        check(
            FieldError::too_long("s", 1),
            "s: Too long: may not be more than 1 byte",
        );
        check(
            FieldError::too_many("s", 3, 2),
            "s: Too many: 3: must have at most 2 items",
        );
        check(
            FieldError::duplicate("s[1]", "a"),
            "s[1]: Duplicate value: \"a\"",
        );
        check(
            FieldError::forbidden("s", "not here"),
            "s: Forbidden: not here",
        );
    }

    #[test]
    fn aggregates_show_each_message_once() {
        assert_eq!(aggregate(&["a"]), "a");
        assert_eq!(aggregate(&["a", "b", "a"]), "[a, b]");
        assert_eq!(aggregate(&["a", "a"]), "a");
    }
}
