//! Stock kubectl in a workspace: what people do every day, each with what it prints.

use serde_json::json;

use crate::harness::{Answer, Center, eventually, scratch};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, labels: {app: shop}}\ndata: {colour: blue}\n";

const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              replicas: {type: integer, default: 2}
          status: {type: object, properties: {replicas: {type: integer}}}
"#;

/// A center with the workspaces `root:u` (universal) and `root:p` (payload).
fn center() -> (tempfile::TempDir, Center) {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    center.workspace("root", "u", "universal");
    center.workspace("root", "p", "payload");
    (scratch, center)
}

#[test]
fn reading() {
    let (_scratch, center) = center();
    for n in 0..5 {
        center
            .kubectl(
                "root:u",
                &[
                    "create",
                    "configmap",
                    &format!("c-{n}"),
                    "--from-literal=a=b",
                ],
            )
            .expect();
    }
    center.apply("root:u", CONFIG_MAP);
    let get = |arguments: &[&str]| center.kubectl("root:u", arguments).expect();
    assert!(get(&["get", "configmaps"]).starts_with("NAME"));
    assert_eq!(
        get(&["get", "configmaps", "--no-headers", "--chunk-size=2"])
            .lines()
            .count(),
        6
    );
    assert_eq!(
        get(&["get", "cm", "-l", "app=shop", "-o", "name"]).trim(),
        "configmap/settings"
    );
    assert_eq!(
        get(&["get", "cm", "-l", "app in (shop,x),!absent", "-o", "name"]).trim(),
        "configmap/settings"
    );
    assert_eq!(
        get(&[
            "get",
            "cm",
            "--field-selector",
            "metadata.name=c-1",
            "-o",
            "name"
        ])
        .trim(),
        "configmap/c-1"
    );
    assert_eq!(
        get(&["get", "cm", "settings", "-o", "jsonpath={.data.colour}"]),
        "blue"
    );
    assert_eq!(
        get(&[
            "get",
            "cm",
            "settings",
            "--no-headers",
            "-o",
            "custom-columns=C:.data.colour"
        ])
        .trim(),
        "blue"
    );
    assert!(get(&["get", "cm", "settings", "-o", "wide"]).contains("DATA"));
    assert!(get(&["describe", "cm", "settings"]).contains("blue"));
    assert!(get(&["api-resources"]).contains("configmaps"));
    assert!(get(&["api-versions"]).contains("rbac.authorization.k8s.io/v1"));
    assert!(get(&["explain", "configmap.data"]).contains("map[string]string"));
    assert!(get(&["explain", "configmap.data"]).contains("Data contains the configuration data."));
    assert_eq!(
        get(&["auth", "can-i", "create", "configmaps"]).trim(),
        "yes"
    );
    assert!(get(&["auth", "whoami"]).contains("kcp-admin"));
    let unknown = center.kubectl("root:u", &["get", "cm", "absent"]).refused();
    assert_eq!(
        unknown.trim(),
        "Error from server (NotFound): configmaps \"absent\" not found"
    );
    center.kubectl("root:u", &["get", "pods"]).refused();
}

