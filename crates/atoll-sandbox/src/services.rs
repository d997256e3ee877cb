//! Services get the addresses and node ports that a cluster would give them, in the write that makes them.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::{Value, json};

use crate::pretend::hash;

/// The first address of the pretend service network, 10.96.0.0/12.
const NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);

/// Gives a Service what a cluster's allocators would give it.
pub(crate) struct Addresses;

#[async_trait]
impl Hook for Addresses {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "services")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        if matches!(review.operation, Operation::Create | Operation::Update) {
            allocate(review.old, review.object);
        }
        Ok(())
    }
}

/// What the Service had stays; what it lacks is derived from what it is.
fn allocate(old: Option<&Value>, service: &mut Value) {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
    if kind == "ExternalName" || !service["spec"].is_object() {
        return;
    }
    let ports = matches!(kind, "NodePort" | "LoadBalancer");
    let random = hash(&json!([meta::namespace(service), meta::name(service)]));
    let spec = &mut service["spec"];
    if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        let kept = old.map(|old| old["spec"]["clusterIP"].clone());
        let host = u32::try_from(random % ((1 << 20) - 2)).unwrap_or_default() + 1;
        let address = || json!(Ipv4Addr::from(NETWORK + host).to_string());
        spec["clusterIP"] = kept.filter(Value::is_string).unwrap_or_else(address);
    }
    let first = json!([spec["clusterIP"]]);
    for (field, value) in [
        ("clusterIPs", first),
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    let list = spec["ports"].as_array_mut().into_iter().flatten();
    for (i, port) in list.enumerate().filter(|_| ports) {
        if port["nodePort"].as_u64().unwrap_or_default() == 0 {
            let kept = old.map(|old| old["spec"]["ports"][i]["nodePort"].clone());
            let port_number = || json!(30_000 + (random + i as u64) % 2_768);
            port["nodePort"] = kept.filter(Value::is_number).unwrap_or_else(port_number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn a_service_gets_an_address_and_keeps_it() {
        let mut made = service(json!({"ports": [{"port": 80}]}));
        allocate(None, &mut made);
        let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
        assert!(address.starts_with("10."), "{address}");
        assert_eq!(made["spec"]["clusterIPs"], json!([address]));
        assert!(made["spec"]["ports"][0].get("nodePort").is_none());

        let mut old = made.clone();
        old["spec"]["clusterIP"] = json!("10.96.0.77");
        let mut replaced = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
        allocate(Some(&old), &mut replaced);
        assert_eq!(replaced["spec"]["clusterIP"], "10.96.0.77");
        let port = replaced["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
        assert!((30_000..32_768).contains(&port));
    }

    #[test]
    fn headless_and_external_ones_stay_so() {
        let mut headless = service(json!({"clusterIP": "None"}));
        allocate(None, &mut headless);
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let mut external = service(json!({"type": "ExternalName", "externalName": "x"}));
        allocate(None, &mut external);
        assert!(external["spec"].get("clusterIP").is_none());
    }
}
