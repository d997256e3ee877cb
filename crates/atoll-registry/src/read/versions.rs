//! What `resourceVersion` and `resourceVersionMatch` mean for each read, as a function from text to intent.

use std::time::Duration;

use atoll_kube::{FieldError, GroupKind, Status};
use atoll_store::{At, ReadError, Revision, Snapshot, Store};
use std::sync::Arc;

use crate::{ListOptions, VersionMatch, WatchOptions};

/// How long a read waits for a revision that has not happened yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which state a read wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest there is, asked of the log.
    Recent,
    /// What the replica has.
    Any,
    /// That revision or newer.
    AtLeast(Revision),
    /// That revision.
    Exactly(Revision),
}

/// The number in a resourceVersion; `None` when absent or empty.
pub(crate) fn parse(text: Option<&str>) -> Result<Option<Revision>, Status> {
    let Some(text) = text.filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version {text:?}: it must be a number"
        ))
    })
}

/// What a get wants.
pub(crate) fn for_get(text: Option<&str>) -> Result<Wanted, Status> {
    Ok(match parse(text)? {
        None => Wanted::Recent,
        Some(Revision(0)) => Wanted::Any,
        Some(revision) => Wanted::AtLeast(revision),
    })
}

fn refuse(field: &str, detail: String) -> Status {
    let error = FieldError::forbidden(field, detail);
    Status::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", &[error])
}

/// What a list without a continue token wants.
pub(crate) fn for_list(options: &ListOptions) -> Result<Wanted, Status> {
    const MATCH: &str = "resourceVersionMatch";
    let revision = parse(options.resource_version.as_deref())?;
    if options.version_match.is_some() && revision.is_none() {
        return Err(refuse(
            MATCH,
            format!("{MATCH} is forbidden unless resourceVersion is provided"),
        ));
    }
    Ok(match (revision, options.version_match) {
        (Some(Revision(0)), Some(VersionMatch::Exact)) => {
            return Err(refuse(
                MATCH,
                format!("{MATCH} \"Exact\" is forbidden for resourceVersion \"0\""),
            ));
        }
        (None, _) => Wanted::Recent,
        (Some(Revision(0)), _) => Wanted::Any,
        (Some(r), Some(VersionMatch::Exact)) => Wanted::Exactly(r),
        (Some(r), None) if options.limit > 0 => Wanted::Exactly(r),
        (Some(r), _) => Wanted::AtLeast(r),
    })
}

/// Checks what may not stand beside a continue token.
pub(crate) fn check_continue(options: &ListOptions) -> Result<(), Status> {
    if options.version_match.is_some() {
        let detail = "resourceVersionMatch is forbidden when continue is provided";
        return Err(refuse("resourceVersionMatch", detail.into()));
    }
    match parse(options.resource_version.as_deref())? {
        None | Some(Revision(0)) => Ok(()),
        Some(_) => Err(Status::bad_request(
            "specifying resource version is not allowed when using continue",
        )),
    }
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the objects of a state, then what follows it. `bookmark`: mark the end of these objects.
    State { wanted: Wanted, bookmark: bool },
    /// After a revision.
    After(Revision),
    /// Now.
    Now,
}

/// Where a watch with these options starts.
pub(crate) fn for_watch(options: &WatchOptions) -> Result<Start, Status> {
    const MATCH: &str = "resourceVersionMatch";
    match (options.send_initial_events, options.version_match) {
        (None, Some(_)) => {
            let detail =
                format!("{MATCH} is forbidden for watch unless sendInitialEvents is provided");
            return Err(refuse(MATCH, detail));
        }
        (Some(_), None) => {
            let detail = format!("sendInitialEvents requires setting {MATCH} to NotOlderThan");
            return Err(refuse(MATCH, detail));
        }
        (Some(_), Some(VersionMatch::Exact)) => {
            let error = FieldError::not_supported(MATCH, "Exact", ["NotOlderThan"]);
            return Err(Status::invalid(
                &GroupKind::new("meta.k8s.io", "ListOptions"),
                "",
                &[error],
            ));
        }
        _ => {}
    }
    let revision = parse(options.resource_version.as_deref())?;
    Ok(match (options.send_initial_events, revision) {
        (Some(true), None) => Start::State {
            wanted: Wanted::Recent,
            bookmark: options.bookmarks,
        },
        (Some(true), Some(Revision(0))) => Start::State {
            wanted: Wanted::Any,
            bookmark: options.bookmarks,
        },
        (Some(true), Some(r)) => Start::State {
            wanted: Wanted::AtLeast(r),
            bookmark: options.bookmarks,
        },
        (Some(false), None | Some(Revision(0))) => Start::Now,
        (None, None) => Start::State {
            wanted: Wanted::Recent,
            bookmark: false,
        },
        (None, Some(Revision(0))) => Start::State {
            wanted: Wanted::Any,
            bookmark: false,
        },
        (_, Some(r)) => Start::After(r),
    })
}

