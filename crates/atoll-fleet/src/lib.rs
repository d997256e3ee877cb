//! The edge semantics: ManagedClusters, BindingPolicies, agent sessions and the status that returns.
