//! Who gets in, and what they get that is no resource: health, version, discovery, metrics.

mod common;

use atoll_server::Layout;
use common::{ANN, ROOT, single, start, start_with};
use http::Method;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

#[tokio::test]
async fn anonymous_gets_health_and_version_and_nothing_else() {
    let center = start(single()).await;
    let nobody = center.connect().await;
    for path in ["/livez", "/readyz", "/healthz", "/livez/ping"] {
        let got = nobody.get(path).await;
        assert_eq!(
            (got.status.as_u16(), got.text().as_str()),
            (200, "ok"),
            "{path}"
        );
    }
    assert_eq!(
        nobody.get("/version").await.json()["gitVersion"],
        atoll_server::kubernetes_version()
    );
    for path in [
        "/api",
        "/apis",
        "/openapi/v3",
        "/openapi/v2",
        "/metrics",
        "/api/v1/configmaps",
        "/",
        "/none",
    ] {
        let got = nobody.get(path).await;
        assert_eq!(got.status.as_u16(), 401, "{path}");
        let status = got.json();
        assert_eq!(
            (&status["kind"], &status["reason"]),
            (&"Status".into(), &"Unauthorized".into())
        );
    }
}

#[tokio::test]
async fn every_answer_has_an_audit_id() {
    let center = start(single()).await;
    let nobody = center.connect().await;
    assert_eq!(nobody.get("/api").await.header("audit-id").len(), 36);
    assert_eq!(
        nobody
            .get_with("/api", &[("audit-id", "mine")])
            .await
            .header("audit-id"),
        "mine"
    );
}