#[test]
fn writing() {
    let (_scratch, center) = center();
    let run = |arguments: &[&str]| center.kubectl("root:u", arguments).expect();
    let input =
        |arguments: &[&str], text: &str| center.kubectl_in("root:u", arguments, text).expect();
    let colour = || center.get("root:u", &["cm", "settings"]).unwrap()["data"]["colour"].clone();

    assert!(
        input(
            &["create", "-f", "-", "--dry-run=server", "-o", "yaml"],
            CONFIG_MAP
        )
        .contains("uid:")
    );
    center
        .kubectl("root:u", &["get", "cm", "settings"])
        .refused();
    assert!(input(&["apply", "-f", "-"], CONFIG_MAP).contains("created"));
    assert!(input(&["apply", "-f", "-"], CONFIG_MAP).contains("unchanged"));
    let green = CONFIG_MAP.replace("blue", "green");
    assert!(
        center
            .kubectl_in("root:u", &["diff", "-f", "-"], &green)
            .code
            == Some(1)
    );
    assert!(input(&["apply", "-f", "-"], &green).contains("configured"));
    assert_eq!(colour(), "green");
    input(&["replace", "-f", "-"], CONFIG_MAP);
    assert_eq!(colour(), "blue");
    run(&["label", "cm", "settings", "tier=one"]);
    run(&["annotate", "cm", "settings", "note=two"]);
    run(&[
        "patch",
        "cm",
        "settings",
        "--type=merge",
        "-p",
        r#"{"data":{"colour":"red"}}"#,
    ]);
    run(&[
        "patch",
        "cm",
        "settings",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/data/colour","value":"pink"}]"#,
    ]);
    run(&[
        "patch",
        "cm",
        "settings",
        "--type=strategic",
        "-p",
        r#"{"data":{"shape":"round"}}"#,
    ]);
    let object = center
        .get("root:u", &["cm", "settings", "--show-managed-fields"])
        .unwrap();
    assert_eq!(object["data"], json!({"colour": "pink", "shape": "round"}));
    assert_eq!(
        object["metadata"]["labels"],
        json!({"app": "shop", "tier": "one"})
    );
    assert!(
        object["metadata"]["managedFields"]
            .as_array()
            .is_some_and(|m| m.len() >= 3),
        "{object}"
    );

    let conflict = center
        .kubectl_in(
            "root:u",
            &["apply", "--server-side", "--field-manager=other", "-f", "-"],
            CONFIG_MAP,
        )
        .refused();
    assert!(conflict.contains(".data.colour"), "{conflict}");
    input(
        &[
            "apply",
            "--server-side",
            "--field-manager=other",
            "--force-conflicts",
            "-f",
            "-",
        ],
        CONFIG_MAP,
    );
    assert_eq!(colour(), "blue");
    run(&["delete", "cm", "settings", "--wait"]);
    center
        .kubectl("root:u", &["get", "cm", "settings"])
        .refused();
}

