//! Asking what the request's user, or a service account, may do.
//!
//! The functions build a [`Question`] part by part; `check` puts it to the caller's [`Authorizer`]. A check costs so much that an expression can afford two.

use std::fmt;
use std::sync::Arc;

use super::opaque::{AUTHORIZER, GROUP_CHECK, Opaque, PATH_CHECK, RESOURCE_CHECK};
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{Text, Val};

/// Decides for an expression. It must answer at once.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether what is asked is allowed.
    fn check(&self, question: &Question) -> Answer;
}

/// What an expression asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name of the service account asked about; `None`: the user of the request.
    pub service_account: Option<(String, String)>,
    /// The path, where the question is not about a resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// As lists take it.
    pub field_selector: String,
    /// As lists take it.
    pub label_selector: String,
    /// What is to be done.
    pub verb: String,
}

/// What an authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Allowed, without doubt.
    pub allowed: bool,
    /// Why, where there is something to say.
    pub reason: String,
    /// What went wrong in deciding.
    pub error: Option<String>,
}

/// An authorizer, and what was asked of it so far.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) door: Arc<dyn Authorizer>,
    pub(crate) question: Question,
    /// Which of the steps of asking it stands at: the name of its type.
    pub(crate) step: &'static str,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Asked) -> bool {
        Arc::ptr_eq(&self.door, &other.door)
            && self.question == other.question
            && self.step == other.step
    }
}

pub(super) const TABLE: &[Entry] = &[
    entry(
        "path",
        Charge::One,
        path,
        &[
            "authorizer_path: kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck",
        ],
    ),
    entry(
        "group",
        Charge::One,
        group,
        &[
            "authorizer_group: kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck",
        ],
    ),
    entry(
        "serviceAccount",
        Charge::One,
        service_account,
        &[
            "authorizer_serviceaccount: kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer",
        ],
    ),
    entry(
        "resource",
        Charge::One,
        resource,
        &[
            "groupcheck_resource: kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "subresource",
        Charge::One,
        |_, arguments| narrowed(arguments, |q, text| q.subresource = text),
        &[
            "resourcecheck_subresource: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "namespace",
        Charge::One,
        |_, arguments| narrowed(arguments, |q, text| q.namespace = text),
        &[
            "resourcecheck_namespace: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "name",
        Charge::One,
        |_, arguments| narrowed(arguments, |q, text| q.name = text),
        &[
            "resourcecheck_name: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "fieldSelector",
        Charge::Selector,
        |_, arguments| narrowed(arguments, |q, text| q.field_selector = text),
        &[
            "authorizer_fieldselector: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "labelSelector",
        Charge::Selector,
        |_, arguments| narrowed(arguments, |q, text| q.label_selector = text),
        &[
            "authorizer_labelselector: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck",
        ],
    ),
    entry(
        "check",
        Charge::Authorize,
        check,
        &[
            "pathcheck_check: kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision",
            "resourcecheck_check: kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision",
        ],
    ),
    entry(
        "errored",
        Charge::One,
        |_, arguments| said(arguments, |answer| Val::Bool(answer.error.is_some())),
        &["decision_errored: kubernetes.authorization.Decision.() -> bool"],
    ),
    entry(
        "error",
        Charge::One,
        |_, arguments| {
            said(arguments, |answer| {
                shared(answer.error.as_deref().unwrap_or_default())
            })
        },
        &["decision_error: kubernetes.authorization.Decision.() -> string"],
    ),
    entry(
        "allowed",
        Charge::One,
        |_, arguments| said(arguments, |answer| Val::Bool(answer.allowed)),
        &["decision_allowed: kubernetes.authorization.Decision.() -> bool"],
    ),
    entry(
        "reason",
        Charge::One,
        |_, arguments| said(arguments, |answer| shared(&answer.reason)),
        &["decision_reason: kubernetes.authorization.Decision.() -> string"],
    ),
];

fn shared<'a>(text: &str) -> Val<'a> {
    Val::Text(Text::Shared(text.into()))
}

/// What is asked at a step, and a text to add to it.
fn asked(arguments: &[Val<'_>], step: &str) -> Evaluated<(Asked, String)> {
    match arguments {
        [Val::Opaque(opaque), Val::Text(text), ..] => match &**opaque {
            Opaque::Asked(asked) if asked.step == step => {
                Ok((asked.clone(), text.as_str().to_owned()))
            }
            _ => Err(Stop::no_overload()),
        },
        _ => Err(Stop::no_overload()),
    }
}

fn next<'a>(asked: Asked, step: &'static str) -> Evaluated<Val<'a>> {
    Ok(Val::opaque(Opaque::Asked(Asked { step, ..asked })))
}

fn path<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (mut asked, path) = asked(arguments, AUTHORIZER)?;
    if path.trim().is_empty() {
        return Err(Stop::fault("path must not be empty"));
    }
    asked.question.path = Some(path);
    next(asked, PATH_CHECK)
}

fn group<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (mut asked, group) = asked(arguments, AUTHORIZER)?;
    asked.question.group = group;
    next(asked, GROUP_CHECK)
}

fn resource<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (mut asked, resource) = asked(arguments, GROUP_CHECK)?;
    if resource.trim().is_empty() {
        return Err(Stop::fault("resource must not be empty"));
    }
    asked.question.resource = resource;
    next(asked, RESOURCE_CHECK)
}

fn service_account<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (mut asked, namespace) = asked(arguments, AUTHORIZER)?;
    let [_, _, Val::Text(name)] = arguments else {
        return Err(Stop::no_overload());
    };
    let name = name.as_str();
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        return Err(Stop::fault("Invalid service account name"));
    }
    if namespace.len() > 63 || !label(&namespace) {
        return Err(Stop::fault("Invalid service account namespace"));
    }
    asked.question.service_account = Some((namespace, name.to_owned()));
    next(asked, AUTHORIZER)
}

/// A part of a DNS name.
fn label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inner) && text.ends_with(inner) && text.chars().all(|c| inner(c) || c == '-')
}

fn narrowed<'a>(
    arguments: &[Val<'a>],
    narrow: impl FnOnce(&mut Question, String),
) -> Evaluated<Val<'a>> {
    let (mut asked, text) = asked(arguments, RESOURCE_CHECK)?;
    narrow(&mut asked.question, text);
    next(asked, RESOURCE_CHECK)
}

fn check<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (mut asked, verb) =
        asked(arguments, RESOURCE_CHECK).or_else(|_| asked(arguments, PATH_CHECK))?;
    asked.question.verb = verb;
    Ok(Val::opaque(Opaque::Decision(
        asked.door.check(&asked.question),
    )))
}

fn said<'a>(arguments: &[Val<'a>], say: impl FnOnce(&Answer) -> Val<'a>) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Opaque(opaque)] => match &**opaque {
            Opaque::Decision(answer) => Ok(say(answer)),
            _ => Err(Stop::no_overload()),
        },
        _ => Err(Stop::no_overload()),
    }
}
