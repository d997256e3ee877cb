//! The create-only kinds that answer who somebody is and what they may do.

mod access;
mod identity;
mod rules;

use std::sync::Arc;

use atoll_registry::Builder;

use crate::shared::Workspaces;

/// Adds the review kinds to a registry being built.
pub(crate) fn install(workspaces: &Workspaces, builder: Builder) -> Builder {
    builder
        .virtuals(Arc::new(access::AccessReviews(workspaces.clone())))
        .virtuals(Arc::new(rules::RulesReviews(workspaces.clone())))
        .virtuals(Arc::new(identity::IdentityReviews(workspaces.clone())))
}

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