#[test]
fn workloads_in_a_payload_workspace_are_inert_but_complete() {
    let (_scratch, center) = center();
    let run = |arguments: &[&str]| center.kubectl("root:p", arguments).expect();
    run(&[
        "create",
        "deployment",
        "web",
        "--image=nginx",
        "--replicas=2",
    ]);
    run(&["scale", "deployment", "web", "--replicas=5"]);
    run(&["set", "image", "deployment/web", "nginx=nginx:2"]);
    run(&["expose", "deployment", "web", "--port=80"]);
    run(&[
        "create",
        "clusterrole",
        "r",
        "--verb=get",
        "--resource=pods",
    ]);
    let web = center.get("root:p", &["deployment", "web"]).unwrap();
    assert_eq!(web["spec"]["replicas"], 5);
    assert!(web["status"]["replicas"].is_null(), "nothing acts here");
    assert!(
        web["spec"]["strategy"].get("type").is_none(),
        "no defaults here: {}",
        web["spec"]
    );
    let service = center.get("root:p", &["service", "web"]).unwrap();
    assert!(service["spec"]["clusterIP"].is_null(), "{service}");
    let name = r#"[{"op":"add","path":"/spec/ports/0/name","value":"t"}]"#;
    run(&["patch", "service", "web", "--type=json", "-p", name]);
    // Ports of one number differ by their protocol: the list key is completed with its default, the object is not.
    let udp = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80, protocol: UDP, name: u}]}\n";
    center
        .kubectl_in(
            "root:p",
            &["apply", "--server-side", "--field-manager=other", "-f", "-"],
            udp,
        )
        .expect();
    assert_eq!(
        center.get("root:p", &["service", "web"]).unwrap()["spec"]["ports"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    run(&["delete", "deployment", "web"]);
}

#[test]
fn custom_resources_work_the_moment_they_are_established() {
    let (_scratch, center) = center();
    for workspace in ["root:u", "root:p"] {
        let created = center
            .kubectl_in(workspace, &["create", "-f", "-", "-o", "json"], CRD)
            .json()
            .unwrap();
        let conditions = created["status"]["conditions"].as_array().unwrap();
        assert!(
            conditions
                .iter()
                .any(|c| c["type"] == "Established" && c["status"] == "True"),
            "{conditions:?}"
        );
        let widget = |size: &str| {
            format!(
                "apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{size: {size}, unknown: 1}}\n"
            )
        };
        let strict = center
            .kubectl_in(workspace, &["create", "-f", "-"], &widget("3"))
            .refused();
        assert!(
            strict.contains("unknown field \"spec.unknown\""),
            "{strict}"
        );
        let wrong = center
            .kubectl_in(
                workspace,
                &["create", "--validate=false", "-f", "-"],
                &widget("0"),
            )
            .refused();
        assert!(
            wrong.contains("spec.size") && wrong.contains("greater than or equal to 1"),
            "{wrong}"
        );
        center
            .kubectl_in(
                workspace,
                &["create", "--validate=false", "-f", "-"],
                &widget("3"),
            )
            .expect();
        let stored = center.get(workspace, &["widget", "w"]).unwrap();
        assert_eq!(
            stored["spec"],
            json!({"size": 3, "replicas": 2}),
            "pruned and defaulted"
        );
        assert!(
            center
                .kubectl(workspace, &["get", "wd"])
                .expect()
                .contains("SIZE")
        );
        center
            .kubectl(workspace, &["scale", "widget", "w", "--replicas=7"])
            .expect();
        assert_eq!(
            center.get(workspace, &["widget", "w"]).unwrap()["spec"]["replicas"],
            7
        );
        let status = r#"{"status":{"replicas":7}}"#;
        center
            .kubectl(
                workspace,
                &[
                    "patch",
                    "widget",
                    "w",
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    status,
                ],
            )
            .expect();
        assert!(
            center
                .kubectl(workspace, &["explain", "widget.spec.size"])
                .expect()
                .contains("integer")
        );
        center
            .kubectl(workspace, &["delete", "crd", "widgets.example.com"])
            .expect();
        eventually("the kind is gone", || {
            match center.kubectl(workspace, &["get", "widgets"]).ok {
                true => Err("still served"),
                false => Ok(()),
            }
        });
    }
}

#[test]
fn a_watch_shows_every_change() {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
    };
    let (_scratch, center) = center();
    center.apply("root:u", CONFIG_MAP);
    let server = format!("https://127.0.0.1:{}/clusters/root:u", center.port);
    let mut watch = std::process::Command::new("timeout")
        .args([
            "60",
            "kubectl",
            "--server",
            &server,
            "get",
            "cm",
            "settings",
            "--watch",
            "-o",
            "jsonpath={.data.colour}{\"\\n\"}",
        ])
        .arg("--kubeconfig")
        .arg(center.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "blue");
    for colour in ["green", "red"] {
        center.apply("root:u", &CONFIG_MAP.replace("blue", colour));
        assert_eq!(lines.next().unwrap().unwrap(), colour);
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn the_less_common_commands() {
    let (_scratch, center) = center();
    let run = |arguments: &[&str]| center.kubectl("root:u", arguments).expect();
    let input =
        |arguments: &[&str], text: &str| center.kubectl_in("root:u", arguments, text).expect();
    // apply --prune
    let other = CONFIG_MAP.replace("settings", "other");
    input(&["apply", "-f", "-"], &format!("{CONFIG_MAP}---\n{other}"));
    let allow = "--prune-allowlist=core/v1/ConfigMap";
    let pruned = input(
        &["apply", "--prune", "-l", "app=shop", allow, "-f", "-"],
        CONFIG_MAP,
    );
    assert!(pruned.contains("configmap/other pruned"), "{pruned}");
    // replace --force, edit, wait
    let before = run(&["get", "cm", "settings", "-o", "jsonpath={.metadata.uid}"]);
    input(&["replace", "--force", "-f", "-"], CONFIG_MAP);
    let after = run(&["get", "cm", "settings", "-o", "jsonpath={.metadata.uid}"]);
    assert_ne!(before, after, "it is another object");
    let server = format!("https://127.0.0.1:{}/clusters/root:u", center.port);
    let edit = |script: &str| {
        let mut kubectl = std::process::Command::new("timeout");
        kubectl.args(["60", "kubectl", "--server", &server, "--kubeconfig"]);
        kubectl.arg(center.kubeconfig());
        kubectl.args(["edit", "cm", "settings"]);
        Answer::of(kubectl.env("EDITOR", format!("sed -i {script}")))
    };
    edit("s/blue/green/").expect();
    run(&["wait", "--for=jsonpath={.data.colour}=green", "cm/settings"]);
    let unknown = edit("s/^data:/dada:/").refused();
    assert!(unknown.contains("unknown field \"dada\""), "{unknown}");
    center
        .kubectl(
            "root:u",
            &[
                "wait",
                "--for=condition=Ready",
                "cm/settings",
                "--timeout=1s",
            ],
        )
        .refused();
    run(&["events"]);
    // Roles: auth reconcile adds what is missing and takes nothing away.
    let role = |verbs: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r, namespace: default}}\nrules: [{{apiGroups: [''], resources: [configmaps], verbs: [{verbs}]}}]\n"
        )
    };
    input(&["auth", "reconcile", "-f", "-"], &role("get"));
    input(&["auth", "reconcile", "-f", "-"], &role("list"));
    let rules = center.get("root:u", &["role", "r"]).unwrap()["rules"].to_string();
    assert!(rules.contains("get") && rules.contains("list"), "{rules}");
    // Certificates: who asks is who asked, and a decision shows.
    let request = "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: ann}\nspec: {request: eA==, signerName: example.com/x, usages: [client auth], username: someone}\n";
    input(&["create", "-f", "-"], request);
    run(&["certificate", "approve", "ann"]);
    let shown = run(&["get", "csr", "ann"]);
    assert!(
        shown.contains("kcp-admin") && shown.contains("Approved"),
        "{shown}"
    );
}

