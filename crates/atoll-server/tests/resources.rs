//! Resources over HTTP: verbs, forms, options, refusals.

mod common;

use common::{ANN, Center, Client, single, start};
use http::Method;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";

async fn shop() -> (Center, Client) {
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    let got = ann
        .post(
            "/api/v1/namespaces",
            &json!({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop"}}),
        )
        .await;
    assert_eq!(got.status.as_u16(), 201, "{}", got.text());
    (center, ann)
}

fn config_map(name: &str, labels: Value) -> Value {
    json!({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":name,"labels":labels},"data":{"k":"v"}})
}

#[tokio::test]
async fn an_object_through_all_verbs() {
    let (_center, ann) = shop().await;
    let made = ann.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    assert_eq!(made.header("content-type"), "application/json");
    let path = format!("{CONFIG_MAPS}/a");
    let again = ann.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    assert_eq!(
        (again.status.as_u16(), again.json()["reason"].clone()),
        (409, "AlreadyExists".into())
    );

    let mut object = ann.get(&path).await.json();
    assert_eq!(object["metadata"]["uid"], made.json()["metadata"]["uid"]);
    object["data"]["k"] = "w".into();
    let put = ann
        .send(
            Method::PUT,
            &path,
            &[("content-type", "application/json")],
            object.to_string(),
        )
        .await;
    assert_eq!(
        (put.status.as_u16(), put.json()["data"]["k"].clone()),
        (200, "w".into()),
        "{}",
        put.text()
    );
    let stale = ann
        .send(
            Method::PUT,
            &path,
            &[("content-type", "application/json")],
            object.to_string(),
        )
        .await;
    assert_eq!(
        (stale.status.as_u16(), stale.json()["reason"].clone()),
        (409, "Conflict".into())
    );

    for (kind, patch) in [
        ("application/merge-patch+json", r#"{"data":{"m":"1"}}"#),
        (
            "application/strategic-merge-patch+json",
            r#"{"data":{"s":"1"}}"#,
        ),
        (
            "application/json-patch+json",
            r#"[{"op":"add","path":"/data/j","value":"1"}]"#,
        ),
    ] {
        let got = ann
            .send(Method::PATCH, &path, &[("content-type", kind)], patch)
            .await;
        assert_eq!(got.status.as_u16(), 200, "{kind}: {}", got.text());
    }
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  z: \"1\"\n";
    let apply_type = [("content-type", "application/apply-patch+yaml")];
    let got = ann
        .send(
            Method::PATCH,
            &format!("{path}?fieldManager=me"),
            &apply_type,
            apply,
        )
        .await;
    assert_eq!(got.status.as_u16(), 200, "{}", got.text());
    assert_eq!(
        got.json()["data"],
        json!({"k":"w","m":"1","s":"1","j":"1","z":"1"})
    );
    let unnamed = ann.send(Method::PATCH, &path, &apply_type, apply).await;
    assert_eq!(unnamed.status.as_u16(), 400);

    let gone = ann.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()["status"].clone()),
        (200, "Success".into()),
        "{}",
        gone.text()
    );
    assert_eq!(ann.get(&path).await.status.as_u16(), 404);
}

#[tokio::test]
async fn the_form_of_an_answer_is_the_clients_choice() {
    let (_center, ann) = shop().await;
    ann.post(CONFIG_MAPS, &config_map("a", json!({"x":"1"})))
        .await;
    let path = format!("{CONFIG_MAPS}/a");
    let accept = |form: &'static str| [("accept", form)];

    let list = ann.get(CONFIG_MAPS).await.json();
    assert_eq!(
        (
            list["kind"].clone(),
            list["items"].as_array().unwrap().len()
        ),
        ("ConfigMapList".into(), 1)
    );
    assert!(
        list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );

    let table = ann
        .get_with(
            CONFIG_MAPS,
            &accept("application/json;as=Table;v=v1;g=meta.k8s.io"),
        )
        .await
        .json();
    assert_eq!(
        (table["kind"].clone(), table["apiVersion"].clone()),
        ("Table".into(), "meta.k8s.io/v1".into())
    );
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole = ann
        .get_with(
            &format!("{CONFIG_MAPS}?includeObject=Object"),
            &accept("application/json;as=Table;v=v1;g=meta.k8s.io"),
        )
        .await;
    assert_eq!(whole.json()["rows"][0]["object"]["data"]["k"], "v");

    let partial = ann
        .get_with(
            CONFIG_MAPS,
            &accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
        )
        .await
        .json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0]["metadata"]["labels"]["x"], "1");
    assert!(partial["items"][0].get("data").is_none());

    let yaml = ann.get_with(&path, &accept("application/yaml")).await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.text().contains("kind: ConfigMap"), "{}", yaml.text());
    assert_eq!(
        ann.get_with(&path, &accept("application/vnd.kubernetes.protobuf"))
            .await
            .status
            .as_u16(),
        406
    );
    let head = ann.send(Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let (_center, ann) = shop().await;
    let json_type = [("content-type", "application/json")];
    let post = |body: String| ann.send(Method::POST, CONFIG_MAPS, &json_type, body);
    let code = |got: common::Got| {
        (
            got.status.as_u16(),
            got.json()["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };

    let (status, _) = code(post("{".to_owned()).await);
    assert_eq!(status, 400);
    let huge = format!("{{\"data\":\"{}\"}}", "x".repeat(4 << 20));
    assert_eq!(code(post(huge).await).0, 413);
    let proto = [("content-type", "application/vnd.kubernetes.protobuf")];
    let no_protobuf = ann.send(Method::POST, CONFIG_MAPS, &proto, "{}").await;
    assert_eq!(code(no_protobuf).0, 400);
    let text = [("content-type", "text/plain")];
    let (status, message) = code(ann.send(Method::POST, CONFIG_MAPS, &text, "{}").await);
    assert_eq!(status, 415);
    assert!(message.contains("application/json"), "{message}");
    let (status, message) = code(
        ann.get(&format!("{CONFIG_MAPS}?labelSelector=a%3D%3D%3Db"))
            .await,
    );
    assert_eq!(status, 400, "{message}");
    let (status, message) = code(ann.get(&format!("{CONFIG_MAPS}?limit=lots")).await);
    assert!(status == 400 && message.contains("limit"), "{message}");
    assert_eq!(
        code(ann.get("/api/v1/namespaces/shop/wonders").await).0,
        404
    );
    assert_eq!(
        code(ann.send(Method::PUT, CONFIG_MAPS, &json_type, "{}").await).0,
        405
    );
    assert_eq!(
        code(ann.send(Method::OPTIONS, CONFIG_MAPS, &[], "").await).0,
        405
    );
    assert_eq!(
        code(
            ann.send(Method::PATCH, &format!("{CONFIG_MAPS}/a"), &json_type, "{}")
                .await
        )
        .0,
        415
    );
}

#[tokio::test]
async fn unknown_fields_warn_or_refuse() {
    let (_center, ann) = shop().await;
    let mut odd = config_map("odd", json!({}));
    odd["spoke"] = "wheel".into();
    let warned = ann.post(CONFIG_MAPS, &odd).await;
    assert_eq!(
        (warned.status.as_u16(), warned.header("warning")),
        (201, "299 - \"unknown field \\\"spoke\\\"\"")
    );
    let strict = ann
        .post(
            &format!("{CONFIG_MAPS}?fieldValidation=Strict&dryRun=All"),
            &odd,
        )
        .await;
    assert_eq!(strict.status.as_u16(), 400, "{}", strict.text());
}

#[tokio::test]
async fn a_long_list_comes_in_pieces_and_compressed_when_asked() {
    let (_center, ann) = shop().await;
    let filling = "0123456789".repeat(2_000);
    for n in 0..40 {
        let body = json!({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":format!("c{n:02}")},"data":{"k":filling}});
        assert_eq!(ann.post(CONFIG_MAPS, &body).await.status.as_u16(), 201);
    }
    let plain = ann.get(CONFIG_MAPS).await;
    assert!(plain.body.len() > 700_000);
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 40);
    let packed = ann
        .get_with(CONFIG_MAPS, &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut unpacked,
    )
    .unwrap();
    assert_eq!(unpacked, plain.body);

    let mut names = Vec::new();
    let mut path = format!("{CONFIG_MAPS}?limit=15");
    loop {
        let page = ann.get(&path).await.json();
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["metadata"]["name"].clone()),
        );
        match page["metadata"]["continue"].as_str() {
            Some(token) => path = format!("{CONFIG_MAPS}?limit=15&continue={token}"),
            None => break,
        }
    }
    assert_eq!(
        names,
        (0..40)
            .map(|n| Value::from(format!("c{n:02}")))
            .collect::<Vec<_>>()
    );
}
