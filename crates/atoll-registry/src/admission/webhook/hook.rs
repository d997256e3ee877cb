//! One webhook of a configuration, compiled: what it is about, and where it is.

use std::time::Duration;

use atoll_kube::{Status, meta};
use base64::Engine as _;
use serde_json::Value;

use super::review::{Asked, review};
use crate::admission::matching::Matcher;
use crate::admission::policy::{
    Condition, Inputs, Offers, compile_conditions, conditions_hold, list, text,
};
use crate::admission::request::Request;

/// Where a webhook answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub place: Place,
    /// PEM of the authorities its certificate must be of; `None`: those that the system trusts.
    pub ca: Option<Vec<u8>>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An URL.
    Url(String),
    /// A Service of the same cluster: name, namespace, port, path.
    Service {
        /// Name.
        name: String,
        /// Namespace.
        namespace: String,
        /// Port.
        port: u16,
        /// Path, with the slash.
        path: String,
    },
}

/// One webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(super) name: String,
    matcher: Matcher,
    conditions: Vec<Condition>,
    /// That it cannot be asked refuses the request.
    pub(super) fails: bool,
    /// It may be asked about dry runs.
    pub(super) dry: bool,
    pub(super) reinvoked: bool,
    pub(super) timeout: Duration,
    pub(super) endpoint: Result<Endpoint, String>,
    versions: Vec<String>,
}

/// What match conditions may spend before they are moved out of the way of others.
const AT_ONCE: u64 = 50_000;

/// All they may spend.
const WHOLE: u64 = 2_500_000;

impl Hook {
    /// The webhooks of configurations, in the order of their names.
    pub(crate) fn compile_all(configurations: &[Value]) -> Vec<Self> {
        let mut all: Vec<&Value> = configurations.iter().collect();
        all.sort_by_key(|c| meta::name(c).to_owned());
        all.into_iter()
            .flat_map(|c| list(c, "webhooks").iter().map(Self::compile))
            .collect()
    }

    fn compile(written: &Value) -> Self {
        let seconds = written.get("timeoutSeconds").and_then(Value::as_u64);
        let offers = Offers {
            params: false,
            authorizer: true,
        };
        Self {
            name: text(written, "name").to_owned(),
            matcher: Matcher::of_webhook(written),
            conditions: compile_conditions(list(written, "matchConditions"), offers),
            fails: text(written, "failurePolicy") != "Ignore",
            dry: matches!(text(written, "sideEffects"), "None" | "NoneOnDryRun"),
            reinvoked: text(written, "reinvocationPolicy") == "IfNeeded",
            timeout: Duration::from_secs(seconds.unwrap_or(10).clamp(1, 30)),
            endpoint: endpoint(&written["clientConfig"]),
            versions: list(written, "admissionReviewVersions")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// What to ask of it about a request; `None` where it is not about it.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<Option<Asked>, Status> {
        let matched = self.matcher.matches(request);
        // A selector of namespaces needs the object's, which is gone.
        let gone = |_| {
            let namespaces = atoll_kube::GroupResource::new("", "namespaces");
            Status::not_found(&namespaces, request.namespace())
        };
        let Some(version) = matched.map_err(gone)? else {
            return Ok(None);
        };
        if !self.conditions.is_empty() {
            let inputs = Inputs::new(request, &version);
            let bindings = inputs.bindings(None);
            let holds = crate::aside::twice(AT_ONCE, WHOLE, |budget| {
                let holds = conditions_hold(&self.conditions, &bindings, budget);
                let exhausted = holds.as_ref().is_err_and(|failure| failure.is_budget());
                (holds, exhausted)
            });
            match holds {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(failure) if self.fails => {
                    let resource = request.definition().group_resource();
                    return Err(Status::forbidden(
                        &resource,
                        request.name(),
                        failure.words(),
                    ));
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(review(request, &version, &self.versions)))
    }
}

pub(super) fn endpoint(config: &Value) -> Result<Endpoint, String> {
    let ca = match text(config, "caBundle") {
        "" => None,
        bundle => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(bundle);
            Some(decoded.map_err(|e| format!("could not get REST client: caBundle: {e}"))?)
        }
    };
    let service = &config["service"];
    let place = if service.is_object() {
        let path = text(service, "path").trim_start_matches('/');
        Place::Service {
            name: text(service, "name").to_owned(),
            namespace: text(service, "namespace").to_owned(),
            port: service["port"]
                .as_u64()
                .and_then(|p| u16::try_from(p).ok())
                .unwrap_or(443),
            path: format!("/{path}"),
        }
    } else {
        Place::Url(text(config, "url").to_owned())
    };
    Ok(Endpoint { place, ca })
}
