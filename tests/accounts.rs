//! Service accounts: their tokens open what RBAC lets them, in their own workspace only, until something they are bound to goes.

use serde_json::{Value, json};

use crate::harness::{Center, http::Http, scratch};

fn token(center: &Center, path: &str, more: &[&str]) -> String {
    let arguments = [&["create", "token", "robot"], more].concat();
    center.kubectl(path, &arguments).expect().trim().to_owned()
}

#[test]
fn a_token_opens_what_rbac_lets_its_account_and_nothing_elsewhere() {
    let scratch = scratch();
    let mut center = Center::start(&scratch.path().join("center"));
    for name in ["ours", "theirs"] {
        center.workspace("root", name, "universal");
    }
    center
        .kubectl("root:ours", &["create", "serviceaccount", "robot"])
        .expect();
    center
        .kubectl(
            "root:ours",
            &[
                "create",
                "role",
                "reader",
                "--verb=get,list",
                "--resource=configmaps",
            ],
        )
        .expect();
    center
        .kubectl(
            "root:ours",
            &[
                "create",
                "rolebinding",
                "reader",
                "--role=reader",
                "--serviceaccount=default:robot",
            ],
        )
        .expect();
    let robot = Http::with_token(
        &center.kubeconfig(),
        "base",
        &token(&center, "root:ours", &[]),
    );
    let maps = |workspace: &str| {
        format!("/clusters/root:{workspace}/api/v1/namespaces/default/configmaps")
    };
    assert_eq!(robot.get(&maps("ours")).code, 200);
    assert_eq!(
        robot
            .get("/clusters/root:ours/api/v1/namespaces/default/secrets")
            .code,
        403
    );
    assert_eq!(robot.get(&maps("theirs")).code, 403);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let me = robot
        .post(
            "/clusters/root:ours/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &review,
        )
        .expect(201);
    assert_eq!(
        me["status"]["userInfo"]["username"],
        "system:serviceaccount:default:robot"
    );
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ];
    assert_eq!(me["status"]["userInfo"]["groups"], json!(groups));

    center.restart();
    let robot_again = Http::with_token(
        &center.kubeconfig(),
        "base",
        &token(&center, "root:ours", &[]),
    );
    assert_eq!(
        robot.get(&maps("ours")).code,
        200,
        "tokens outlive a restart"
    );
    center
        .kubectl("root:ours", &["delete", "serviceaccount", "robot"])
        .expect();
    center
        .kubectl("root:ours", &["create", "serviceaccount", "robot"])
        .expect();
    for old in [&robot, &robot_again] {
        assert_eq!(
            old.get(&maps("ours")).code,
            401,
            "an account of the same name is another one"
        );
    }
}

#[test]
fn tokens_have_audiences_and_go_with_what_they_are_bound_to() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    center.workspace("root", "ours", "universal");
    center
        .kubectl("root:ours", &["create", "serviceaccount", "robot"])
        .expect();
    center
        .kubectl("root:ours", &["create", "secret", "generic", "hold"])
        .expect();
    let admin = Http::new(&center.kubeconfig(), "base");
    let review = |token: &str, audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences}});
        admin
            .post(
                "/clusters/root:ours/apis/authentication.k8s.io/v1/tokenreviews",
                &review,
            )
            .expect(201)["status"]
            .clone()
    };
    let elsewhere = token(
        &center,
        "root:ours",
        &[
            "--audience=vault",
            "--bound-object-kind=Secret",
            "--bound-object-name=hold",
        ],
    );
    let robot = Http::with_token(&center.kubeconfig(), "base", &elsewhere);
    assert_eq!(
        robot.get("/clusters/root:ours/api").code,
        401,
        "it is not for this API"
    );
    assert_eq!(review(&elsewhere, json!(null))["authenticated"], false);
    let status = review(&elsewhere, json!(["other", "vault"]));
    assert_eq!(
        (&status["authenticated"], &status["audiences"]),
        (&json!(true), &json!(["vault"]))
    );
    center
        .kubectl("root:ours", &["delete", "secret", "hold"])
        .expect();
    assert_eq!(review(&elsewhere, json!(["vault"]))["authenticated"], false);

    let refused = center
        .kubectl("root:ours", &["create", "token", "robot", "--duration=5m"])
        .refused();
    assert!(
        refused.contains("may not specify a duration less than 10 minutes"),
        "{refused}"
    );
    let refused = center
        .kubectl("root:ours", &["create", "token", "nobody"])
        .refused();
    assert!(
        refused.contains("serviceaccounts \"nobody\" not found"),
        "{refused}"
    );

    let secret = "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nmetadata: {name: old, annotations: {kubernetes.io/service-account.name: robot}}\n";
    center.apply("root:ours", secret);
    let template = "{{.data.token | base64decode}}";
    let kept = center
        .kubectl(
            "root:ours",
            &[
                "get",
                "secret",
                "old",
                "-o",
                &format!("go-template={template}"),
            ],
        )
        .expect();
    assert_eq!(
        review(&kept, json!(null))["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    center
        .kubectl("root:ours", &["delete", "secret", "old"])
        .expect();
    assert_eq!(review(&kept, json!(null))["authenticated"], false);
}