#[tokio::test]
async fn discovery_comes_plain_and_aggregated_and_is_not_sent_twice() {
    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    assert_eq!(ann.get("/api").await.json()["kind"], "APIVersions");
    assert_eq!(ann.get("/apis").await.json()["kind"], "APIGroupList");
    assert_eq!(ann.get("/apis/apps").await.json()["kind"], "APIGroup");
    let resources = ann.get("/apis/apps/v1").await.json();
    assert_eq!(resources["kind"], "APIResourceList");
    assert!(
        resources["resources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "deployments")
    );
    for path in ["/api", "/apis"] {
        let got = ann
            .get_with(path, &[("accept", &format!("{V2},application/json"))])
            .await;
        assert_eq!(
            (got.header("content-type"), got.header("vary")),
            (V2, "Accept")
        );
        assert_eq!(got.json()["kind"], "APIGroupDiscoveryList");
        let again = ann
            .get_with(
                path,
                &[
                    ("accept", &format!("{V2},application/json")),
                    ("if-none-match", got.header("etag")),
                ],
            )
            .await;
        assert_eq!(
            (again.status.as_u16(), again.body.len()),
            (304, 0),
            "{path}"
        );
    }
    assert_eq!(ann.get("/apis/none.example").await.status.as_u16(), 404);
    assert_eq!(ann.get("/apis/apps/v7").await.status.as_u16(), 404);
    assert_eq!(
        ann.get_with("/apis", &[("accept", "text/html")])
            .await
            .status
            .as_u16(),
        406
    );
}

#[tokio::test]
async fn an_openapi_document_named_by_its_hash_is_kept_for_ever() {
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    let index = ann.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let got = ann.get(&url).await;
    assert_eq!(got.status.as_u16(), 200);
    assert!(got.header("cache-control").contains("immutable"));
    assert!(got.json()["components"]["schemas"].is_object());
    let moved = ann.get("/openapi/v3/apis/apps/v1?hash=OLD").await;
    assert_eq!(
        (moved.status.as_u16(), moved.header("location")),
        (301, url.as_str())
    );
    let zipped = ann.get_with(&url, &[("accept-encoding", "gzip")]).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert!(zipped.body.len() < got.body.len() / 3);
}

#[tokio::test]
async fn metrics_are_for_the_bare_host_and_bounded() {
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    for n in 0..5 {
        ann.get(&format!("/apis/g{n}.example/v1/widgets")).await;
    }
    let text = ann.get("/metrics").await.text();
    let custom = text
        .lines()
        .filter(|line| line.contains("resource=\"custom\"") && line.contains("request_total"))
        .count();
    assert_eq!(custom, 1, "{text}");
    assert!(text.contains("apiserver_current_inflight_requests 1"));
}

#[tokio::test]
async fn the_center_serves_clusters_and_nothing_bare() {
    let center = start(Layout::Workspaces).await;
    let root = center.client(ROOT).await;
    assert_eq!(root.get("/clusters/one/api").await.status.as_u16(), 200);
    assert_eq!(root.get("/clusters/none/api").await.status.as_u16(), 404);
    let bare = root.get("/api/v1/configmaps").await;
    assert_eq!(bare.status.as_u16(), 403);
    assert!(
        bare.text()
            .contains("/clusters/<workspace path>/api/v1/configmaps"),
        "{}",
        bare.text()
    );
    assert_eq!(root.get("/clusters/one/metrics").await.status.as_u16(), 501);
    assert_eq!(root.get("/metrics").await.status.as_u16(), 200);
    assert_eq!(
        root.get("/clusters/*/apis/apps/v1").await.status.as_u16(),
        200
    );
    assert_eq!(
        root.send(Method::POST, "/version", &[], "")
            .await
            .status
            .as_u16(),
        405
    );
    assert_eq!(root.get("/clusters").await.status.as_u16(), 400);
    let got = root
        .send(Method::POST, "/clusters/*/api/v1/configmaps", &[], "{}")
        .await;
    assert_eq!(got.status.as_u16(), 405);
    let ann = center.client(ANN).await;
    assert_eq!(
        ann.get("/clusters/*/api/v1/configmaps")
            .await
            .status
            .as_u16(),
        403
    );
    let nobody = center.connect().await;
    assert_eq!(
        nobody.get("/clusters/one/version").await.status.as_u16(),
        200
    );
    assert_eq!(
        nobody.get("/clusters/none/api").await.status.as_u16(),
        401,
        "no existence oracle"
    );
}

#[tokio::test]
async fn a_client_certificate_names_the_user() {
    let center = start(single()).await;
    let certificate = |common_name: &str, year: i32| {
        let authority = &center.client_authority;
        let key = KeyPair::from_pem(&authority.key_pem).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate_pem, key).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Some((vec![CertificateDer::from(leaf.der().to_vec())], key))
    };
    let ann = center.connect_as(certificate("ann", 2100)).await;
    assert_eq!(ann.get("/api").await.status.as_u16(), 200);
    let bob = center.connect_as(certificate("bob", 2100)).await;
    let refused = bob.get("/api").await;
    assert_eq!(refused.status.as_u16(), 403);
    assert_eq!(
        refused.json()["message"],
        "forbidden: User \"bob\" cannot get path \"/api\""
    );
    let old = center.connect_as(certificate("ann", 2001)).await;
    assert_eq!(
        old.get("/api").await.status.as_u16(),
        401,
        "an expired certificate connects but names nobody"
    );
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    let root = center.client(ROOT).await;
    let as_bob = [("impersonate-user", "bob")];
    let refused = ann.get_with("/api", &as_bob).await;
    assert_eq!(refused.status.as_u16(), 403);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("User \"ann\" cannot impersonate resource \"users\""),
        "{message}"
    );
    let message = root.get_with("/api", &as_bob).await.json()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("User \"bob\" cannot get path"),
        "{message}"
    );
    assert_eq!(
        root.get_with("/api", &[("impersonate-user", "ann")])
            .await
            .status
            .as_u16(),
        200
    );
}

#[tokio::test]
async fn agents_get_their_certificate_handed_over() {
    use std::sync::{Arc, Mutex};
    let seen: Arc<Mutex<Vec<bool>>> = Arc::default();
    let record = seen.clone();
    let service = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
        record
            .lock()
            .unwrap()
            .push(request.extensions().get::<Arc<[u8]>>().is_some());
        async { Ok::<_, std::convert::Infallible>(http::Response::new(tonic::body::Body::empty())) }
    });
    let agents = atoll_server::AgentService::new(service, |extensions, der| {
        extensions.insert(der);
    });
    let center = start_with(single(), |builder| builder.agents(agents)).await;
    let grpc = [("content-type", "application/grpc")];
    let path = "/atoll.agent.v1.Agent/Enrol";
    assert_eq!(
        center
            .connect()
            .await
            .send(Method::POST, path, &grpc, "")
            .await
            .status
            .as_u16(),
        200
    );
    let key = KeyPair::generate().unwrap();
    let foreign = CertificateParams::default().self_signed(&key).unwrap();
    let identity = (
        vec![foreign.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    );
    let agent = center.connect_as(Some(identity)).await;
    assert_eq!(
        agent
            .send(Method::POST, path, &grpc, "")
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(*seen.lock().unwrap(), [false, true]);
}
