//! Admission of StatusCollectors: a bad expression is refused when it is written, with its position, instead of failing for every copy later.

use async_trait::async_trait;
use atoll_kube::{GroupKind, GroupResource, Status};
use atoll_placement::algebra::Collector;
use atoll_placement::algebra::collector::MOST_ROWS;
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::Value;

const CONTROL: &str = "control.kubestellar.io";

/// Refuses StatusCollectors that cannot be evaluated.
pub(crate) struct CollectorHook;

#[async_trait]
impl Hook for CollectorHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(CONTROL, "statuscollectors")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let old = review.old.map(|old| old.get("spec"));
        let unchanged = old.is_some_and(|old| old == review.object.get("spec"));
        if review.operation == Operation::Delete || review.subresource.is_some() || unchanged {
            return Ok(());
        }
        let spec = review.object.get("spec").unwrap_or(&Value::Null);
        let warning = check(review.name(), spec)?;
        review.warnings.extend(warning);
        Ok(())
    }
}

/// Refuses a bad spec; what is good but not as it may seem gets a warning.
fn check(name: &str, spec: &Value) -> Result<Option<String>, Status> {
    let collector = Collector::parse(spec).map_err(|errors| {
        Status::invalid(&GroupKind::new(CONTROL, "StatusCollector"), name, &errors)
    })?;
    if collector.reads_report_time() {
        return Ok(Some("propagation.lastReturnedUpdateTimestamp is not kept and reads as null; a WorkStatus that is read alone has its status as it is at the edge now".to_owned()));
    }
    let limit = spec.get("limit").and_then(Value::as_u64).unwrap_or(0);
    Ok((limit > MOST_ROWS)
        .then(|| format!("spec.limit: at most {MOST_ROWS} rows are shown, not {limit}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bad_expression_is_refused_with_its_position() {
        let bad = json!({"limit": 5, "filter": "returned.status.phase = 'Running'"});
        let refused = check("pods", &bad).unwrap_err();
        assert_eq!(refused.code, 422);
        assert!(
            refused.message.contains("spec.filter"),
            "{}",
            refused.message
        );
        assert!(
            refused.message.contains("line 1, column"),
            "{}",
            refused.message
        );
        let good = json!({"limit": 5, "filter": "returned.status.phase == 'Running'", "select": [{"name": "who", "def": "inventory.name"}]});
        assert_eq!(check("pods", &good).unwrap(), None);
        let much = json!({"limit": 100_000});
        assert!(
            check("pods", &much)
                .unwrap()
                .is_some_and(|warning| warning.contains("1000 rows"))
        );
    }
}