#[test]
fn deletion_follows_owners_as_it_is_told() {
    let (_scratch, center) = center();
    let own = |uid: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: child, ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: settings, uid: {uid}, blockOwnerDeletion: true}}]}}\n"
        )
    };
    for (cascade, stays) in [
        ("foreground", false),
        ("background", false),
        ("orphan", true),
    ] {
        center.apply("root:u", CONFIG_MAP);
        let owner = center.get("root:u", &["cm", "settings"]).unwrap();
        center.apply("root:u", &own(owner["metadata"]["uid"].as_str().unwrap()));
        let cascade = format!("--cascade={cascade}");
        center
            .kubectl("root:u", &["delete", "cm", "settings", &cascade])
            .expect();
        eventually(&format!("{cascade} is done"), || {
            match center.get("root:u", &["cm", "child"]) {
                Ok(child) if stays && child["metadata"].get("ownerReferences").is_none() => Ok(()),
                Err(why) if !stays && why.contains("NotFound") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

#[test]
fn rules_and_policies_of_a_workspace_act_in_it_and_nowhere_else() {
    let (_scratch, center) = center();
    center.workspace("root", "load", "payload");
    let definition = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: webs.example.dev}
spec:
  group: example.dev
  scope: Namespaced
  names: {plural: webs, kind: Web}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {min: {type: integer}, max: {type: integer}}
            x-kubernetes-validations: [{rule: self.min <= self.max, message: min must not be above max}]
"#;
    let web =
        "apiVersion: example.dev/v1\nkind: Web\nmetadata: {name: w}\nspec: {min: 3, max: 2}\n";
    let policy = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: names}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "!object.metadata.name.startsWith('tmp')", message: no temporary things}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: names}
spec: {policyName: names, validationActions: [Deny]}
"#;
    for path in ["root:u", "root:load"] {
        center.apply(path, definition);
        let refused = center
            .kubectl_in(path, &["create", "-f", "-"], web)
            .refused();
        assert!(refused.contains("min must not be above max"), "{refused}");
        center.apply(path, policy);
    }
    let refused = center
        .kubectl("root:u", &["create", "configmap", "tmp-1"])
        .refused();
    let says = "configmaps \"tmp-1\" is forbidden: ValidatingAdmissionPolicy 'names' with binding 'names' denied request: no temporary things";
    assert!(refused.contains(says), "{refused}");
    for path in ["root", "root:load"] {
        center
            .kubectl(path, &["create", "configmap", "tmp-1"])
            .expect();
    }
}

