//! What the center is told of a copy. Pure.

use atoll_wire::{CopyReport, ErrorKind};

use crate::{edge::watch::Seen, plan::Phase, state::Copy};

/// The report of a copy as it stands, or `None` while nothing is known.
pub(crate) fn report(
    copy: &Copy,
    phase: Option<&Phase>,
    seen: Option<&Seen>,
) -> Option<CopyReport> {
    let (error, message) = match phase? {
        Phase::Settled => (ErrorKind::None, String::new()),
        Phase::Failed { error, message, .. } => (*error, message.clone()),
        Phase::Due | Phase::Working { .. } => return None,
    };
    if copy.item.render_hash.is_empty() {
        // Known from the records at the edge only: the center has not described it yet.
        return None;
    }
    let owned = copy.owned.as_ref();
    let applied_generation = owned.map_or(0, |o| o.generation);
    Some(CopyReport {
        copy: copy.item.copy.clone(),
        render_hash: copy.item.render_hash.clone(),
        // An implicit object that was there before us is as good as applied.
        applied_hash: match (error, owned) {
            (ErrorKind::None, _) => copy.item.render_hash.clone(),
            (_, Some(owned)) => owned.applied.clone(),
            (_, None) => bytes::Bytes::new(),
        },
        error: error.into(),
        message,
        observed: seen.is_some_and(|s| {
            s.observed_generation
                .is_none_or(|observed| observed >= applied_generation)
        }),
        status: seen.map(|s| s.status.clone()).unwrap_or_default(),
        generation: seen.map_or(applied_generation, |s| s.generation),
    })
}

#[cfg(test)]
mod tests {
    use atoll_wire::{CopyId, Item};

    use super::*;
    use crate::{
        plan::{Millis, failed},
        state::Owned,
    };

    fn copy(applied: &'static str, generation: i64) -> Copy {
        let owned = Owned {
            applied: applied.into(),
            generation,
            edge_uid: "u".into(),
            ..Owned::default()
        };
        let item = Item {
            copy: Some(CopyId::default()),
            render_hash: "new".into(),
            ..Item::default()
        };
        Copy {
            item,
            removal: None,
            owned: Some(owned),
        }
    }

    #[test]
    fn an_older_status_does_not_count_as_observed() {
        for (observed_generation, expected) in [(None, true), (Some(2), false), (Some(3), true)] {
            let seen = Seen {
                observed_generation,
                ..Seen::default()
            };
            assert_eq!(
                report(&copy("new", 3), Some(&Phase::Settled), Some(&seen))
                    .unwrap()
                    .observed,
                expected
            );
        }
    }

    #[test]
    fn a_failed_copy_names_what_is_applied_still() {
        let phase = failed(None, ErrorKind::Invalid, "no".into(), Millis(0));
        let report = report(&copy("old", 1), Some(&phase), None).unwrap();
        assert_eq!(
            (&report.render_hash[..], &report.applied_hash[..]),
            (&b"new"[..], &b"old"[..])
        );
        assert_eq!(
            (report.error(), report.message.as_str()),
            (ErrorKind::Invalid, "no")
        );
    }

    #[test]
    fn nothing_is_said_of_a_copy_in_work() {
        assert_eq!(report(&copy("", 0), Some(&Phase::Due), None), None);
        assert_eq!(report(&copy("", 0), None, None), None);
    }
}
