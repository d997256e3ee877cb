//! What one version of a CustomResourceDefinition must be like: its schema, subresources, columns, selectable fields.

use serde_json::Value;

use super::crd::CrdErrors;
use crate::jsonpath::JsonPath;
use crate::names::is_dns1035_label;
use crate::schema::structural;
use crate::status::{FieldError, child, index};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
const MAX_SELECTABLE_FIELDS: usize = 8;

/// With a status subresource, spec and status are checked apart, so rules about the whole have no place: these words do.
const ROOT_WORDS: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn present(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).is_some_and(|v| !v.is_null())
}

/// Adds what is wrong with the versions of a CRD.
///
/// What all versions say alike Kubernetes sees as said once, above them: findings about it are reported there
/// (`spec.validation` for the schema), and only once.
/// `old` are the versions before a change: a schema that was accepted once may keep its dear expressions.
pub(super) fn version_rules(versions: &[Value], old: &[Value], errors: &mut CrdErrors) {
    let any_status = versions.iter().any(|v| present(v, "/subresources/status"));
    for (i, version) in versions.iter().enumerate() {
        let path = index("spec.versions", i);
        let name = text(version, "name");
        if let Err(why) = is_dns1035_label(name) {
            errors.push(FieldError::invalid(child(&path, "name"), name, why));
        }
        deprecation(version, &path, errors);
        let part = |name: &str| Part::of(versions, name, i);
        if !present(version, "/schema/openAPIV3Schema") {
            let at = child(&path, "schema.openAPIV3Schema");
            errors.push(FieldError::required(at, ""));
        } else if let Some(part) = part("schema") {
            let at = match part {
                Part::Own => child(&path, "schema"),
                Part::Shared => "spec.validation".to_owned(),
            };
            let status = match part {
                Part::Own => present(version, "/subresources/status"),
                Part::Shared => any_status,
            };
            let known = old
                .iter()
                .any(|o| text(o, "name") == name && o.get("schema") == version.get("schema"));
            schema_rules(
                version,
                &child(&at, "openAPIV3Schema"),
                status,
                known,
                errors,
            );
        }
        if let Some(part) = part("subresources") {
            scale(version, &part.path(&path, "subresources"), errors);
        }
        if let Some(part) = part("additionalPrinterColumns") {
            let at = part.path(&path, "additionalPrinterColumns");
            for (i, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
                printer_column(column, &index(&at, i), errors);
            }
        }
        if let Some(part) = part("selectableFields") {
            let schema = version.pointer("/schema/openAPIV3Schema");
            let at = part.path(&path, "selectableFields");
            selectable_fields(version, schema.unwrap_or(&Value::Null), &at, errors);
        }
    }
}

/// Where a part of a version is looked at.
enum Part {
    /// In the version.
    Own,
    /// Above the versions, which all say the same.
    Shared,
}

impl Part {
    /// `None` if another version stands for it.
    fn of(versions: &[Value], name: &str, i: usize) -> Option<Self> {
        let first = versions.first().and_then(|v| v.get(name));
        if versions.iter().any(|v| v.get(name) != first) {
            Some(Self::Own)
        } else {
            (i == 0).then_some(Self::Shared)
        }
    }

    fn path(&self, version: &str, name: &str) -> String {
        match self {
            Self::Own => child(version, name),
            Self::Shared => child("spec", name),
        }
    }
}

fn schema_rules(version: &Value, path: &str, status: bool, known: bool, errors: &mut CrdErrors) {
    let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
        return;
    };
    if status {
        root_words(schema, path, errors);
    }
    errors.extend(structural::check_with_rules(schema, path, known));
}

fn deprecation(version: &Value, path: &str, errors: &mut CrdErrors) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let deprecated = version
        .get("deprecated")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let why = if !deprecated {
        "can only be set for deprecated versions"
    } else if warning.is_empty() {
        "must not be an empty string"
    } else if warning.len() > 256 {
        "must be <= 256 characters long"
    } else if warning.chars().any(char::is_control) {
        "must only contain printable UTF-8 characters"
    } else {
        return;
    };
    errors.push(FieldError::invalid(
        child(path, "deprecationWarning"),
        warning,
        why,
    ));
}

/// The words as Kubernetes' message has them: `MinLength`, `XValidations`.
fn go_names(words: &[&str]) -> Vec<String> {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    words
        .iter()
        .map(|word| {
            word.replace("x-kubernetes", "x")
                .split('-')
                .map(capital)
                .collect()
        })
        .collect()
}

fn root_words(schema: &Value, path: &str, errors: &mut CrdErrors) {
    let ty = text(schema, "type");
    if !ty.is_empty() && ty != "object" {
        errors.push(FieldError::invalid(
            child(path, "type"),
            ty,
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
        ));
    }
    let other = schema
        .as_object()
        .into_iter()
        .flatten()
        .find(|(word, _)| !ROOT_WORDS.contains(&word.as_str()));
    if let Some((word, _)) = other {
        errors.push(FieldError::invalid(
            path,
            word.as_str(),
            format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                go_names(&ROOT_WORDS).join(" ")
            ),
        ));
    }
}

