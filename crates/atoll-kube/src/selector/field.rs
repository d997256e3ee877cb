//! Field selectors: `metadata.name=a,status.phase!=Running`, with `\` before `,`, `=` and `\` in values.
//!
//! Which fields a kind offers is not known here; the caller looks values up.

use std::borrow::Cow;
use std::fmt;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// `metadata.name`
    pub field: String,
    /// Compared with.
    pub value: String,
    /// `!=`
    pub negated: bool,
}

/// A conjunction of conditions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FieldSelector {
    /// All must hold. Sorted as Kubernetes sorts them.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses `a=b,c!=d`; the error is Kubernetes' text.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut terms = split_terms(query);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|t| !t.is_empty()) {
            let (field, negated, value) = split_term(term)
                .ok_or_else(|| format!("invalid selector: '{query}'; can't understand '{term}'"))?;
            if field.is_empty() && value.is_empty() {
                continue; // says nothing
            }
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value)?,
                negated,
            });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects an object whose fields (absent ones are empty) are looked up by `field`.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Cow<'a, str>) -> bool {
        self.requirements
            .iter()
            .all(|r| (field(&r.field) == r.value.as_str()) != r.negated)
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that `field` must equal, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| !r.negated && r.field == field)
            .map(|r| r.value.as_str())
    }
}

fn split_terms(query: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, c) in query.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&query[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&query[start..]);
    terms
}

/// Field, negated, escaped value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term
        .char_indices()
        .find(|(i, c)| *c == '=' || term[*i..].starts_with("!="))?
        .0;
    let (field, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((field, true, value));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((field, false, value))
}

fn unescape(value: &str) -> Result<String, String> {
    const WHAT: &str = "invalid field selector:";
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("{WHAT} invalid escape sequence: \\{c}")),
                None => return Err(format!("{WHAT} invalid escape sequence: \\")),
            },
            ',' | '=' => return Err(format!("{WHAT} unescaped character in value: {}", c as u32)),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace('=', "\\=")
}

/// The query string that parses to this selector.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if r.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", r.field, escape(&r.value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors_parse_as_kubernetes_parses_them() {
        let check = |query: &str, expected: Result<&str, &str>| {
            let found = FieldSelector::parse(query).map(|s| s.to_string());
            assert_eq!(
                found,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{query}"
            );
        };
        check("", Ok(""));
        check("b=x,a==y", Ok("a=y,b=x"));
        check("a!=x,", Ok("a!=x"));
        check(r"a=x\,y\=z\\", Ok(r"a=x\,y\=z\\"));
        check("a", Err("invalid selector: 'a'; can't understand 'a'"));
        check(
            "a=b=c",
            Err("invalid field selector: unescaped character in value: 61"),
        );
        check(
            r"a=\b",
            Err(r"invalid field selector: invalid escape sequence: \b"),
        );
        check(
            r"a=b\",
            Err(r"invalid field selector: invalid escape sequence: \"),
        );
    }

    #[test]
    fn absent_fields_are_empty() {
        let check = |query: &str, expected: bool| {
            let selector = FieldSelector::parse(query).unwrap();
            let found =
                selector.matches(|f| Cow::Borrowed(if f == "metadata.name" { "web" } else { "" }));
            assert_eq!(found, expected, "{query}");
        };
        check("metadata.name=web", true);
        check("metadata.name!=web", false);
        check("metadata.name=web,spec.x=", true);
        check("spec.x!=a", true);
        assert_eq!(
            FieldSelector::parse("metadata.name=web")
                .unwrap()
                .exact("metadata.name"),
            Some("web")
        );
    }
}
