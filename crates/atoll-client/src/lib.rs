//! A thin Kubernetes client over bytes: kubeconfig, TLS, requests, watches.
//!
//! It knows how to reach an API server and how to prove who is calling; it does not know any kind. An answer is a
//! [`serde_json::Value`] (or raw bytes), a refusal is the server's own [`atoll_kube::status::Status`]. Watches are lines, so that
//! a caller decides how much of an event it parses.
//!
//! One [`Client`] holds one pool of connections; clones share it, and [`Client::at`] points the same pool at
//! another base URL, which is how workspaces of one server are reached without new handshakes.

mod client;
mod config;
mod connect;
mod credentials;
mod error;
mod kubeconfig;
mod tls;

pub use client::{Client, Lines, Patch, Request, Response};
pub use config::{Auth, Config, Tls};
pub use credentials::ExecPlugin;
pub use error::ClientError;
pub use kubeconfig::{Kubeconfig, KubeconfigError};
