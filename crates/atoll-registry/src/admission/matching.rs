//! Whether a policy, binding or webhook is about a request. Pure.
//!
//! Resource rules first say which requests; then selectors of the namespace and of the object narrow them down.

use atoll_kube::LabelSelector;
use serde_json::Value;

use super::request::{Action, Request};

/// One rule: operations on resources.
#[derive(Clone, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

/// What something is about.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    /// `None`: no rules, which means everything.
    include: Option<Vec<Rule>>,
    exclude: Vec<Rule>,
    /// Only the version that the request names, not its equivalents.
    exact: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn rules(list: Option<&Value>) -> Vec<Rule> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.map(|rule| Rule {
        operations: texts(rule, "operations"),
        groups: texts(rule, "apiGroups"),
        versions: texts(rule, "apiVersions"),
        resources: texts(rule, "resources"),
        names: texts(rule, "resourceNames"),
        scope: rule
            .get("scope")
            .and_then(Value::as_str)
            .unwrap_or("*")
            .to_owned(),
    })
    .collect()
}

fn selector(value: &Value, name: &str) -> LabelSelector {
    match value.get(name) {
        None | Some(Value::Null) => LabelSelector::everything(),
        Some(selector) => {
            LabelSelector::from_value(selector, "").unwrap_or_else(|_| LabelSelector::nothing())
        }
    }
}

impl Matcher {
    /// From `MatchResources`: what a policy or a binding writes.
    pub(crate) fn of_policy(written: &Value) -> Self {
        let include = rules(written.get("resourceRules"));
        Self {
            include: (!include.is_empty()).then_some(include),
            exclude: rules(written.get("excludeResourceRules")),
            exact: written.get("matchPolicy").and_then(Value::as_str) == Some("Exact"),
            namespaces: selector(written, "namespaceSelector"),
            objects: selector(written, "objectSelector"),
        }
    }

    /// From one webhook of a configuration.
    pub(crate) fn of_webhook(written: &Value) -> Self {
        Self {
            include: Some(rules(written.get("rules"))),
            exclude: Vec::new(),
            ..Self::of_policy(written)
        }
    }

    /// The version at which the request is to be shown; `None` where this is not about it. The error is that the namespace, which a
    /// selector needs, cannot be had.
    pub(crate) fn matches(&self, request: &Request<'_>) -> Result<Option<String>, String> {
        let excluded = |rules: &[Rule]| version(rules, self.exact, request).is_some();
        if excluded(&self.exclude) {
            return Ok(None);
        }
        let version = match &self.include {
            None => Some(request.version().to_owned()),
            Some(rules) => version(rules, self.exact, request),
        };
        let Some(version) = version else {
            return Ok(None);
        };
        let object = !self.objects.is_everything();
        if object && !self.selects_object(request) {
            return Ok(None);
        }
        Ok(self.selects_namespace(request)?.then_some(version))
    }

    fn selects_object(&self, request: &Request<'_>) -> bool {
        let selects =
            |object: Option<&Value>| object.is_some_and(|o| self.objects.matches_object(o));
        selects(request.object) || selects(request.old)
    }

    fn selects_namespace(&self, request: &Request<'_>) -> Result<bool, String> {
        if self.namespaces.is_everything() {
            return Ok(true);
        }
        if request.is_namespace() {
            let shown = request.object.filter(|_| request.action != Action::Delete);
            let object = shown.or(request.old);
            return Ok(object.is_some_and(|o| self.namespaces.matches_object(o)));
        }
        match request.namespace_object()? {
            None => Ok(true),
            Some(namespace) => Ok(self.namespaces.matches_object(namespace)),
        }
    }
}

/// The version of the resource that the rules name: the request's own, or one that is equivalent.
fn version(rules: &[Rule], exact: bool, request: &Request<'_>) -> Option<String> {
    let own = request.version();
    if rules.iter().any(|rule| rule.matches(request, own)) {
        return Some(own.to_owned());
    }
    if exact {
        return None;
    }
    let mut others = request
        .definition()
        .served_versions()
        .map(|v| v.name.as_str());
    others
        .find(|other| rules.iter().any(|rule| rule.matches(request, other)))
        .map(str::to_owned)
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    fn matches(&self, request: &Request<'_>, version: &str) -> bool {
        let namespaced = !request.namespace().is_empty() && !request.is_namespace();
        let resource = |written: &String| {
            let (resource, sub) = written.split_once('/').unwrap_or((written, ""));
            (resource == "*" || resource == request.resource())
                && (sub == "*" || sub == request.subresource.unwrap_or_default())
        };
        let scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, request.action.as_str())
            && has(&self.groups, &request.definition().group)
            && has(&self.versions, version)
            && self.resources.iter().any(resource)
            && (self.names.is_empty() || self.names.iter().any(|n| n == request.name()))
    }
}
