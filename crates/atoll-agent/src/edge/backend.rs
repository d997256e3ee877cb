//! What intercepts other requests (admission webhooks, aggregated APIs) is made only once its backend can answer: made earlier, it would break
//! requests of others, and those that start the backend itself.

use std::collections::BTreeSet;

use atoll_wire::ErrorKind;
use serde_json::Value;

use super::{Edge, Refusal};

/// The Services, by namespace and name, that requests would go to once this object is there.
fn backends(object: &Value) -> BTreeSet<(String, String)> {
    let webhooks = object.get("webhooks").and_then(Value::as_array);
    let of_webhooks = webhooks
        .into_iter()
        .flatten()
        .filter_map(|webhook| webhook.pointer("/clientConfig/service"));
    // Only an APIService names its Service this way.
    let of_api = object
        .pointer("/spec/service")
        .filter(|_| object["kind"] == "APIService");
    of_webhooks
        .chain(of_api)
        .filter_map(|service| {
            Some((
                service["namespace"].as_str()?.to_owned(),
                service["name"].as_str()?.to_owned(),
            ))
        })
        .collect()
}

/// Whether any of a Service's EndpointSlices has an endpoint that answers. An unset `ready` counts as ready, as it does for kube-proxy.
fn has_ready_endpoint(slices: &Value) -> bool {
    slices["items"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .any(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)))
}

impl Edge {
    /// Refuses, for now, to make an object whose backend cannot answer yet.
    pub(super) async fn await_backend(&self, object: &Value) -> Result<(), Refusal> {
        for (namespace, name) in backends(object) {
            let service = self
                .client
                .find(&format!("/api/v1/namespaces/{namespace}/services/{name}"))
                .await?;
            // Where an external name leads, endpoints do not tell.
            if service.is_some_and(|s| s.pointer("/spec/type") == Some(&"ExternalName".into())) {
                continue;
            }
            let slices = self
                .client
                .get(&format!(
                    "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
                ))
                .await?;
            if !has_ready_endpoint(&slices) {
                return Err(Refusal::new(
                    ErrorKind::Waiting,
                    format!(
                        "waits until its backend, Service {namespace}/{name}, has a ready endpoint"
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn backends_are_found_where_each_kind_names_them() {
        let service = |name: &str| json!({"namespace": "shop", "name": name, "path": "/x"});
        let webhook = json!({"kind": "ValidatingWebhookConfiguration", "webhooks": [
            {"clientConfig": {"service": service("a")}}, {"clientConfig": {"url": "https://x"}}, {"clientConfig": {"service": service("b")}}]});
        let api = json!({"kind": "APIService", "spec": {"service": service("c")}});
        let other = json!({"kind": "Gadget", "spec": {"service": service("d")}});
        let names = |object: &Value| -> Vec<String> {
            backends(object).into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(&webhook), ["a", "b"]);
        assert_eq!(names(&api), ["c"]);
        assert_eq!(names(&other), Vec::<String>::new());
        // Served by the edge's own API server.
        assert_eq!(
            names(&json!({"kind": "APIService", "spec": {"service": null}})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn one_ready_endpoint_is_enough() {
        let slices = |ready: Value| json!({"items": [{"endpoints": null}, {"endpoints": [{"conditions": {"ready": ready}}]}]});
        assert!(has_ready_endpoint(&slices(json!(true))));
        assert!(has_ready_endpoint(
            &json!({"items": [{"endpoints": [{"addresses": ["10.0.0.1"]}]}]})
        ));
        assert!(!has_ready_endpoint(&slices(json!(false))));
        assert!(!has_ready_endpoint(&json!({"items": []})));
    }
}