#[test]
fn what_is_not_enforced_yet_says_so() {
    let (_scratch, center) = center();
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {configmaps: \"1\"}}\n";
    center.apply("root:u", quota);
    center.apply("root:u", CONFIG_MAP);
    let why = center
        .kubectl("root:u", &["create", "configmap", "more"])
        .refused();
    assert!(
        why.contains(
            "exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1"
        ),
        "{why}"
    );
    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {name: p}\nspec: {reinvocationPolicy: Never}\n";
    let answer = center.kubectl_in("root:u", &["create", "--validate=false", "-f", "-"], policy);
    assert!(
        answer.ok && answer.stderr.contains("Warning:"),
        "{answer:?}"
    );
    let binding = "apiVersion: apis.kcp.io/v1alpha2\nkind: APIBinding\nmetadata: {name: b}\nspec: {reference: {export: {path: root, name: x}}}\n";
    let why = center
        .kubectl_in(
            "root:u",
            &["create", "--validate=false", "-f", "-"],
            binding,
        )
        .refused();
    assert!(why.contains("not"), "{why}");
    assert_eq!(
        center
            .kubectl("root:u", &["get", "apibindings.apis.kcp.io", "-o", "name"])
            .expect(),
        ""
    );
}

#[test]
fn bad_input_is_refused_in_kubernetes_words() {
    let (_scratch, center) = center();
    let refused = |manifest: &str| {
        center
            .kubectl_in(
                "root:u",
                &["create", "--validate=false", "-f", "-"],
                manifest,
            )
            .refused()
    };
    let name = refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n");
    assert!(
        name.contains("metadata.name") && name.contains("RFC 1123"),
        "{name}"
    );
    let kind = refused("apiVersion: nowhere.example/v1\nkind: Nothing\nmetadata: {name: nn}\n");
    assert!(kind.contains("no matches for kind"), "{kind}");
    let typed =
        refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nn}\ndata: {a: {b: c}}\n");
    assert!(typed.contains("data"), "{typed}");
    let namespace =
        refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nn, namespace: absent}\n");
    assert!(
        namespace.contains("namespaces \"absent\" not found"),
        "{namespace}"
    );
    center.apply("root:u", CONFIG_MAP);
    let twice = refused(CONFIG_MAP);
    assert!(twice.contains("AlreadyExists"), "{twice}");
    let selector = center
        .kubectl("root:u", &["get", "cm", "-l", "a=b=c"])
        .refused();
    assert!(!selector.is_empty());
    let deep = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: nn, annotations: {}1{}}}\n",
        "{a: ".repeat(400),
        "}".repeat(400)
    );
    assert!(!refused(&deep).is_empty());
    center
        .get("root:u", &["ns", "default"])
        .expect("the center is well after all that");
}
