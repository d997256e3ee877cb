//! What can be done with a kind, as paths and operations, independent of the OpenAPI version.

use serde_json::{Map, Value, json};

use super::components;
use crate::builtin::{API_RESOURCE_LIST, DELETE_OPTIONS, PATCH, SCALE, STATUS, component_of};
use crate::definition::{Definition, Source, Verb, VersionDef};
use crate::discovery::GroupVersion;

/// A parameter in the path or the query.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) ty: &'static str,
    pub(super) in_path: bool,
}

const fn query(name: &'static str, ty: &'static str) -> Parameter {
    Parameter {
        name,
        ty,
        in_path: false,
    }
}

const NAME: Parameter = Parameter {
    name: "name",
    ty: "string",
    in_path: true,
};
const NAMESPACE: Parameter = Parameter {
    name: "namespace",
    ty: "string",
    in_path: true,
};
const PRETTY: Parameter = query("pretty", "string");

const LIST: [Parameter; 10] = [
    query("allowWatchBookmarks", "boolean"),
    query("continue", "string"),
    query("fieldSelector", "string"),
    query("labelSelector", "string"),
    query("limit", "integer"),
    query("resourceVersion", "string"),
    query("resourceVersionMatch", "string"),
    query("sendInitialEvents", "boolean"),
    query("timeoutSeconds", "integer"),
    query("watch", "boolean"),
];
const WRITE: [Parameter; 3] = [
    query("dryRun", "string"),
    query("fieldManager", "string"),
    query("fieldValidation", "string"),
];
const APPLY: [Parameter; 4] = [
    query("dryRun", "string"),
    query("fieldManager", "string"),
    query("fieldValidation", "string"),
    query("force", "boolean"),
];
const DELETE: [Parameter; 4] = [
    query("dryRun", "string"),
    query("gracePeriodSeconds", "integer"),
    query("orphanDependents", "boolean"),
    query("propagationPolicy", "string"),
];

/// Bodies of plain writes.
const OBJECTS: &[&str] = &["application/json", "application/yaml"];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A path with what it takes.
pub(super) struct PathItem {
    pub(super) path: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) operations: Vec<Operation>,
}

impl PathItem {
    /// The path and what it takes, for a document's `paths`; how an operation and a parameter are told differs from version
    /// to version of OpenAPI.
    pub(super) fn show(
        &self,
        operation: fn(&Operation) -> Value,
        parameter: fn(&Parameter) -> Value,
    ) -> (String, Value) {
        let mut fields = Map::new();
        for o in &self.operations {
            let mut value = operation(o);
            o.extend(&mut value);
            fields.insert(o.method.to_owned(), value);
        }
        if !self.parameters.is_empty() {
            let all = self.parameters.iter().map(parameter);
            fields.insert("parameters".to_owned(), all.collect());
        }
        (self.path.clone(), Value::Object(fields))
    }
}

/// One operation on a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    /// `x-kubernetes-action`; discovery has none.
    pub(super) action: Option<&'static str>,
    /// Group, version, kind of what it is about.
    pub(super) gvk: Option<(String, String, String)>,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    /// Status code and meaning.
    pub(super) codes: &'static [(&'static str, &'static str)],
    /// The component of the answer.
    pub(super) answer: String,
    /// The answer may be a stream of events.
    pub(super) watchable: bool,
}

impl Operation {
    /// What every version tells alike: the answer to strangers, and Kubernetes' extensions.
    fn extend(&self, value: &mut Value) {
        value["responses"]["401"] = json!({ "description": "Unauthorized" });
        if let Some(action) = self.action {
            value["x-kubernetes-action"] = action.into();
        }
        if let Some((group, version, kind)) = &self.gvk {
            value["x-kubernetes-group-version-kind"] =
                json!({ "group": group, "version": version, "kind": kind });
        }
    }
}

/// What a request carries.
pub(super) struct Body {
    pub(super) content_types: &'static [&'static str],
    pub(super) component: String,
    pub(super) required: bool,
}

const OK: &[(&str, &str)] = &[("200", "OK")];
const CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const ACCEPTED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];
const CREATED_OR_ACCEPTED: &[(&str, &str)] =
    &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];

