//! Named formats (`format.dns1123Label().validate(name)`): which texts they take, and upstream's words for why not.

use std::sync::OnceLock;

use base64::Engine as _;
use regex::Regex;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;

pub(super) const TABLE: &[Entry] = &[
    entry(
        "format.named",
        Charge::One,
        named,
        &["format-named: (string) -> optional(kubernetes.NamedFormat)"],
    ),
    entry(
        "validate",
        Charge::Validate,
        validate,
        &["format-validate: kubernetes.NamedFormat.(string) -> optional(list(string))"],
    ),
    entry(
        "format.dns1123Label",
        Charge::One,
        |_, _| constant(0),
        &["format.dns1123Label: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.dns1123Subdomain",
        Charge::One,
        |_, _| constant(1),
        &["format.dns1123Subdomain: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.dns1035Label",
        Charge::One,
        |_, _| constant(2),
        &["format.dns1035Label: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.qualifiedName",
        Charge::One,
        |_, _| constant(3),
        &["format.qualifiedName: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.dns1123LabelPrefix",
        Charge::One,
        |_, _| constant(4),
        &["format.dns1123LabelPrefix: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.dns1123SubdomainPrefix",
        Charge::One,
        |_, _| constant(5),
        &["format.dns1123SubdomainPrefix: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.dns1035LabelPrefix",
        Charge::One,
        |_, _| constant(6),
        &["format.dns1035LabelPrefix: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.labelValue",
        Charge::One,
        |_, _| constant(7),
        &["format.labelValue: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.uri",
        Charge::One,
        |_, _| constant(8),
        &["format.uri: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.uuid",
        Charge::One,
        |_, _| constant(9),
        &["format.uuid: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.byte",
        Charge::One,
        |_, _| constant(10),
        &["format.byte: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.date",
        Charge::One,
        |_, _| constant(11),
        &["format.date: () -> kubernetes.NamedFormat"],
    ),
    entry(
        "format.datetime",
        Charge::One,
        |_, _| constant(12),
        &["format.datetime: () -> kubernetes.NamedFormat"],
    ),
];

/// A named format.
#[derive(Debug)]
pub(crate) struct Format {
    /// What expressions call it.
    called: &'static str,
    /// What it calls itself.
    pub(crate) name: &'static str,
    /// The length of the pattern that its cost is figured with.
    pub(crate) pattern_size: u64,
    check: fn(&str) -> Vec<String>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.called == other.called
    }
}

static FORMATS: [Format; 13] = [
    Format {
        called: "dns1123Label",
        name: "DNS1123Label",
        pattern_size: 30,
        check: dns1123_label,
    },
    Format {
        called: "dns1123Subdomain",
        name: "DNS1123Subdomain",
        pattern_size: 60,
        check: dns1123_subdomain,
    },
    Format {
        called: "dns1035Label",
        name: "DNS1035Label",
        pattern_size: 30,
        check: dns1035_label,
    },
    Format {
        called: "qualifiedName",
        name: "QualifiedName",
        pattern_size: 60,
        check: qualified_name,
    },
    Format {
        called: "dns1123LabelPrefix",
        name: "DNS1123LabelPrefix",
        pattern_size: 30,
        check: |text| dns1123_label(&prefix(text)),
    },
    Format {
        called: "dns1123SubdomainPrefix",
        name: "DNS1123SubdomainPrefix",
        pattern_size: 60,
        check: |text| dns1123_subdomain(&prefix(text)),
    },
    Format {
        called: "dns1035LabelPrefix",
        name: "DNS1035LabelPrefix",
        pattern_size: 30,
        check: |text| dns1035_label(&prefix(text)),
    },
    Format {
        called: "labelValue",
        name: "LabelValue",
        pattern_size: 40,
        check: label_value,
    },
    Format {
        called: "uri",
        name: "URI",
        pattern_size: 1103,
        check: uri,
    },
    Format {
        called: "uuid",
        name: "uuid",
        pattern_size: 81,
        check: uuid,
    },
    Format {
        called: "byte",
        name: "byte",
        pattern_size: 84,
        check: byte,
    },
    Format {
        called: "date",
        name: "date",
        pattern_size: 74,
        check: date,
    },
    Format {
        called: "datetime",
        name: "datetime",
        pattern_size: 74,
        check: datetime,
    },
];

fn constant<'a>(place: usize) -> Evaluated<Val<'a>> {
    Ok(Val::opaque(Opaque::Format(&FORMATS[place])))
}

fn named<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(name)] = arguments else {
        return Err(Stop::no_overload());
    };
    let found = FORMATS.iter().find(|format| format.called == name.as_str());
    Ok(found.map_or(Val::Optional(None), |format| {
        Val::some(Val::opaque(Opaque::Format(format)))
    }))
}

fn validate<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Opaque(opaque), Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    let Opaque::Format(format) = &**opaque else {
        return Err(Stop::no_overload());
    };
    machine.allocate(text.as_str().len().saturating_mul(2).saturating_add(1024))?;
    let wrong = (format.check)(text.as_str());
    Ok(if wrong.is_empty() {
        Val::Optional(None)
    } else {
        Val::some(Val::list(wrong.into_iter().map(Val::text).collect()))
    })
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// Whether a whole text is of a pattern, which is compiled once.
macro_rules! is {
    ($pattern:expr, $text:expr) => {{
        static COMPILED: OnceLock<Option<Regex>> = OnceLock::new();
        COMPILED
            .get_or_init(|| Regex::new(&format!("^({})$", $pattern)).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match($text))
    }};
}

fn too_long(text: &str, most: usize, what: &str) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} {what}"))
}

fn must(rule: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples
        .iter()
        .map(|example| format!("'{example}', "))
        .collect();
    format!(
        "{rule} (e.g. {}regex used for validation is '{pattern}')",
        examples.join(" or ")
    )
}

fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::from_iter(too_long(text, 63, "characters"));
    if !is!(LABEL, text) {
        wrong.push(if is!(SUBDOMAIN, text) {
            "must not contain dots".to_owned()
        } else {
            must(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

fn dns1123_subdomain(text: &str) -> Vec<String> {
    subdomain(text, "characters")
}

/// Upstream has two of these, which count what they call differently.
fn subdomain(text: &str, what: &str) -> Vec<String> {
    let mut wrong = Vec::from_iter(too_long(text, 253, what));
    if !is!(SUBDOMAIN, text) {
        wrong.push(must(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN,
            &["example.com"],
        ));
    }
    wrong
}

fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::from_iter(too_long(text, 63, "characters"));
    if !is!(LABEL_1035, text) {
        wrong.push(must(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

fn qualified_name(text: &str) -> Vec<String> {
    let key_rule = || {
        must(
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            KEY,
            &["MyName", "my.name", "123-abc"],
        )
    };
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        ["", name] => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        [domain, name] => {
            wrong.extend(
                subdomain(domain, "bytes")
                    .into_iter()
                    .map(|why| format!("prefix part {why}")),
            );
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                key_rule()
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if let Some(why) = too_long(name, 63, "bytes") {
        wrong.push(format!("name part {why}"));
    }
    if !is!(KEY, name) {
        wrong.push(format!("name part {}", key_rule()));
    }
    wrong
}

fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::from_iter(too_long(text, 63, "bytes"));
    if !is!(VALUE, text) {
        wrong.push(must(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A prefix may end with a dash: it stands for the name that it will begin.
fn prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(before) if !before.is_empty() => {
            let mut end = before.len() - 1;
            while !before.is_char_boundary(end) {
                end -= 1;
            }
            format!("{}a", &before[..end])
        }
        _ => text.to_owned(),
    }
}

fn unless(valid: bool, why: &str) -> Vec<String> {
    if valid {
        Vec::new()
    } else {
        vec![why.to_owned()]
    }
}

fn uri(text: &str) -> Vec<String> {
    super::urls::is_request_uri(text)
        .err()
        .into_iter()
        .collect()
}

fn uuid(text: &str) -> Vec<String> {
    unless(
        is!(
            "(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}",
            text
        ),
        "does not match the UUID format",
    )
}

fn byte(text: &str) -> Vec<String> {
    unless(
        !text.is_empty()
            && base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok(),
        "invalid base64",
    )
}

fn date(text: &str) -> Vec<String> {
    unless(crate::time::parse_date(text).is_some(), "invalid date")
}

fn datetime(text: &str) -> Vec<String> {
    unless(crate::time::is_date_time(text), "invalid datetime")
}
