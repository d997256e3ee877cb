//! Pretend edges: the server with the whole Kubernetes surface, plus controllers that only pretend.

pub mod pretend;
