//! TokenRequest: a token for a service account, on demand.

use async_trait::async_trait;
use atoll_kube::{FieldError, GroupKind, GroupResource, Status, Timestamp, meta};
use atoll_registry::{Call, Registry, Virtual};
use serde_json::{Value, json};

use super::claims::{Claims, Kind};
use super::{Accounts, ISSUER, bound, find, internal};

/// Seconds a token holds that nobody says otherwise of.
const USUAL: i64 = 3600;

#[async_trait]
impl Virtual for Accounts {
    fn resources(&self) -> Vec<(GroupResource, Option<String>)> {
        vec![(
            GroupResource::new("", "serviceaccounts"),
            Some("token".to_owned()),
        )]
    }

    async fn create(
        &self,
        registry: &Registry,
        call: &Call,
        mut object: Value,
    ) -> Result<Value, Status> {
        let (Some(cluster), Some(namespace), Some(name)) = (
            call.clusters.one(),
            call.namespace.as_deref(),
            call.name.as_deref(),
        ) else {
            return Err(Status::method_not_allowed());
        };
        let resource = GroupResource::new("", "serviceaccounts");
        if !registry.cluster_kind(cluster)?.acts() {
            return Err(Status::forbidden(
                &resource,
                name,
                "service accounts in a payload workspace are destined for edges; tokens are made there",
            ));
        }
        let snapshot = registry
            .store()
            .snapshot(atoll_store::At::Latest)
            .map_err(|e| internal(format!("{e:?}")))?;
        let account = find(
            &*snapshot,
            cluster.as_str(),
            "serviceaccounts",
            namespace,
            name,
        )
        .ok_or_else(|| Status::not_found(&resource, name))?;
        let found = meta::name(&object);
        if !found.is_empty() && found != name {
            return Err(Status::bad_request(
                "the name of the TokenRequest does not match the name in the request path",
            ));
        }
        let spec = object.get("spec").cloned().unwrap_or_else(|| json!({}));
        let seconds = spec
            .get("expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(USUAL);
        check_duration(seconds)?;
        let audiences: Vec<String> = spec
            .get("audiences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let audiences = if audiences.is_empty() {
            vec![ISSUER.to_owned()]
        } else {
            audiences
        };
        let reference = spec.get("boundObjectRef").filter(|r| !r.is_null());
        let bound_to = match reference {
            None => None,
            Some(reference) => {
                let (kind, uid) = reference_of(reference, &account)?;
                let wanted = reference
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let object = find(
                    &*snapshot,
                    cluster.as_str(),
                    kind.resource(),
                    namespace,
                    wanted,
                )
                .ok_or_else(|| {
                    Status::not_found(&GroupResource::new("", kind.resource()), wanted)
                })?;
                let is = bound(&object);
                if !uid.is_empty() && uid != is.uid {
                    let why = format!(
                        "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
                    );
                    return Err(Status::conflict(
                        &GroupResource::new("", kind.resource()),
                        wanted,
                        why,
                    ));
                }
                Some((kind, is))
            }
        };
        let issued = call.now.0.div_euclid(1000);
        let claims = Claims {
            cluster: cluster.as_str().to_owned(),
            namespace: namespace.to_owned(),
            account: bound(&account),
            bound: bound_to,
            secret: None,
            audiences: audiences.clone(),
            issued,
            expires: issued + seconds,
            id: registry.new_uid(),
        };
        let token = self.signer.sign(&claims).map_err(internal)?;
        object["kind"] = "TokenRequest".into();
        object["apiVersion"] = "authentication.k8s.io/v1".into();
        let metadata = meta::metadata_mut(&mut object);
        metadata.insert("name".into(), name.into());
        metadata.insert("namespace".into(), namespace.into());
        metadata.insert("creationTimestamp".into(), call.now.rfc3339().into());
        object["spec"] = json!({
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": reference.cloned().unwrap_or_default(),
        });
        object["status"] = json!({
            "token": token,
            "expirationTimestamp": Timestamp((issued + seconds) * 1000).rfc3339(),
        });
        Ok(object)
    }
}

fn check_duration(seconds: i64) -> Result<(), Status> {
    let why = if seconds < 600 {
        "may not specify a duration less than 10 minutes"
    } else if seconds > 1 << 32 {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let error = FieldError::invalid("spec.expirationSeconds", seconds, why);
    let kind = GroupKind::new("authentication.k8s.io", "TokenRequest");
    Err(Status::invalid(&kind, "", &[error]))
}

/// What a reference in a request names, with the uid it insists on.
fn reference_of(reference: &Value, account: &Value) -> Result<(Kind, String), Status> {
    let text = |name: &str| {
        reference
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == text("kind"));
    match (kind, text("apiVersion")) {
        (Some(kind), "" | "v1") => Ok((kind, text("uid").to_owned())),
        (_, api_version) => Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount \"{}\" to object with name \"{}\" of type {api_version}, Kind={}",
            meta::name(account),
            text("name"),
            text("kind"),
        ))),
    }
}
