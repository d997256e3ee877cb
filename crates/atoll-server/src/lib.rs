//! The HTTPS front: authentication, routing, discovery, OpenAPI, watch streams and the agents' endpoint.
//!
//! A server is given a registry, an authorizer and a certificate, and speaks Kubernetes' API over them; it stores
//! nothing and decides nothing about any kind. [`Layout`] says whether URLs name logical clusters (`/clusters/<path>/…`,
//! the center) or there is but one (a sandbox edge). The root directory with its certificates, tokens and kubeconfig is
//! in [`pki`].

pub mod accounts;
mod agents;
mod answer;
mod answers;
pub mod authn;
mod discovery;
mod front;
mod health;
mod metrics;
pub mod pki;
mod refusal;
mod request;
mod rest;
mod serve;
mod server;
mod services;
pub mod tls;
mod version;
mod webhooks;

pub use agents::AgentService;
pub use answer::objects::Overlay;
pub use answers::{Answers, Question};
pub use front::{Homes, Layout};
pub use health::HealthCheck;
pub use metrics::MetricsSource;
pub use server::{ServeError, Server, ServerBuilder, bind};
pub use services::View;
pub use webhooks::Webhooks;

/// The Kubernetes version served, as `/version` says it.
pub fn kubernetes_version() -> String {
    version::git_version()
}

/// The machine's clock. Everything but ages in long-lived watches gets its time from the registry.
fn now() -> atoll_kube::time::Timestamp {
    use atoll_registry::Clock;
    atoll_registry::SystemClock.now()
}
