//! Forms that a value may have to have, refused in upstream's words.

use serde_json::Value;

use super::cron;
use crate::names;
use crate::selector::LabelSelector;
use crate::status::FieldError;

/// A form, by its name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    DnsLabel,
    /// A host name, whose first label may be `*`.
    Host,
    PortName,
    /// A port's number or name.
    Port,
    EnvName,
    ConfigKey,
    Cron,
    AbsolutePath,
    Selector,
    Labels,
}

impl Form {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "dns-label" => Self::DnsLabel,
            "host" => Self::Host,
            "port-name" => Self::PortName,
            "port" => Self::Port,
            "env-name" => Self::EnvName,
            "config-key" => Self::ConfigKey,
            "cron" => Self::Cron,
            "absolute-path" => Self::AbsolutePath,
            "selector" => Self::Selector,
            "labels" => Self::Labels,
            _ => return None,
        })
    }

    /// Adds what is wrong with a value at a path. An empty text is another rule's business.
    pub(super) fn check(self, path: &str, value: &Value, errors: &mut Vec<FieldError>) {
        let text = value.as_str().filter(|text| !text.is_empty());
        let complaints = match (self, text) {
            (Self::Selector, _) => {
                if let Err(found) = LabelSelector::from_value(value, path) {
                    errors.extend(found);
                    let words = "invalid label selector";
                    errors.push(FieldError::invalid(path, value.clone(), words));
                }
                return;
            }
            (Self::Labels, _) => return labels(path, value, errors),
            (Self::Port, None) => match value.as_i64() {
                Some(port) if !(1..=65535).contains(&port) => {
                    vec!["must be between 1 and 65535, inclusive".to_owned()]
                }
                _ => return,
            },
            (_, None) => return,
            (Self::DnsLabel, Some(text)) => complaint(names::is_dns1123_label(text)),
            (Self::Host, Some(text)) => complaint(names::is_dns1123_subdomain(
                text.strip_prefix("*.").unwrap_or(text),
            )),
            (Self::PortName | Self::Port, Some(text)) => port_name(text),
            (Self::EnvName, Some(text)) => env_name(text),
            (Self::ConfigKey, Some(text)) => complaint(names::is_config_map_key(text)),
            (Self::Cron, Some(text)) => complaint(cron::check(text)),
            (Self::AbsolutePath, Some(text)) if !text.starts_with('/') => {
                vec!["must be an absolute path".to_owned()]
            }
            (Self::AbsolutePath, Some(_)) => return,
        };
        let error = |words| FieldError::invalid(path, value.clone(), words);
        errors.extend(complaints.into_iter().map(error));
    }
}

fn complaint(checked: Result<(), String>) -> Vec<String> {
    checked.err().into_iter().collect()
}

fn labels(path: &str, value: &Value, errors: &mut Vec<FieldError>) {
    // Upstream's path for a template's labels.
    let path = &path.replace(".metadata.labels", ".labels");
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Err(why) = names::is_qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        if let Some(Err(why)) = value.as_str().map(names::is_label_value) {
            errors.push(FieldError::invalid(path, value.clone(), why));
        }
    }
}

/// The name of a container's port.
fn port_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |broken: bool, words: &str| {
        if broken {
            complaints.push(words.to_owned());
        }
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    complain(text.len() > 15, "must be no more than 15 characters");
    complain(
        !text.chars().all(plain),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    complain(
        !text.contains(|c: char| c.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    );
    complain(text.contains("--"), "must not contain consecutive hyphens");
    complain(
        text.starts_with('-') || text.ends_with('-'),
        "must not begin or end with a hyphen",
    );
    complaints
}

fn env_name(text: &str) -> Vec<String> {
    let plain = |c: char| matches!(c, ' '..='~') && c != '=';
    if text.chars().all(plain) {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}