/// Waits for a revision that a client has seen somewhere.
pub(crate) async fn wait_for(store: &dyn Store, revision: Revision) -> Result<(), Status> {
    match store.wait_for(revision, PATIENCE).await {
        Ok(()) => Ok(()),
        Err(ReadError::Future { head }) => {
            Err(Status::too_large_resource_version(revision.0, head.0, 1))
        }
        Err(error) => Err(super::read_error(error)),
    }
}

/// The snapshot that is wanted.
pub(crate) async fn snapshot(
    store: &Arc<dyn Store>,
    wanted: Wanted,
) -> Result<Arc<dyn Snapshot>, Status> {
    let at = match wanted {
        Wanted::Recent => {
            store.barrier().await;
            At::Latest
        }
        Wanted::Any => At::Latest,
        Wanted::AtLeast(revision) => {
            wait_for(store.as_ref(), revision).await?;
            At::Latest
        }
        Wanted::Exactly(revision) => {
            wait_for(store.as_ref(), revision).await?;
            At::Exact(revision)
        }
    };
    store.snapshot(at).map_err(super::read_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_means_what_the_table_in_kubernetes_docs_says() {
        use VersionMatch::{Exact, NotOlderThan};
        let check = |rv: Option<&str>, version_match, limit, expected: Option<Wanted>| {
            let options = ListOptions {
                resource_version: rv.map(Into::into),
                version_match,
                limit,
                ..ListOptions::default()
            };
            assert_eq!(
                for_list(&options).ok(),
                expected,
                "rv={rv:?} match={version_match:?} limit={limit}"
            );
        };
        let seven = Revision(7);
        check(None, None, 0, Some(Wanted::Recent));
        check(Some(""), None, 5, Some(Wanted::Recent));
        check(Some("0"), None, 0, Some(Wanted::Any));
        check(Some("0"), None, 5, Some(Wanted::Any));
        check(Some("7"), None, 0, Some(Wanted::AtLeast(seven)));
        check(Some("7"), None, 5, Some(Wanted::Exactly(seven)));
        check(None, Some(Exact), 0, None);
        check(Some("0"), Some(Exact), 0, None);
        check(Some("7"), Some(Exact), 0, Some(Wanted::Exactly(seven)));
        check(None, Some(NotOlderThan), 0, None);
        check(Some("0"), Some(NotOlderThan), 5, Some(Wanted::Any));
        check(
            Some("7"),
            Some(NotOlderThan),
            5,
            Some(Wanted::AtLeast(seven)),
        );
        check(Some("x"), None, 0, None);
    }

    #[test]
    fn watch_starts_where_kubernetes_starts_it() {
        let check = |rv: Option<&str>, initial, version_match, expected: Option<Start>| {
            let options = WatchOptions {
                resource_version: rv.map(Into::into),
                version_match,
                bookmarks: true,
                send_initial_events: initial,
                ..WatchOptions::default()
            };
            assert_eq!(
                for_watch(&options).ok(),
                expected,
                "rv={rv:?} initial={initial:?}"
            );
        };
        let newer = Some(VersionMatch::NotOlderThan);
        check(
            None,
            None,
            None,
            Some(Start::State {
                wanted: Wanted::Recent,
                bookmark: false,
            }),
        );
        check(
            Some("0"),
            None,
            None,
            Some(Start::State {
                wanted: Wanted::Any,
                bookmark: false,
            }),
        );
        check(Some("9"), None, None, Some(Start::After(Revision(9))));
        check(
            None,
            Some(true),
            newer,
            Some(Start::State {
                wanted: Wanted::Recent,
                bookmark: true,
            }),
        );
        check(
            Some("9"),
            Some(true),
            newer,
            Some(Start::State {
                wanted: Wanted::AtLeast(Revision(9)),
                bookmark: true,
            }),
        );
        check(
            Some("9"),
            Some(false),
            newer,
            Some(Start::After(Revision(9))),
        );
        check(None, Some(false), newer, Some(Start::Now));
        check(None, Some(true), None, None);
        check(None, None, newer, None);
    }
}
