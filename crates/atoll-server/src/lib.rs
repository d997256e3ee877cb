//! The HTTPS front: authentication, routing, discovery, OpenAPI, watch streams and the agents' endpoint.

pub mod pki;
