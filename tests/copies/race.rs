//! Two that make the same object at the same moment: one has it, whole, and the other is told.

use atoll_agent::edge::Edge;
use atoll_client::{Client, Config, Kubeconfig};
use atoll_wire::{CopyId, ErrorKind, Item, ObjectRef};
use serde_json::json;

use crate::harness::{real_edge::RealEdge, scratch};

#[test]
fn of_two_that_create_at_once_one_keeps_it_whole() {
    let scratch = scratch();
    let Some(real) = RealEdge::start(&scratch.path().join("edge")) else {
        return;
    };
    let kubeconfig = Kubeconfig::load(&[real.kubeconfig()]).unwrap();
    let config = Config::from_kubeconfig(&kubeconfig, None).unwrap();
    let edge = |destination: &str| Edge::new(Client::new(&config).unwrap(), destination);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (one, two) = (edge("one"), edge("two"));
        for edge in [&one, &two] {
            edge.ensure_own_namespace().await.unwrap();
        }
        for n in 0..40 {
            let name = format!("c-{n}");
            let item = Item {
                copy: Some(CopyId {
                    cluster: "c".into(),
                    uid: n.to_string(),
                }),
                object: Some(ObjectRef {
                    version: "v1".into(),
                    kind: "ConfigMap".into(),
                    resource: "configmaps".into(),
                    namespace: "default".into(),
                    name: name.clone(),
                    namespaced: true,
                    ..ObjectRef::default()
                }),
                ..Item::default()
            };
            let body = |who: &str| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {who: "was here"}})
                    .to_string()
                    .into()
            };
            let (first, second) = (body("one"), body("two"));
            let (first, second) = tokio::join!(
                one.apply(&item, &first, None),
                two.apply(&item, &second, None)
            );
            let (winner, refusal) = match (first, second) {
                (Ok(_), Err(refusal)) => ("one", refusal),
                (Err(refusal), Ok(_)) => ("two", refusal),
                other => panic!("{other:?}"),
            };
            // Conflict: the other was done before this one looked.
            assert!(
                matches!(refusal.error, ErrorKind::AlreadyExists | ErrorKind::Conflict),
                "{refusal:?}"
            );
            let object = real.get(&["configmap", &name]).unwrap();
            assert_eq!(object["data"], json!({winner: "was here"}));
            assert_eq!(object["metadata"]["labels"]["edge.atoll.dev/destination"], winner);
        }
    });
}
