//! What Kubernetes says about its own kinds and fields: for `kubectl explain`, in OpenAPI documents of version 3.
//!
//! The words are those of the Kubernetes authors (Apache-2.0), compressed in the binary (`xtask descriptions` derives it). Unpacked, and then kept, when the first document is made:
//! less than a megabyte that a server nobody asks does not have.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::ZlibDecoder;
use serde_json::{Value, json};

const PACKED: &[u8] = include_bytes!("data/descriptions-1.36.z");

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    // What cannot be unpacked is not described; a test sees to it that it can.
    let _ = ZlibDecoder::new(PACKED).read_to_string(&mut text);
    text
});

/// The lines about each component.
static COMPONENTS: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut components = BTreeMap::new();
    let mut lines: Option<&mut Vec<&str>> = None;
    for line in TEXT.lines() {
        match (line.strip_prefix(' '), &mut lines) {
            (Some(line), Some(lines)) => lines.push(line),
            (Some(_), None) => {}
            (None, _) => lines = Some(components.entry(line).or_default()),
        }
    }
    components
});

/// Adds to a component's schema, in version 3's words, what is known about it and its fields.
pub(crate) fn describe(component: &str, schema: &mut Value) {
    let Some((own, fields)) = COMPONENTS.get(component).and_then(|l| l.split_first()) else {
        return;
    };
    if !own.is_empty() {
        schema["description"] = plain(own).into();
    }
    for line in fields {
        let Some((field, text)) = line.split_once('\t') else {
            continue;
        };
        let Some(Value::Object(property)) = schema.pointer_mut(&format!("/properties/{field}"))
        else {
            continue;
        };
        // Beside a reference nothing counts.
        if let Some(reference) = property.remove("$ref") {
            property.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
        }
        property.insert("description".to_owned(), plain(text).into());
    }
}

fn plain(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_are_described() {
        assert!(COMPONENTS.len() > 600, "{}", COMPONENTS.len());
        let mut schema = json!({"properties": {
            "replicas": {"type": "integer"}, "selector": {"$ref": "#/x"}, "unheardOf": {"type": "string"}}});
        describe("io.k8s.api.apps.v1.DeploymentSpec", &mut schema);
        let text = |pointer| schema.pointer(pointer).and_then(Value::as_str);
        assert_eq!(
            text("/description"),
            Some("DeploymentSpec is the specification of the desired behavior of the Deployment.")
        );
        let replicas = text("/properties/replicas/description").unwrap();
        assert!(
            replicas.starts_with("Number of desired pods."),
            "{replicas}"
        );
        assert_eq!(text("/properties/selector/allOf/0/$ref"), Some("#/x"));
        assert!(text("/properties/unheardOf/description").is_none());
    }
}
