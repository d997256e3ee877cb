//! The refusal of an apply that would take fields from other managers.

use super::entries::{Entry, Operation};
use super::fieldset::Set;
use crate::status::{Status, StatusCause, quote};

/// Fields of other managers that an apply would change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conflicts(pub(crate) Vec<(Entry, Set)>);

impl Conflicts {
    /// The conflicts that are left when taking the fields in `allowed` is no conflict.
    pub(crate) fn without(mut self, allowed: &Set) -> Self {
        for (_, fields) in &mut self.0 {
            fields.subtract(allowed);
        }
        self.0.retain(|(_, fields)| !fields.is_empty());
        self
    }

    /// 409 with one cause per manager and field.
    pub(crate) fn into_status(mut self) -> Status {
        self.0.sort_by(|(l, _), (r, _)| l.name().cmp(&r.name()));
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        for (entry, fields) in &self.0 {
            let who = describe(entry);
            lines.push(format!("conflicts with {who}:"));
            for path in fields.paths() {
                let field = path.to_string();
                lines.push(format!("- {field}"));
                let message = format!("conflict with {who}");
                causes.push(StatusCause {
                    reason: "FieldManagerConflict".to_owned(),
                    message,
                    field,
                });
            }
        }
        let message = match causes.as_slice() {
            [one] => format!(
                "Apply failed with 1 conflict: {}: {}",
                one.message, one.field
            ),
            many => format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                lines.join("\n")
            ),
        };
        Status::apply_conflict(causes, message)
    }
}

fn describe(entry: &Entry) -> String {
    let mut who = quote(&entry.manager);
    if !entry.subresource.is_empty() {
        who.push_str(&format!(" with subresource {}", quote(&entry.subresource)));
    }
    if entry.operation == Operation::Update {
        who.push_str(&format!(" using {}", entry.api_version));
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::path::{Path, PathElement};
    use serde_json::json;

    #[test]
    fn one_conflict_is_one_sentence() {
        let entry = Entry::update("kubectl-client-side-apply", "apps/v1", "");
        let status =
            Conflicts(vec![(entry, Set::of([Path::fields(["spec", "replicas"])]))]).into_status();
        assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        assert_eq!(
            status.message,
            "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
        );
        let causes = status.details.unwrap().causes;
        assert_eq!(causes[0].reason, "FieldManagerConflict");
        assert_eq!(
            causes[0].message,
            "conflict with \"kubectl-client-side-apply\" using apps/v1"
        );
        assert_eq!(causes[0].field, ".spec.replicas");
    }

    #[test]
    fn more_conflicts_are_listed_by_manager() {
        let image = Path(vec![
            PathElement::field("containers"),
            PathElement::key([("name", json!("x"))]),
            PathElement::field("image"),
        ]);
        let conflicts = Conflicts(vec![
            (
                Entry::update("zoe", "v1", "status"),
                Set::of([Path::fields(["a"])]),
            ),
            (
                Entry::apply("amy", "v1", ""),
                Set::of([Path::fields(["b"]), image]),
            ),
        ]);
        assert_eq!(
            conflicts.clone().into_status().message,
            "Apply failed with 3 conflicts: conflicts with \"amy\":\n- .b\n- .containers[name=\"x\"].image\n\
             conflicts with \"zoe\" with subresource \"status\" using v1:\n- .a"
        );
        let left = conflicts.without(&Set::of([Path::fields(["a"]), Path::fields(["b"])]));
        assert_eq!(left.0.len(), 1);
    }
}
