//! The log and the replica: one ordered, revisioned, durable history of keys and bytes. Knows no Kubernetes.
