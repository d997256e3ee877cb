//! Role based access control as an algebra: rules, what bindings grant, what one grant covers of another.
//!
//! Pure. Objects come in as JSON values, questions as borrowed strings; where either is kept is not known here.

mod bootstrap;
mod grants;
mod rule;

pub use bootstrap::{Bootstrap, bootstrap};
pub use grants::{ClusterRoles, Grant, Grants, cluster_roles, compile};
pub use rule::{Ask, Rule, Target, uncovered};