/// Every path of a group version.
pub(super) fn of_group_version(group: &str, version: &GroupVersion<'_>) -> Vec<PathItem> {
    let base = format!("/{}", super::document_path(group, version.name));
    let tag = tag(group, version.name);
    let mut paths = vec![PathItem {
        path: format!("{base}/"),
        parameters: Vec::new(),
        operations: vec![Operation {
            method: "get",
            id: format!("get{}APIResources", camel(group, version.name)),
            tag: tag.clone(),
            action: None,
            gvk: None,
            parameters: &[],
            body: None,
            codes: OK,
            answer: API_RESOURCE_LIST.to_owned(),
            watchable: false,
        }],
    }];
    for (definition, v) in &version.resources {
        let kind = Kind {
            definition,
            version: v,
            base: &base,
            tag: &tag,
            prefix: camel(group, version.name),
        };
        kind.paths(&mut paths);
    }
    paths
}

struct Kind<'a> {
    definition: &'a Definition,
    version: &'a VersionDef,
    base: &'a str,
    tag: &'a str,
    /// `AppsV1`
    prefix: String,
}

impl Kind<'_> {
    fn paths(&self, paths: &mut Vec<PathItem>) {
        let (base, plural) = (self.base, &self.definition.names.plural);
        let namespaced = self.definition.namespaced();
        let mut fixed = Vec::new();
        let collection = if namespaced {
            fixed.push(NAMESPACE);
            format!("{base}/namespaces/{{namespace}}/{plural}")
        } else {
            format!("{base}/{plural}")
        };
        let item = format!("{collection}/{{name}}");
        let mut named = vec![NAME];
        named.append(&mut fixed.clone());
        if namespaced && self.definition.allows(Verb::List) {
            let mut all = LIST.to_vec();
            all.push(PRETTY);
            let mut list = self.list();
            list.parameters = &[];
            list.id = format!("list{}{}ForAllNamespaces", self.prefix, self.kind());
            push(paths, format!("{base}/{plural}"), all, vec![list]);
        }
        fixed.push(PRETTY);
        named.push(PRETTY);
        push(paths, collection, fixed, self.on_collection());
        push(paths, item.clone(), named.clone(), self.on_item());
        let subresources = &self.version.subresources;
        if subresources.status {
            let own = components::name(self.definition, self.version);
            let all = self.sub("status", &own, None, &["get", "update", "patch"]);
            push(paths, format!("{item}/status"), named.clone(), all);
        }
        if subresources.scale.is_some() {
            let gvk = (self.definition.source == Source::Builtin).then(|| {
                (
                    "autoscaling".to_owned(),
                    "v1".to_owned(),
                    "Scale".to_owned(),
                )
            });
            let all = self.sub("scale", SCALE, gvk, &["get", "update", "patch"]);
            push(paths, format!("{item}/scale"), named.clone(), all);
        }
        for extra in &subresources.others {
            let Some(component) = component_of(&extra.group, &extra.version, &extra.kind) else {
                continue;
            };
            let verbs: Vec<&str> = extra.verbs.iter().map(|v| v.as_str()).collect();
            let gvk = (
                extra.group.clone(),
                extra.version.clone(),
                extra.kind.clone(),
            );
            let all = self.sub(&extra.name, component, Some(gvk), &verbs);
            push(paths, format!("{item}/{}", extra.name), named.clone(), all);
        }
    }

    fn kind(&self) -> &str {
        &self.definition.names.kind
    }

    fn on_collection(&self) -> Vec<Operation> {
        let has = |verb| self.definition.allows(verb);
        let mut all = Vec::new();
        if has(Verb::List) {
            all.push(self.list());
        }
        if has(Verb::Create) {
            all.push(Operation {
                body: self.object_body(),
                parameters: &WRITE,
                codes: CREATED_OR_ACCEPTED,
                ..self.operation("post", "create", "post", "")
            });
        }
        if has(Verb::DeleteCollection) {
            all.push(Operation {
                id: format!(
                    "delete{}Collection{}{}",
                    self.prefix,
                    self.scope(),
                    self.kind()
                ),
                parameters: &LIST,
                body: delete_body(),
                answer: STATUS.to_owned(),
                ..self.operation("delete", "delete", "deletecollection", "")
            });
        }
        all
    }

    fn on_item(&self) -> Vec<Operation> {
        let has = |verb| self.definition.allows(verb);
        let mut all = Vec::new();
        if has(Verb::Get) {
            all.push(self.operation("get", "read", "get", ""));
        }
        if has(Verb::Update) {
            all.push(Operation {
                body: self.object_body(),
                parameters: &WRITE,
                codes: CREATED,
                ..self.operation("put", "replace", "put", "")
            });
        }
        if has(Verb::Delete) {
            all.push(Operation {
                parameters: &DELETE,
                body: delete_body(),
                codes: ACCEPTED,
                answer: STATUS.to_owned(),
                ..self.operation("delete", "delete", "delete", "")
            });
        }
        if has(Verb::Patch) {
            all.push(self.patch(""));
        }
        all
    }

    fn sub(
        &self,
        name: &str,
        component: &str,
        gvk: Option<(String, String, String)>,
        verbs: &[&str],
    ) -> Vec<Operation> {
        let suffix = capitalized(name);
        let body = || {
            Some(Body {
                content_types: OBJECTS,
                component: component.to_owned(),
                required: true,
            })
        };
        let made = verbs.iter().filter_map(|verb| match *verb {
            "get" => Some(self.operation("get", "read", "get", &suffix)),
            "update" => Some(Operation {
                body: body(),
                parameters: &WRITE,
                codes: CREATED,
                ..self.operation("put", "replace", "put", &suffix)
            }),
            "create" => Some(Operation {
                body: body(),
                parameters: &WRITE,
                codes: CREATED_OR_ACCEPTED,
                ..self.operation("post", "create", "post", &suffix)
            }),
            "patch" => Some(self.patch(&suffix)),
            _ => None,
        });
        let about = |operation: Operation| Operation {
            answer: component.to_owned(),
            gvk: gvk.clone().or(operation.gvk),
            ..operation
        };
        made.map(about).collect()
    }

    fn operation(
        &self,
        method: &'static str,
        verb: &str,
        action: &'static str,
        suffix: &str,
    ) -> Operation {
        Operation {
            method,
            id: format!(
                "{verb}{}{}{}{suffix}",
                self.prefix,
                self.scope(),
                self.kind()
            ),
            tag: self.tag.to_owned(),
            action: Some(action),
            gvk: Some((
                self.definition.group.clone(),
                self.version.name.clone(),
                self.kind().to_owned(),
            )),
            parameters: &[],
            body: None,
            codes: OK,
            answer: components::name(self.definition, self.version),
            watchable: false,
        }
    }

    fn list(&self) -> Operation {
        Operation {
            parameters: &LIST,
            answer: components::list_name(self.definition, self.version),
            watchable: self.definition.allows(Verb::Watch),
            ..self.operation("get", "list", "list", "")
        }
    }

    fn patch(&self, suffix: &str) -> Operation {
        // Custom resources have no strategic merge patch.
        let own = components::is_kubernetes(self.version);
        Operation {
            parameters: &APPLY,
            body: Some(Body {
                content_types: if own { PATCHES } else { &PATCHES[..3] },
                component: PATCH.to_owned(),
                required: true,
            }),
            codes: CREATED,
            ..self.operation("patch", "patch", "patch", suffix)
        }
    }

    fn object_body(&self) -> Option<Body> {
        Some(Body {
            content_types: OBJECTS,
            component: components::name(self.definition, self.version),
            required: true,
        })
    }

    fn scope(&self) -> &'static str {
        if self.definition.namespaced() {
            "Namespaced"
        } else {
            ""
        }
    }
}

fn delete_body() -> Option<Body> {
    Some(Body {
        content_types: OBJECTS,
        component: DELETE_OPTIONS.to_owned(),
        required: false,
    })
}

fn push(
    paths: &mut Vec<PathItem>,
    path: String,
    parameters: Vec<Parameter>,
    operations: Vec<Operation>,
) {
    if !operations.is_empty() {
        paths.push(PathItem {
            path,
            parameters,
            operations,
        });
    }
}

/// `apps_v1`, `rbacAuthorization_v1`, `exampleDev_v1`.
fn tag(group: &str, version: &str) -> String {
    let name = words(group);
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    let lower: String = first.into_iter().chain(letters).collect();
    format!("{lower}_{version}")
}

/// `AppsV1`, `RbacAuthorizationV1`, `ExampleDevV1`.
fn camel(group: &str, version: &str) -> String {
    format!("{}{}", words(group), capitalized(version))
}

fn words(group: &str) -> String {
    let short = group.strip_suffix(".k8s.io").unwrap_or(group);
    let short = if short.is_empty() { "core" } else { short };
    let words = short.split(['.', '-']).map(capitalized);
    words.collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
