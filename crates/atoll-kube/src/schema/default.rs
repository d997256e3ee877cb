//! Defaulting: what an absent field becomes.

use serde_json::Value;

use super::Schema;

impl Schema {
    /// Fills absent fields, and nulls where null is no value, with their defaults: outer ones first, then inside what is
    /// there now.
    pub fn default_into(&self, value: &mut Value) {
        if !self.has_defaults {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, schema) in &self.properties {
                    let Some(default) = &schema.default else {
                        continue;
                    };
                    let missing = match fields.get(name) {
                        None => true,
                        Some(v) => schema.stands_for_absent(v),
                    };
                    if missing {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, v) in fields {
                    if let Some(schema) = self.field(name) {
                        schema.fill(v, !self.properties.contains_key(name));
                    }
                }
            }
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    list.iter_mut().for_each(|v| items.fill(v, true));
                }
            }
            _ => {}
        }
    }

    fn stands_for_absent(&self, value: &Value) -> bool {
        value.is_null() && !self.nullable
    }

    /// An entry of a map or list that is null gets the entries' default, if they have one.
    fn fill(&self, value: &mut Value, is_entry: bool) {
        if is_entry
            && self.stands_for_absent(value)
            && let Some(default) = &self.default
        {
            *value = default.clone();
        }
        self.default_into(value);
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::compile;
    use serde_json::{Value, json};

    fn check(openapi: Value, mut object: Value, expected: Value) {
        let schema = compile::schema(&openapi).unwrap();
        schema.default_into(&mut object);
        assert_eq!(object, expected);
        schema.default_into(&mut object);
        assert_eq!(object, expected, "defaulting twice changes nothing");
    }

    #[test]
    fn absent_fields_get_their_defaults() {
        let openapi = json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "x"},
            "n": {"type": "string", "nullable": true, "default": "x"},
            "o": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 1}}},
            "p": {"type": "object", "properties": {"b": {"type": "integer", "default": 2}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": true}}}},
            "m": {"type": "object", "additionalProperties": {"type": "string", "default": "y"}},
        }});
        check(
            openapi.clone(),
            json!({}),
            json!({"a": "x", "n": "x", "o": {"b": 1}}),
        );
        check(
            openapi,
            json!({"a": null, "n": null, "o": {"b": 5}, "p": {}, "l": [{}, {"c": false}], "m": {"k": null, "j": "z"}}),
            json!({"a": "x", "n": null, "o": {"b": 5}, "p": {"b": 2}, "l": [{"c": true}, {"c": false}], "m": {"k": "y", "j": "z"}}),
        );
    }
}