/// A path of plain fields from the object's root.
fn simple_path(source: &str, at: &str, under: &[&str], why: &str, errors: &mut CrdErrors) {
    if source.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if !source.starts_with('.') {
        errors.push(FieldError::invalid(
            at,
            source,
            "must be a simple json path starting with .",
        ));
    } else if !under.is_empty() && !under.iter().any(|u| source.starts_with(u)) {
        errors.push(FieldError::invalid(at, source, why));
    } else if !under.is_empty() && JsonPath::parse(source).is_ok_and(|p| p.fields().is_none()) {
        errors.push(FieldError::invalid(
            at,
            source,
            "must be a json path in the dot notation",
        ));
    }
}

fn scale(version: &Value, path: &str, errors: &mut CrdErrors) {
    let Some(scale) = version
        .pointer("/subresources/scale")
        .filter(|s| !s.is_null())
    else {
        return;
    };
    let at = |field: &str| child(path, &format!("scale.{field}"));
    let rules: [(&str, &[&str], &str); 3] = [
        (
            "specReplicasPath",
            &[".spec."],
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            &[".status."],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ];
    for (field, under, why) in rules {
        let source = text(scale, field);
        if source.is_empty() && field == "labelSelectorPath" {
            continue;
        }
        simple_path(source, &at(field), under, why, errors);
    }
}

fn printer_column(column: &Value, path: &str, errors: &mut CrdErrors) {
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(child(path, "name"), ""));
    }
    let ty = text(column, "type");
    let one_of = |all: &[&str]| format!("must be one of {}", all.join(","));
    if ty.is_empty() {
        errors.push(FieldError::required(
            child(path, "type"),
            one_of(&COLUMN_TYPES),
        ));
    } else if !COLUMN_TYPES.contains(&ty) {
        errors.push(FieldError::invalid(
            child(path, "type"),
            ty,
            one_of(&COLUMN_TYPES),
        ));
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        errors.push(FieldError::invalid(
            child(path, "format"),
            format,
            one_of(&COLUMN_FORMATS),
        ));
    }
    simple_path(
        text(column, "jsonPath"),
        &child(path, "JSONPath"),
        &[],
        "",
        errors,
    );
}

fn selectable_fields(version: &Value, schema: &Value, path: &str, errors: &mut CrdErrors) {
    let wanted = list(version, "selectableFields");
    let mut seen: Vec<&str> = Vec::new();
    for (i, field) in wanted.iter().enumerate() {
        let at = child(&index(path, i), "jsonPath");
        let source = text(field, "jsonPath");
        if source.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        match selected_type(source, schema) {
            Err(why) => {
                errors.push(FieldError::invalid(at, source, format!("is an invalid path: {why}")));
                continue;
            }
            Ok(_) if source.starts_with(".metadata") => errors.push(FieldError::invalid(
                &at,
                source,
                "must not point to fields in metadata",
            )),
            Ok("string" | "boolean" | "integer") => {}
            Ok(_) => errors.push(FieldError::invalid(
                &at,
                source,
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            )),
        }
        if seen.contains(&source) {
            errors.push(FieldError::duplicate(at, source));
        }
        seen.push(source);
    }
    seen.sort_unstable();
    seen.dedup();
    if seen.len() > MAX_SELECTABLE_FIELDS {
        errors.push(FieldError::too_many(
            path,
            seen.len(),
            MAX_SELECTABLE_FIELDS,
        ));
    }
}

/// The type of the field a path leads to.
fn selected_type<'a>(source: &str, schema: &'a Value) -> Result<&'a str, String> {
    if !source.starts_with('.') {
        return Err(format!("expected [ or . but got: {source}"));
    }
    let path = JsonPath::parse(source)?;
    let names = path.fields().ok_or("only field names may be used")?;
    let mut at = schema;
    for name in names {
        at = at
            .get("properties")
            .and_then(|p| p.get(name))
            .ok_or("does not refer to a valid field")?;
    }
    Ok(text(at, "type"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut version = json!({"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}}}}}}});
        change(&mut version);
        let mut errors = CrdErrors::new();
        version_rules(&[version], &[], &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn versions_are_checked_part_by_part() {
        check(|_| {}, &[]);
        check(
            |v| v["schema"] = json!({}),
            &["spec.versions[0].schema.openAPIV3Schema: Required value"],
        );
        check(
            |v| v["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({}),
            &[
                "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            ],
        );
        check(
            |v| v["deprecationWarning"] = json!("x"),
            &[
                "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
            ],
        );
        check(
            |v| {
                v["subresources"] =
                    json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": "x"}})
            },
            &[
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.a\": should be a json path under .spec",
                "spec.subresources.scale.statusReplicasPath: Invalid value: \"x\": must be a simple json path starting with .",
            ],
        );
        check(
            |v| {
                v["additionalPrinterColumns"] =
                    json!([{"name": "A", "type": "text", "jsonPath": "a"}])
            },
            &[
                "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting with .",
            ],
        );
        check(
            |v| {
                v["selectableFields"] = json!([{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.l"}, {"jsonPath": ".spec.z"}])
            },
            &[
                "spec.selectableFields[1].jsonPath: Invalid value: \".spec.l\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
                "spec.selectableFields[2].jsonPath: Invalid value: \".spec.z\": is an invalid path: does not refer to a valid field",
            ],
        );
    }
}
