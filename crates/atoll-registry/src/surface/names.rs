//! Whether the names a CustomResourceDefinition asks for are free in its logical cluster.

use atoll_kube::{
    Definition,
    definition::{Names, NamesAccepted},
};

use super::Surface;

/// Compares `wanted` with every other definition of its group. Built-in definitions came first, whatever their age.
pub(super) fn accept(surface: &Surface, wanted: &Definition) -> NamesAccepted {
    // A local one with the same plural is this very CRD, as it was.
    let local = surface
        .local()
        .iter()
        .map(|e| &e.definition)
        .filter(|d| d.names.plural != wanted.names.plural);
    for other in surface
        .base
        .definitions
        .iter()
        .chain(local)
        .filter(|d| d.group == wanted.group)
    {
        if let Some((reason, message)) = clash(&wanted.names, &other.names) {
            return NamesAccepted::No {
                reason: reason.into(),
                message,
            };
        }
    }
    NamesAccepted::Yes
}

fn clash(wanted: &Names, taken: &Names) -> Option<(&'static str, String)> {
    let resources: Vec<&str> = [taken.plural.as_str(), taken.singular.as_str()]
        .into_iter()
        .chain(taken.short_names.iter().map(String::as_str))
        .filter(|n| !n.is_empty())
        .collect();
    let kinds = [taken.kind.as_str(), taken.list_kind.as_str()];
    let used = |name: &str| format!("{name:?} is already in use");
    if resources.contains(&wanted.plural.as_str()) {
        return Some(("PluralConflict", used(&wanted.plural)));
    }
    if resources.contains(&wanted.singular.as_str()) {
        return Some(("SingularConflict", used(&wanted.singular)));
    }
    if let Some(short) = wanted
        .short_names
        .iter()
        .find(|s| resources.contains(&s.as_str()))
    {
        return Some(("ShortNamesConflict", used(short)));
    }
    if kinds.contains(&wanted.kind.as_str()) {
        return Some(("KindConflict", used(&wanted.kind)));
    }
    if kinds.contains(&wanted.list_kind.as_str()) {
        return Some(("ListKindConflict", used(&wanted.list_kind)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, singular: &str, kind: &str, short: &[&str]) -> Names {
        Names {
            plural: plural.into(),
            singular: singular.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short_names: short.iter().map(|s| (*s).into()).collect(),
            categories: Vec::new(),
        }
    }

    #[test]
    fn each_name_may_clash_and_says_which() {
        let taken = names("widgets", "widget", "Widget", &["wd"]);
        let check = |wanted: Names, expected: Option<&str>| {
            assert_eq!(clash(&wanted, &taken).map(|c| c.0), expected, "{wanted:?}");
        };
        check(names("gadgets", "gadget", "Gadget", &["gd"]), None);
        check(
            names("widgets", "gadget", "Gadget", &[]),
            Some("PluralConflict"),
        );
        check(
            names("gadgets", "widget", "Gadget", &[]),
            Some("SingularConflict"),
        );
        check(
            names("gadgets", "gadget", "Gadget", &["wd"]),
            Some("ShortNamesConflict"),
        );
        check(
            names("gadgets", "gadget", "Widget", &[]),
            Some("KindConflict"),
        );
        check(
            names("gadgets", "gadget", "WidgetList", &[]),
            Some("KindConflict"),
        );
    }
}
