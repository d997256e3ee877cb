//! From a body to a value of the expected kind, with what was doubtful about it.

use atoll_kube::{
    Status, meta,
    schema::decode::{Decoded as Parsed, strict_json, strict_yaml},
    status::duplicate_field,
};
use serde_json::Value;

use crate::{Body, FieldValidation, Served};

/// A decoded body.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Unknown and duplicate fields, as texts.
    pub(crate) faults: Vec<String>,
}

/// Parses a body without looking at what it is.
pub(crate) fn parse(body: Body, kind: &str) -> Result<Decoded, Status> {
    let Parsed { value, duplicates } = match body {
        Body::Json(bytes) => strict_json(&bytes, kind)?,
        Body::Yaml(bytes) => strict_yaml(&bytes, kind)?,
        Body::Value(value) => Parsed {
            value,
            duplicates: Vec::new(),
        },
    };
    let faults = duplicates
        .iter()
        .map(|path| duplicate_field(path))
        .collect();
    Ok(Decoded { value, faults })
}

/// Parses a body that must be an object of `served`; apiVersion and kind may be left out.
pub(crate) fn object(body: Body, served: &Served) -> Result<Decoded, Status> {
    let mut decoded = parse(body, served.kind())?;
    check_kind(&mut decoded.value, &served.api_version(), served.kind())?;
    Ok(decoded)
}

/// Checks that a value says it is of this version and kind, or makes it say so when it does not say.
pub(crate) fn check_kind(value: &mut Value, api_version: &str, kind: &str) -> Result<(), Status> {
    let Some(fields) = value.as_object() else {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized: it must be a {kind} object"
        )));
    };
    if fields
        .get("metadata")
        .is_some_and(|m| !m.is_object() && !m.is_null())
    {
        return Err(Status::bad_request(
            "the object provided is unrecognized: metadata must be an object",
        ));
    }
    let (found_version, found_kind) = (
        meta::api_version(value).to_owned(),
        meta::kind(value).to_owned(),
    );
    if !found_kind.is_empty() && found_kind != kind {
        let found = format!("{found_version}, Kind={found_kind}");
        return Err(Status::wrong_kind(
            found,
            format!("{api_version}, Kind={kind}"),
        ));
    }
    if !found_version.is_empty() && found_version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found_version}) does not match the expected API version ({api_version})"
        )));
    }
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Ok(())
}

/// What becomes of faults: nothing, warnings, or a refusal.
pub(crate) fn report(
    faults: &[String],
    validation: FieldValidation,
    served: &Served,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    if faults.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(faults.iter().cloned());
            Ok(())
        }
        FieldValidation::Strict => Err(Status::strict_decoding(
            served.kind(),
            &served.version().name,
            faults,
        )),
    }
}
